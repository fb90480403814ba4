"""Statistics of a utility test: each arm over seeds, and pairs of arms by seed and over test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gansmith.metrics.intervals import bootstrap, normal
from gansmith.study.compare import SIGNIFICANT, compare_paired, holm, mean_interval
from gansmith.study.results import Interval, PairedComparison
from gansmith.utility.arms import ARMS, NO_REAL, ArmOrder
from gansmith.utility.cells import UtilityCell, name_amount
from gansmith.utility.results import MEASURES, ArmSummary, ClassGain, UtilityComparison

__all__ = ["TestOutcome", "compare_arms", "find_rare", "gain_by_class", "measure_cell", "summarise_arms"]

REPLICATES = 1000
RARE = 4  # one class in so many is rare
# First and second arm. Those with the GAN answer the question; the others are for comparison.
HEADLINES = (("real", "gan"), ("augmented", "gan"), ("real", "rare"))
OTHERS = (("real", "augmented"), ("real", "drawn"), ("augmented", "drawn"), ("gan", "drawn"))
WITHOUT_REAL = (("real", "gan-only"), ("real", "drawn-only"), ("gan-only", "drawn-only"))


@dataclass(frozen=True, kw_only=True, eq=False)
class TestOutcome:
    """What all classifiers predicted.

    Args:
        labels: of the test images, int64 [n].
        groups: of the test images, int64 [n].
        counts: real training images of each class, int64 [k].
        predicted: the predicted classes of each cell, int64 [n].
    """

    __test__ = False  # for pytest

    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    counts: NDArray[np.int64]
    predicted: Mapping[UtilityCell, NDArray[np.int64]]

    def cells(self, arm: str, amount: str) -> list[UtilityCell]:
        """Return the cells of an arm at an amount, by seed."""
        found = [cell for cell in self.predicted if cell.arm == arm and name_amount(cell.amount) == amount]
        return sorted(found, key=lambda cell: cell.seed)

    def correct(self, cell: UtilityCell) -> NDArray[np.bool_]:
        """Return whether each test image got its class, bool [n]."""
        return np.asarray(self.predicted[cell] == self.labels)


def find_rare(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the quarter of the classes with the fewest images, at least one; classes without images do not count."""
    present = np.flatnonzero(counts)
    order = present[np.argsort(counts[present], kind="stable")]
    return np.sort(order[: max(1, len(order) // RARE)])


def measure_cell(outcome: TestOutcome, cell: UtilityCell) -> dict[str, float]:
    """Return the measures of one classifier; those of rare classes are left out if none of them is tested."""
    correct = outcome.correct(cell)
    recall = _recall(correct, outcome.labels, len(outcome.counts))
    rare = recall[find_rare(outcome.counts)]
    values = (
        float(correct.mean()),
        float(np.nanmean(recall)),
        None if np.isnan(rare).all() else float(np.nanmean(rare)),
    )
    return {name: value for name, value in zip(MEASURES, values, strict=True) if value is not None}


def summarise_arms(outcome: TestOutcome, orders: Mapping[tuple[str, str], ArmOrder]) -> tuple[ArmSummary, ...]:
    """Return each arm and amount over its seeds.

    Args:
        outcome: of all cells.
        orders: the images of each arm and amount.
    """
    found = []
    for (arm, amount), order in orders.items():
        measured = [measure_cell(outcome, cell) for cell in outcome.cells(arm, amount)]
        found.append(
            ArmSummary(
                arm=arm,
                amount=amount,
                num_real=len(order.real),
                num_synthetic=len(order.synthetic),
                seeds=len(measured),
                values=tuple(mean_interval([each[name] for each in measured]) for name in measured[0]),
            )
        )
    return tuple(found)


def compare_arms(outcome: TestOutcome, arms: Sequence[str], amounts: Sequence[str]) -> tuple[UtilityComparison, ...]:
    """Return all comparisons, with Holm's correction of the headline ones over all amounts.

    Args:
        outcome: of all cells.
        arms: that were trained.
        amounts: of the arms with real images, as ``name_amount`` returns them.
    """
    found = [
        _compare(outcome, (first, second), amount, measure)
        for first, second, amount in _pairs(outcome, arms, amounts)
        for measure in _measures(outcome, second)
    ]
    tested = [entry.paired.p_t for entry in found if entry.headline and entry.paired.p_t is not None]
    corrected = iter(holm(tested))
    return tuple(
        _judge(entry, next(corrected)) if entry.headline and entry.paired.p_t is not None else entry for entry in found
    )


def gain_by_class(outcome: TestOutcome, arms: Sequence[str], names: Sequence[str]) -> tuple[ClassGain, ...]:
    """Return the recall of each rare class at all real images, the rarest first.

    Args:
        outcome: of all cells.
        arms: in this order.
        names: of all classes.
    """
    recalls = [
        np.mean([_recall(outcome.correct(cell), outcome.labels, len(names)) for cell in outcome.cells(arm, "all")], 0)
        for arm in arms
    ]
    tested = np.bincount(outcome.labels, minlength=len(names))
    rare = [label for label in find_rare(outcome.counts).tolist() if tested[label]]
    return tuple(
        ClassGain(
            name=names[label],
            num_real=int(outcome.counts[label]),
            num_test=int(tested[label]),
            recall=tuple(float(recall[label]) for recall in recalls),
        )
        for label in sorted(rare, key=lambda label: (outcome.counts[label], label))
    )


def _recall(correct: NDArray[np.bool_], labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Return the share of right test images of each class, [k]; NaN for a class without test images."""
    totals = np.bincount(labels, minlength=num_classes).astype(np.float64)
    totals[totals == 0] = np.nan
    return np.asarray(np.bincount(labels, correct, num_classes) / totals)


def _measures(outcome: TestOutcome, arm: str) -> list[str]:
    return list(measure_cell(outcome, next(cell for cell in outcome.predicted if cell.arm == arm)))


def _pairs(outcome: TestOutcome, arms: Sequence[str], amounts: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield first arm, second arm and amount of each comparison that has cells."""
    for amount in amounts:
        for first, second in (*HEADLINES, *OTHERS, *WITHOUT_REAL):
            only = not ARMS[first].real
            if only and amount != amounts[0]:
                continue  # neither has an amount
            if {first, second} <= set(arms) and all(
                outcome.cells(arm, _amount_of(arm, amount)) for arm in (first, second)
            ):
                yield first, second, name_amount(NO_REAL) if only else amount


def _amount_of(arm: str, amount: str) -> str:
    return amount if ARMS[arm].real else name_amount(NO_REAL)


def _compare(outcome: TestOutcome, pair: tuple[str, str], amount: str, measure: str) -> UtilityComparison:
    sides = [{cell.seed: cell for cell in outcome.cells(arm, _amount_of(arm, amount))} for arm in pair]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    first, second = ([measure_cell(outcome, side[seed])[measure] for seed in seeds] for side in sides)
    headline = measure == "accuracy"
    return UtilityComparison(
        amount=amount,
        headline=headline and pair in HEADLINES,
        paired=PairedComparison(
            measure=measure, first=pair[0], second=pair[1], num=len(seeds), **compare_paired(first, second)
        ),
        over_test=_over_test(outcome, [(sides[0][seed], sides[1][seed]) for seed in seeds]) if headline else None,
    )


def _over_test(outcome: TestOutcome, pairs: Sequence[tuple[UtilityCell, UtilityCell]]) -> Interval:
    """Return the mean difference of accuracy with its interval over other test images of the same kind.

    Whole groups are drawn with replacement, because the frames of a track are right or wrong together.
    """
    differences = np.mean([outcome.correct(b) * 1.0 - outcome.correct(a) for a, b in pairs], axis=0)
    _, members = np.unique(outcome.groups, return_inverse=True)
    sums, sizes = np.bincount(members, differences), np.bincount(members)

    def mean(counts: NDArray[np.int64]) -> float:
        return float(counts @ sums / (counts @ sizes))

    error = bootstrap(mean, [len(sizes)], seed=0, replicates=REPLICATES)
    found = normal(float(differences.mean()), float(error), f"bootstrap of {REPLICATES}")
    return Interval(value=found.value, low=found.low, high=found.high)


def _judge(entry: UtilityComparison, p_holm: float) -> UtilityComparison:
    over = entry.over_test
    excludes = over is not None and over.low is not None and over.high is not None and over.low * over.high > 0
    return replace(entry, paired=replace(entry.paired, p_holm=p_holm), shown=bool(p_holm < SIGNIFICANT and excludes))
