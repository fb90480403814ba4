"""What the guard detects, and what it does about it.

journal    events, the lines of events.jsonl: detections that begin, get worse or end, and rollbacks
detectors  what is wrong, as pure functions of the lines of stats.jsonl
probes     measurements of both networks during training
remedies   the one thing to change after a failure
guardian   runs all of them during training
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from gansmith.component import (
    Between,
    Component,
    Fraction,
    Positive,
)
from gansmith.schedules import Duration

__all__ = ["Guard"]


@dataclass(frozen=True, kw_only=True)
class Guard(Component):
    """Detects problems during training, reports them, and rolls back what would ruin the run.

    A warning is only reported. A failure means that training has diverged or collapsed. Training never continues
    with weights that contain NaN or infinity: with the action "warn", it stops.

    Args:
        action: on a failure: return to the last good checkpoint and change one thing, stop, or only report it.
        max_rollbacks: rollbacks in a run; the next failure stops it.
        every: how often samples are probed, at most.
        num: samples to probe, and as many real images.
        patience: bad values in a row before a warning appears, and good ones before it clears.
        won: D has won if its loss is below this share of the chance-level loss.
        lost: D is worse than chance if its loss is above this multiple of the chance-level loss.
        exploded: a gradient explodes at this multiple of its recent median norm.
        oscillated: share of its size by which the gap between real and fake logits changes from line to line.
        collapsed: the samples' diversity as a share of the data's, below which they have collapsed.
        overfitted: how far D's logits of held-out real images lie on the way from training images to samples.
        copied: share of samples that are copies of training images, beyond that of held-out real images.
    """

    action: Literal["rollback", "warn", "stop"] = "rollback"
    max_rollbacks: Annotated[int, Between(0, 1000)] = 3
    every: Duration = Duration(2, "%")
    num: Annotated[int, Between(2, 100_000)] = 256
    patience: Annotated[int, Between(1, 1000)] = 3
    won: Fraction = 0.005
    lost: Positive = 1.5
    exploded: Positive = 30.0
    oscillated: Positive = 0.7
    collapsed: Fraction = 0.3
    overfitted: Positive = 0.6
    copied: Fraction = 0.1
