"""Detect what goes wrong in a training: pure functions of its history, the lines of stats.jsonl, oldest first.

Each detector reads a value from the history up to a line and compares it with its threshold; ``excess`` is 1 at the
threshold and larger beyond it. Lines without the detector's key are skipped. A detection needs several bad values in a
row, and ends after as many good ones, since a single value is noisy; one value far beyond a failure is enough.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

from gansmith.losses import Loss
from gansmith.training.guard.journal import Event, Kind
from gansmith.training.guard.settings import Guard

__all__ = ["DETECTORS", "Detector", "History", "Reading", "compute_chance_loss", "detect", "detect_not_finite"]

Record: TypeAlias = Mapping[str, float]
History: TypeAlias = Sequence[Record]

LEAST_NORMS, MOST_NORMS = 8, 50  # lines whose median a gradient norm is compared with
LEAST_MEDIAN = 1.0  # the median is smaller while D has won; the return to normal is no explosion
LONGEST_GRADIENT = 1e5  # no healthy training reaches it, so no earlier lines are needed
SWINGS = 12  # lines in which oscillation is measured
VARIED = 1.5  # thresholds of diversity that samples must have exceeded before a collapse can be detected
LATE = 500_000  # images after which they should have exceeded it, however slow the start
BEYOND_DOUBT = 100  # times the excess of a failure: one value is enough
MOST_SKIPPED = 0.5  # of the updates of an interval: with more, nothing is learned


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a detector reads from the history up to a line.

    Args:
        value: what was measured.
        excess: 1 at the threshold, larger beyond it.
        sentence: the value and a remedy.
    """

    value: float
    excess: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Detector:
    """How one kind of problem is detected.

    Args:
        kind: its name.
        key: lines of statistics without this key are skipped.
        read: takes the history up to a line, the guard's thresholds, and D's chance-level loss; returns None if it
            cannot tell from that line.
        failure: excess at which a warning becomes a failure; infinite if it never does.
        patience: bad values in a row that are needed; None for the guard's.
    """

    kind: Kind
    key: str
    read: Callable[[History, Guard, float], Reading | None]
    failure: float = math.inf
    patience: int | None = None


def detect(guard: Guard, chance_loss: float, history: History, active: Collection[str] = ()) -> list[Event]:
    """Return what is wrong at the history's last line, as events that begin.

    Args:
        guard: thresholds and patience.
        chance_loss: see ``compute_chance_loss``.
        history: not empty.
        active: the kinds detected before that have not ended.
    """
    found = (_detect(detector, guard, chance_loss, history, detector.kind in active) for detector in DETECTORS)
    return [event for event in found if event is not None]


def detect_not_finite(nimg: int, since: int) -> Event:
    """Return the event that the weights contain NaN or infinity.

    Args:
        nimg: now.
        since: when they were last known to be finite.
    """
    return Event(
        what="began",
        kind="not-finite",
        severity="failure",
        sentence="the weights contain NaN or infinity; try lower learning rates, or a penalty such as --penalties r1",
        value=1.0,
        excess=1 + 1 / MOST_SKIPPED,
        nimg=nimg,
        since=since,
    )


def compute_chance_loss(loss: Loss, head_weights: Sequence[float] = (1.0,)) -> float:
    """Return D's lowest loss if it gives real and generated images the same logit.

    0 for losses that a constant logit cannot make worse, such as Wasserstein's: they have no scale for D's loss.

    Args:
        loss: the adversarial loss.
        head_weights: factor on the loss of each of the discriminator's heads.
    """
    same = torch.linspace(-2, 2, 401)
    return sum(head_weights) * float(loss.discriminator(same, same).min())


