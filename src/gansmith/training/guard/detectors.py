"""What is wrong with a training: pure functions of its history, which is the lines of stats.jsonl, oldest first.

Each detector turns the history up to some line into a figure and into its excess: 1 at the threshold, more beyond it.
A line without what a detector looks at says nothing to it. Something is seen when the last few figures in a row are
beyond the threshold, and until as many in a row are not: one figure alone is noise, unless it is beyond all doubt.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from gansmith.losses import Loss
from gansmith.training.guard.settings import Guard

__all__ = ["DETECTORS", "Detector", "Found", "History", "Kind", "Sighting", "chance", "not_finite", "sightings"]

Record: TypeAlias = Mapping[str, float]
History: TypeAlias = Sequence[Record]
Kind: TypeAlias = Literal[
    "not-finite",
    "discriminator-won",
    "discriminator-lost",
    "exploding-gradient",
    "oscillation",
    "mode-collapse",
    "augmentation-leak",
    "overfitting",
    "copies",
]

LEAST_NORMS, MOST_NORMS = 8, 50  # lines whose median a gradient is held against
LEAST_MEDIAN = 1.0  # it is less while D has won, and what comes after that is no explosion
LONGEST_GRADIENT = 1e5  # no healthy training has one, so this needs no lines before it
SWINGS = 12  # lines over which oscillation shows
VARIED = 1.5  # thresholds of diversity that samples must have exceeded before they can be said to have collapsed
LATE = 500_000  # images after which they should have, however slow the start
BEYOND_DOUBT = 100  # times the excess of a failure: one figure is enough
MOST_SKIPPED = 0.5  # of the updates of an interval: with more, nothing is learnt
LEAK = "guard/leak"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a detector makes of the history up to a line.

    Args:
        figure: as it is said.
        excess: 1 at the threshold, more beyond it.
        sentence: the figure and a remedy.
    """

    figure: float
    excess: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Detector:
    """How one kind of trouble is found.

    Args:
        kind: its name.
        reads: the key without which a line says nothing to it.
        find: of the history up to a line, the guard's thresholds, and what guessing costs D; None if that line says
            nothing to it all the same.
        failure: the excess from which on it is a failure; without an end, it never is.
        patience: in place of the guard's.
    """

    kind: Kind
    reads: str
    find: Callable[[History, Guard, float], Found | None]
    failure: float = math.inf
    patience: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """Something that is wrong.

    Args:
        kind: what.
        severity: a failure ruins the training.
        sentence: the figure and a remedy, in one sentence.
        figure: see ``Found``.
        excess: see ``Found``.
        nimg: when it was seen.
        since: up to when all was well.
    """

    kind: Kind
    severity: Literal["warning", "failure"]
    sentence: str
    figure: float
    excess: float
    nimg: int
    since: int


def sightings(guard: Guard, guess: float, history: History, active: Collection[str] = ()) -> list[Sighting]:
    """What is wrong now, at the history's last line.

    Args:
        guard: thresholds and patience.
        guess: what guessing costs D: see ``chance``.
        history: not empty.
        active: the kinds that were seen before and have not ended.
    """
    found = (_sighting(detector, guard, guess, history, detector.kind in active) for detector in DETECTORS)
    return [sighting for sighting in found if sighting is not None]


def not_finite(nimg: int, since: int) -> Sighting:
    """That weights are no numbers any more.

    Args:
        nimg: now.
        since: when they were last known to be.
    """
    return Sighting(
        kind="not-finite",
        severity="failure",
        sentence="a weight is no number any more; try lower learning rates, or a penalty such as --penalties r1",
        figure=1.0,
        excess=1 + 1 / MOST_SKIPPED,
        nimg=nimg,
        since=since,
    )


def chance(loss: Loss) -> float:
    """What D's loss is at best if it gives real and generated images the same logit: what guessing costs.

    0 for losses that a constant cannot be worse at, such as Wasserstein's; they have no scale to judge D's loss by.
    """
    same = torch.linspace(-2, 2, 401)
    return float(loss.discriminator(same, same).min())


