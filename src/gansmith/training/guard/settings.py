"""The guard: what it watches for while training, and what is done about it.

sightings  what is wrong: pure functions of the lines of stats.jsonl
journal    what is worth a sentence: the beginning, the turn for the worse and the end of what is wrong
remedies   which one thing is changed after a failure
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
    """Watches training, says what goes wrong, and mends what would ruin it.

    A sighting is a warning, which is only said, or a failure: training has diverged or collapsed. The guard never
    goes on with weights that are no numbers: told to warn, it stops.

    Args:
        action: on a failure: go back to the last good checkpoint and change one thing, stop, or only say it.
        max_rollbacks: so often in a run; the next failure stops it.
        every: how often samples are looked at, at most: see ``Probes``.
        num: samples to look at, and as many real images.
        patience: so many figures in a row must be bad before a word is said, and good before it is taken back.
        won: D's loss below this share of what guessing costs: D has won.
        lost: D's loss above so many times what guessing costs: D is worse than a guess.
        exploded: a gradient so many times as long as the median of those before.
        oscillated: the gap between real and fake logits swings by this share of its size from line to line.
        collapsed: samples below this share of the data's diversity, after having been above it.
        overfitted: how far D's logits of unseen real images are on the way from training images to samples.
        copied: the share of samples that are all but training images, beyond that of unseen real images.
        leaked: the share of samples that look augmented, beyond that of real images.
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
    leaked: Fraction = 0.25