def _detect(detector: Detector, guard: Guard, chance_loss: float, history: History, active: bool) -> Event | None:
    patience = detector.patience or guard.patience
    newest = [found for _, found in itertools.islice(_backwards(detector, guard, chance_loss, history), patience)]
    excesses = [found.excess for found in newest]
    certain = _certain(excesses, patience, detector.failure)
    if certain < 1 and not (active and max(excesses, default=0) >= 1):
        return None
    return Event(
        what="began",
        kind=detector.kind,
        severity="failure" if certain >= detector.failure else "warning",
        sentence=newest[0].sentence,
        value=newest[0].value,
        excess=newest[0].excess,
        nimg=int(history[-1]["progress/nimg"]),
        since=_since(detector, guard, chance_loss, history),
    )


def _certain(excesses: Sequence[float], patience: int, failure: float) -> float:
    """Return the excess that all needed values reach, the newest value's if it is beyond doubt, or else 0."""
    if excesses and excesses[0] >= BEYOND_DOUBT * failure:
        return excesses[0]
    return min(excesses) if len(excesses) == patience else 0.0


def _backwards(detector: Detector, guard: Guard, chance_loss: float, history: History) -> Iterator[tuple[int, Reading]]:
    """Yield images seen and reading of each line that the detector can read, newest first."""
    for end in range(len(history), 0, -1):
        if detector.key in history[end - 1]:
            found = detector.read(history[:end], guard, chance_loss)
            if found is not None:
                yield int(history[end - 1]["progress/nimg"]), found


def _since(detector: Detector, guard: Guard, chance_loss: float, history: History) -> int:
    """Return when the value was last good; 0 if it never was."""
    return next((nimg for nimg, found in _backwards(detector, guard, chance_loss, history) if found.excess < 1), 0)


# --- the detectors -----------------------------------------------------------------------------------------


def _skipped(history: History, guard: Guard, chance_loss: float) -> Reading:
    shares = {name: history[-1].get(f"skipped/{name}", 0.0) for name in ("generator", "discriminator")}
    worst = max(shares, key=lambda name: shares[name])
    sentence = (
        f"{shares[worst]:.2%} of the {worst}'s updates were skipped because the gradient was NaN or infinite; "
        "check new code, such as a loss of your own, or try lower learning rates"
    )
    excess = 1 + shares[worst] / MOST_SKIPPED if shares[worst] > 0 else 0.0
    return Reading(value=shares[worst], excess=excess, sentence=sentence)


def _won(history: History, guard: Guard, chance_loss: float) -> Reading | None:
    if chance_loss <= 0:
        return None
    loss = history[-1]["loss/discriminator"]
    ratio = max(loss / chance_loss, 1e-12)
    sentence = (
        f"the discriminator has won: its loss is {loss:.2g}, {ratio:.2%} of the chance-level loss; "
        "try a penalty (--penalties r1), a larger gamma, or augmentation (--augment fixed)"
    )
    return Reading(value=ratio, excess=guard.won / ratio, sentence=sentence)


def _lost(history: History, guard: Guard, chance_loss: float) -> Reading | None:
    if chance_loss <= 0:
        return None
    loss = history[-1]["loss/discriminator"]
    ratio = loss / chance_loss
    sentence = (
        f"the discriminator is worse than chance: its loss is {loss:.3g}, {ratio:.3g} times the chance-level loss; "
        "try lower learning rates"
    )
    return Reading(value=ratio, excess=ratio / guard.lost, sentence=sentence)


def _exploding(history: History, guard: Guard, chance_loss: float) -> Reading:
    """Read the network whose gradient exceeds its threshold further."""
    found = [_norm(history, guard, name) for name in ("discriminator", "generator")]
    return max(found, key=lambda one: one.excess)


def _norm(history: History, guard: Guard, name: str) -> Reading:
    key = f"gradient/{name}"
    norm = history[-1].get(key, 0.0)
    before = [line[key] for line in history[-MOST_NORMS - 1 : -1] if key in line]
    median = statistics.median(before) if len(before) >= LEAST_NORMS else math.inf
    against = f", {norm / median:,.0f} times its recent median" if 0 < median < math.inf else ""
    return Reading(
        value=norm,
        excess=max(norm / LONGEST_GRADIENT, norm / (guard.exploded * max(median, LEAST_MEDIAN))),
        sentence=f"the {name}'s gradient explodes: its norm is {norm:.3g}{against}; try lower learning rates",
    )


