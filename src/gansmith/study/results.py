"""The results of a study: results.json, from which tables and reports are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from gansmith.component import (
    Between,
    Component,
    Seed,
    from_plain,
    to_plain,
)
from gansmith.errors import ConfigError, RunError
from gansmith.plain_json import read_json, write_json

__all__ = [
    "Conclusion",
    "Group",
    "Interval",
    "Measure",
    "Measured",
    "PairedComparison",
    "RunResults",
    "SettingResults",
    "State",
    "StudyResults",
    "Summary",
    "VariantFacts",
    "read_results",
    "write_results",
]

Group: TypeAlias = Literal["quality", "convergence", "stability"]
State: TypeAlias = Literal["unfinished", "finished", "diverged", "failed"]  # of a cell


@dataclass(frozen=True, kw_only=True)
class Interval(Component):
    """A value with its 95 % interval; the ends are None if there are too few seeds for one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measure(Component):
    """One measure of each run.

    Args:
        key: its name in ``Measured``, ``Summary`` and ``PairedComparison``.
        title: as tables show it.
        unit: of its values, or empty.
        better: which way is better; "neither" if it only describes.
        group: its kind.
        headline: one of the few measures, chosen before any result was seen, that conclusions rest on and whose p
            values are corrected for their number; the others are exploratory.
        share: whether its values are 0 or 1, and their means shares of the runs.
        definition: in a sentence.
    """

    key: str
    title: str
    unit: str = ""
    better: Literal["lower", "higher", "nearer 1", "nearer 0.5", "neither"]
    group: Group
    headline: bool = False
    share: bool = False
    definition: str


@dataclass(frozen=True, kw_only=True)
class Measured(Component):
    """A measure of one run.

    Args:
        measure: its key.
        value: None if it could not be measured.
        note: why not, or what a reader must know ("not reached"), or empty.
    """

    measure: str
    value: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RunResults(Component):
    """The outcome of one cell.

    Args:
        cell: its name.
        path: its run folder, relative to the study's.
        variant: the variant's title.
        seed: of the run.
        state: "finished"; "diverged" (which is a result); "failed" (its process ended, or could not begin);
            "unfinished" (stopped, or not begun).
        reason: for what is not finished.
        curve: the tracked metric: real images seen, seconds of training, value; oldest first.
        measures: all values, or why they could not be measured.
    """

    cell: str
    path: str
    variant: str
    seed: Seed
    state: State
    reason: str = ""
    curve: tuple[tuple[Annotated[int, Between(0, 2**63 - 1)], float, float], ...] = ()
    measures: tuple[Measured, ...] = ()

    def value(self, measure: str) -> float | None:
        """The value of a measure, or None."""
        return next((measured.value for measured in self.measures if measured.measure == measure), None)


@dataclass(frozen=True, kw_only=True)
class Summary(Component):
    """A measure of one variant over its seeds.

    Args:
        measure: its key.
        variant: the variant's title.
        num: runs that have a value.
        mean: over them, with the t interval; of a share, with the exact binomial one.
        deviation: between seeds (n - 1), or None for a single one.
        note: what a reader must know ("2 of 5 not reached and count as 100 kimg"), or empty.
    """

    measure: str
    variant: str
    num: Annotated[int, Between(0, 1_000_000)]
    mean: Interval
    deviation: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PairedComparison(Component):
    """A measure of two variants, paired by seed.

    Args:
        measure: its key.
        first: a variant's title.
        second: the other's.
        num: pairs of runs that both have a value.
        difference: mean of second minus first, with the paired t interval.
        p_t: of the paired t-test.
        p_permutation: of the exact test that flips the signs of the differences.
        p_mcnemar: of the exact test of shares, in place of the two others.
        p_holm: p_t corrected for the number of headline measures (Holm); None for other measures and for shares.
        effect: Hedges' g of paired differences (mean difference by its deviation, small-sample corrected).
        detectable: the size of a true difference that these seeds would have shown with 80 % probability.
        note: what a reader must know, or empty.
    """

    measure: str
    first: str
    second: str
    num: Annotated[int, Between(0, 1_000_000)]
    difference: Interval | None = None
    p_t: float | None = None
    p_permutation: float | None = None
    p_mcnemar: float | None = None
    p_holm: float | None = None
    effect: Interval | None = None
    detectable: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Conclusion(Component):
    """What one group of measures shows about two variants and what remains open, a sentence each."""

    group: Group
    first: str
    second: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class VariantFacts(Component):
    """A variant as it was trained.

    Args:
        title: its name.
        preset: where its configuration started.
        changes: dotted fields with their values, "model.width = 32" each.
    """

    title: str
    preset: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SettingResults(Component):
    """All variants on one data setting.

    Args:
        title: the setting's.
        facts: the data in a clause: what, how many, of which size.
        length: of each training.
        tracked: the metric that was tracked ("fid"), or empty if none was.
        tracked_title: as tables show it.
        tracked_better: which way it is better.
        thresholds: the values of it that "kimg to reach" and "seconds to reach" refer to, worst first.
        incomparable: why values of these runs must not be compared, a clause each; then nothing is concluded about
            quality and convergence.
        notes: what else a reader must know, a sentence each.
        measures: what is measured, in the order of tables.
        runs: of all variants and seeds.
        summaries: of each variant and measure.
        comparisons: of each pair of variants and measure.
        conclusions: of each pair of variants and group.
    """

    title: str
    facts: str = ""
    length: str
    tracked: str = ""
    tracked_title: str = ""
    tracked_better: Literal["lower", "higher", "nearer 1", "nearer 0.5"] = "lower"
    thresholds: tuple[float, ...] = ()
    incomparable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()
    runs: tuple[RunResults, ...] = ()
    summaries: tuple[Summary, ...] = ()
    comparisons: tuple[PairedComparison, ...] = ()
    conclusions: tuple[Conclusion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StudyResults(Component):
    """A whole study.

    Args:
        title: of the study.
        question: that it asks.
        note: what a reader must know, in the study's own words.
        shortened: how it was cut on the command line, a clause each; empty for a study as its file has it.
        command: that made it.
        gansmith: the version.
        when: ISO 8601 with the time zone.
        seeds: of each variant and data setting.
        variants: in their order.
        settings: one a data setting.
    """

    title: str
    question: str = ""
    note: str = ""
    shortened: tuple[str, ...] = ()
    command: str = ""
    gansmith: str
    when: str
    seeds: tuple[Seed, ...]
    variants: tuple[VariantFacts, ...]
    settings: tuple[SettingResults, ...]


def write_results(results: StudyResults, path: Path) -> None:
    """Write results as JSON, completely or not at all."""
    write_json(path, to_plain(results))


def read_results(path: Path) -> StudyResults:
    """Read results.json.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        results: StudyResults = from_plain(StudyResults, _with_sentences(read_json(path)), path.name)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{path}: cannot be read ({error}); write it again with: gansmith study") from error
    return results


def _with_sentences(plain: Any) -> Any:
    """Return plain results with today's fields: earlier versions had one sentence per comparison and group."""
    for setting in plain["settings"]:
        for comparison in setting["comparisons"]:
            comparison.pop("sentence", None)
        for conclusion in setting["conclusions"]:
            if "sentence" in conclusion:
                conclusion["sentences"] = [conclusion.pop("sentence")]
    return plain