def _sighting(detector: Detector, guard: Guard, guess: float, history: History, active: bool) -> Sighting | None:
    patience = detector.patience or guard.patience
    newest = [found for _, found in itertools.islice(_backwards(detector, guard, guess, history), patience)]
    excesses = [found.excess for found in newest]
    certain = _certain(excesses, patience, detector.failure)
    if certain < 1 and not (active and max(excesses, default=0) >= 1):
        return None
    return Sighting(
        kind=detector.kind,
        severity="failure" if certain >= detector.failure else "warning",
        sentence=newest[0].sentence,
        figure=newest[0].figure,
        excess=newest[0].excess,
        nimg=int(history[-1]["progress/nimg"]),
        since=_since(detector, guard, guess, history),
    )


def _certain(excesses: Sequence[float], patience: int, failure: float) -> float:
    """The excess that there can be no doubt about, of the newest figures, the newest first; 0 where there is."""
    if excesses and excesses[0] >= BEYOND_DOUBT * failure:
        return excesses[0]
    return min(excesses) if len(excesses) == patience else 0.0


def _backwards(detector: Detector, guard: Guard, guess: float, history: History) -> Iterator[tuple[int, Found]]:
    """Of the lines that say something to the detector, the newest first: images seen, and what it makes of them."""
    for end in range(len(history), 0, -1):
        if detector.reads in history[end - 1]:
            found = detector.find(history[:end], guard, guess)
            if found is not None:
                yield int(history[end - 1]["progress/nimg"]), found


def _since(detector: Detector, guard: Guard, guess: float, history: History) -> int:
    """When the figure was last good; 0 if it never was."""
    return next((nimg for nimg, found in _backwards(detector, guard, guess, history) if found.excess < 1), 0)


# --- the detectors -----------------------------------------------------------------------------------------


def _left_out(history: History, guard: Guard, guess: float) -> Found:
    shares = {name: history[-1].get(f"skipped/{name}", 0.0) for name in ("generator", "discriminator")}
    worst = max(shares, key=lambda name: shares[name])
    sentence = (
        f"{shares[worst]:.2%} of the {worst}'s updates were left out, as their gradient was no number; "
        "look at what is new, such as a loss of your own, or try lower learning rates"
    )
    excess = 1 + shares[worst] / MOST_SKIPPED if shares[worst] > 0 else 0.0
    return Found(figure=shares[worst], excess=excess, sentence=sentence)


def _won(history: History, guard: Guard, guess: float) -> Found | None:
    if guess <= 0:
        return None
    loss = history[-1]["loss/discriminator"]
    ratio = max(loss / guess, 1e-12)
    sentence = (
        f"the discriminator has won: its loss is {loss:.2g}, {ratio:.2%} of what guessing costs; "
        "try a penalty (--penalties r1), a larger gamma, or augmentation (--augment fixed)"
    )
    return Found(figure=ratio, excess=guard.won / ratio, sentence=sentence)


def _lost(history: History, guard: Guard, guess: float) -> Found | None:
    if guess <= 0:
        return None
    loss = history[-1]["loss/discriminator"]
    ratio = loss / guess
    sentence = (
        f"the discriminator is worse than a guess: its loss is {loss:.3g}, {ratio:.3g} times what guessing costs; "
        "try lower learning rates"
    )
    return Found(figure=ratio, excess=ratio / guard.lost, sentence=sentence)


def _exploding(history: History, guard: Guard, guess: float) -> Found:
    """Of the two networks, the one whose gradient is further beyond what it may be."""
    found = [_longer(history, guard, name) for name in ("discriminator", "generator")]
    return max(found, key=lambda one: one.excess)


def _longer(history: History, guard: Guard, name: str) -> Found:
    key = f"gradient/{name}"
    norm = history[-1].get(key, 0.0)
    before = [line[key] for line in history[-MOST_NORMS - 1 : -1] if key in line]
    median = statistics.median(before) if len(before) >= LEAST_NORMS else math.inf
    against = f", {norm / median:,.0f} times its median before" if 0 < median < math.inf else ""
    return Found(
        figure=norm,
        excess=max(norm / LONGEST_GRADIENT, norm / (guard.exploded * max(median, LEAST_MEDIAN))),
        sentence=f"the {name}'s gradient explodes: its length is {norm:.3g}{against}; try lower learning rates",
    )