def _oscillating(history: History, guard: Guard, chance_loss: float) -> Reading | None:
    lines = [line for line in history[-SWINGS:] if "logits/real" in line]
    gaps = [line["logits/real"] - line["logits/fake"] for line in lines]
    spread = statistics.fmean(line.get("logits/real.std", 0.0) for line in lines)
    size = max(statistics.fmean(map(abs, gaps)), spread)  # a gap much smaller than the logits' spread is mostly noise
    if len(gaps) < SWINGS or size == 0:
        return None
    moves = [now - before for before, now in itertools.pairwise(gaps)]
    turns = sum(one * other < 0 for one, other in itertools.pairwise(moves))
    swing = statistics.fmean(map(abs, moves)) / size
    sentence = (
        f"the networks oscillate: the gap between real and fake logits changes by {swing:.0%} of its size from one "
        "line of statistics to the next; try lower learning rates, or a larger gamma"
    )
    return Reading(value=swing, excess=swing / guard.oscillated if turns * 3 >= SWINGS else 0.0, sentence=sentence)


def _collapsed(history: History, guard: Guard, chance_loss: float) -> Reading:
    diversity, of = _diversity(history[-1]), "two samples of a class" if _within_classes(history[-1]) else "two samples"
    highest = max((_diversity(line) for line in history[:-1] if "guard/diversity" in line), default=0.0)
    expected = highest >= VARIED * guard.collapsed or history[-1]["progress/nimg"] >= LATE
    sentence = (
        f"the samples lose their diversity: the mean distance of {of} is {diversity:.0%} of that of real images; "
        "try a larger gamma, or lower learning rates"
    )
    excess = guard.collapsed / max(diversity, 1e-12) if expected else 0.0
    return Reading(value=diversity, excess=excess, sentence=sentence)


def _diversity(line: Record) -> float:
    return min(line["guard/diversity"], line.get("guard/class_diversity", math.inf))


def _within_classes(line: Record) -> bool:
    return line.get("guard/class_diversity", math.inf) < line["guard/diversity"]


def _overfitting(history: History, guard: Guard, chance_loss: float) -> Reading:
    value = history[-1]["guard/overfitting"]
    sentence = (
        f"the discriminator overfits: its logits of held-out real images lie {value:.0%} of the way from training "
        "images to samples; augment (--augment fixed), add images, or stop here"
    )
    return Reading(value=value, excess=value / guard.overfitted, sentence=sentence)


def _copying(history: History, guard: Guard, chance_loss: float) -> Reading:
    copies = history[-1]["guard/copies"]
    share = copies - history[-1].get("guard/copies_held_out", 0.0)
    sentence = (
        f"{copies:.0%} of the samples are copies of training images and must not be presented as new; "
        "augment (--augment fixed), add images, or use an earlier checkpoint"
    )
    return Reading(value=share, excess=share / guard.copied, sentence=sentence)


DETECTORS = (
    Detector(kind="not-finite", key="skipped/discriminator", read=_skipped, failure=2, patience=1),
    Detector(kind="exploding-gradient", key="gradient/discriminator", read=_exploding, failure=10),
    Detector(kind="discriminator-lost", key="loss/discriminator", read=_lost, failure=10),
    Detector(kind="discriminator-won", key="loss/discriminator", read=_won, failure=5),
    Detector(kind="mode-collapse", key="guard/diversity", read=_collapsed, failure=3),
    Detector(kind="oscillation", key="logits/real", read=_oscillating),
    Detector(kind="overfitting", key="guard/overfitting", read=_overfitting),
    Detector(kind="copies", key="guard/copies", read=_copying),
)
