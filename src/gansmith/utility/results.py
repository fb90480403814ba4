"""The results of a utility test: utility.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from gansmith.component import Between, Component
from gansmith.study.results import Interval, PairedComparison

__all__ = ["MEASURES", "ArmSummary", "ClassGain", "UtilityComparison", "UtilityResults"]

Count = Annotated[int, Between(0, 2**63 - 1)]

# Measure: its definition. The first is the headline, on which the corrected tests and the sentence rest.
MEASURES = {
    "accuracy": "share of the test images whose class is right",
    "balanced accuracy": "mean over classes of the share of the class's test images whose class is right",
    "rare classes": "the same mean over the quarter of classes with the fewest real training images",
}


@dataclass(frozen=True, kw_only=True)
class ArmSummary(Component):
    """One arm at one amount of real images, over seeds.

    Args:
        arm: its name.
        amount: "all", a number of real images of each class, or "none".
        num_real: real images it was trained on.
        num_synthetic: generated or drawn images it was trained on.
        seeds: classifiers.
        values: of each measure, in the order of ``MEASURES``, from 0 to 1; the interval is Student's over seeds.
    """

    arm: str
    amount: str
    num_real: Count
    num_synthetic: Count
    seeds: Count
    values: tuple[Interval, ...]


@dataclass(frozen=True, kw_only=True)
class UtilityComparison(Component):
    """Two arms, paired by seed.

    Args:
        amount: of the real images; of the first arm if the second has none.
        headline: whether it answers the question; only then is its p value corrected, for the number of headline
            comparisons of the whole test.
        paired: difference, intervals and tests over seeds, of one measure.
        over_test: the mean difference with its interval over other test images: a bootstrap over groups. None for
            other measures than accuracy.
        shown: whether a difference is shown: the corrected p value is below 0.05, and the interval over test images
            excludes 0.
    """

    amount: str
    headline: bool
    paired: PairedComparison
    over_test: Interval | None = None
    shown: bool = False


@dataclass(frozen=True, kw_only=True)
class ClassGain(Component):
    """A rare class at all real images.

    Args:
        name: of the class.
        num_real: its real training images.
        num_test: its test images.
        recall: the share of them that each arm gets right, mean over seeds, in the order of ``UtilityResults.gainers``.
    """

    name: str
    num_real: Count
    num_test: Count
    recall: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class UtilityResults(Component):
    """A whole utility test.

    Args:
        sentence: whether the generated images helped.
        run: the run's path or zoo name.
        run_facts: how it was trained, in a clause.
        tested_on: the test images, in a clause.
        notes: what else a reader must know, a sentence each.
        left_out: arms and amounts that could not be, with the reason, a sentence each.
        training: how every classifier was trained, in a clause.
        seeds: of classifiers.
        summaries: of each arm and amount.
        comparisons: of arms.
        gainers: the arms of ``gains``.
        gains: of rare classes.
        machine: processor and threads, in a clause.
        command: that made it.
        gansmith: the version.
        when: ISO 8601 with the time zone.
    """

    sentence: str
    run: str
    run_facts: str
    tested_on: str
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    training: str
    seeds: Count
    summaries: tuple[ArmSummary, ...]
    comparisons: tuple[UtilityComparison, ...]
    gainers: tuple[str, ...] = ()
    gains: tuple[ClassGain, ...] = ()
    machine: str = ""
    command: str = ""
    gansmith: str
    when: str