def _oscillating(history: History, guard: Guard, guess: float) -> Found | None:
    lines = [line for line in history[-SWINGS:] if "logits/real" in line]
    gaps = [line["logits/real"] - line["logits/fake"] for line in lines]
    spread = statistics.fmean(line.get("logits/real.std", 0.0) for line in lines)
    size = max(
        statistics.fmean(map(abs, gaps)), spread
    )  # of a gap that is small beside the logits' spread, noise is most
    if len(gaps) < SWINGS or size == 0:
        return None
    moves = [now - before for before, now in itertools.pairwise(gaps)]
    turns = sum(one * other < 0 for one, other in itertools.pairwise(moves))
    swing = statistics.fmean(map(abs, moves)) / size
    sentence = (
        f"the networks chase each other: the gap between real and fake logits swings to and fro by {swing:.0%} of "
        "its size; try lower learning rates, or a larger gamma"
    )
    return Found(figure=swing, excess=swing / guard.oscillated if turns * 3 >= SWINGS else 0.0, sentence=sentence)


def _collapsed(history: History, guard: Guard, guess: float) -> Found:
    diversity, of = _diversity(history[-1]), "two samples of a class" if _within_classes(history[-1]) else "two samples"
    risen = max((_diversity(line) for line in history[:-1] if "guard/diversity" in line), default=0.0)
    expected = risen >= VARIED * guard.collapsed or history[-1]["progress/nimg"] >= LATE
    sentence = (
        f"the samples are becoming all alike: {of} differ by {diversity:.0%} of what real images do; "
        "try a larger gamma, or lower learning rates"
    )
    return Found(
        figure=diversity, excess=guard.collapsed / max(diversity, 1e-12) if expected else 0.0, sentence=sentence
    )


def _diversity(line: Record) -> float:
    return min(line["guard/diversity"], line.get("guard/class_diversity", math.inf))


def _within_classes(line: Record) -> bool:
    return line.get("guard/class_diversity", math.inf) < line["guard/diversity"]


def _leaking(history: History, guard: Guard, guess: float) -> Found:
    shares = {key.removeprefix(f"{LEAK}/"): share for key, share in history[-1].items() if key.startswith(f"{LEAK}/")}
    worst, share = max(shares.items(), key=lambda pair: pair[1], default=("augmentation", history[-1][LEAK]))
    sentence = (
        f"augmentation shows in the samples: at least {share:.0%} of them seem to have had '{worst}'; "
        "leave it out of --augment.operations, or augment less often"
    )
    return Found(figure=share, excess=share / guard.leaked, sentence=sentence)


def _overfitting(history: History, guard: Guard, guess: float) -> Found:
    figure = history[-1]["guard/overfitting"]
    sentence = (
        f"the discriminator knows its training images by heart: unseen real ones are {figure:.0%} of the way to "
        "samples for it; augment (--augment fixed), bring more images, or stop here"
    )
    return Found(figure=figure, excess=figure / guard.overfitted, sentence=sentence)


def _copying(history: History, guard: Guard, guess: float) -> Found:
    share = history[-1]["guard/copies"] - history[-1].get("guard/copies_held_out", 0.0)
    sentence = (
        f"{history[-1]['guard/copies']:.0%} of the samples are all but training images, which must not be shown as new "
        "ones; augment (--augment fixed), bring more images, or take an earlier checkpoint"
    )
    return Found(figure=share, excess=share / guard.copied, sentence=sentence)


DETECTORS = (
    Detector(kind="not-finite", reads="skipped/discriminator", find=_left_out, failure=2, patience=1),
    Detector(kind="exploding-gradient", reads="gradient/discriminator", find=_exploding, failure=10),
    Detector(kind="discriminator-lost", reads="loss/discriminator", find=_lost, failure=10),
    Detector(kind="discriminator-won", reads="loss/discriminator", find=_won, failure=5),
    Detector(kind="mode-collapse", reads="guard/diversity", find=_collapsed, failure=3),
    Detector(kind="oscillation", reads="logits/real", find=_oscillating),
    Detector(kind="overfitting", reads="guard/overfitting", find=_overfitting),
    Detector(kind="copies", reads="guard/copies", find=_copying),
    Detector(kind="augmentation-leak", reads=LEAK, find=_leaking, patience=2),
)
