"""The tables of a study, for the terminal and its page: measures of each variant, comparisons of variants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gansmith.numerals import between, number, precise
from gansmith.study.results import Group, Interval, Measure, PairedComparison, SettingResults

__all__ = ["ComparisonRow", "MeasureRow", "TableCell", "list_comparison_tables", "list_measure_rows"]

DASH = "\N{EN DASH}"


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """A measure of one variant: its mean, the interval over seeds, and a note."""

    value: str
    interval: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """A measure of all variants, in their order."""

    title: str
    better: str
    headline: bool
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """A measure of two variants; numbers as text, a dash if there is none."""

    title: str
    headline: bool
    difference: str
    interval: str
    p: str
    holm: str
    effect: str
    detectable: str
    pairs: int
    note: str


def list_measure_rows(setting: SettingResults, variants: Iterable[str], groups: Iterable[Group]) -> list[MeasureRow]:
    """Return the rows of a table of means.

    Args:
        setting: the results.
        variants: their titles, one column each.
        groups: of measures.
    """
    found = {(summary.measure, summary.variant): summary for summary in setting.summaries}
    rows = []
    for measure in setting.measures:
        summaries = [found.get((measure.key, variant)) for variant in variants]
        if measure.group not in groups or not any(summaries):
            continue
        cells = tuple(
            TableCell(value=DASH)
            if summary is None or not summary.num
            else _cell(measure, summary.mean, summary.num, summary.note)
            for summary in summaries
        )
        rows.append(MeasureRow(title=_titled(measure), better=measure.better, headline=measure.headline, cells=cells))
    return rows


def _cell(measure: Measure, mean: Interval, num: int, note: str) -> TableCell:
    if measure.share:
        ends = [None if end is None else 100 * end for end in (mean.low, mean.high)]
        interval = "" if None in ends else f"{number(ends[0] or 0, 0)} to {number(ends[1] or 0, 0)} %"
        return TableCell(value=f"{round(mean.value * num)} of {num}", interval=interval, note=note)
    interval = "" if mean.low is None else between(mean.low, mean.high)
    return TableCell(value=precise(mean.value, mean.low, mean.high), interval=interval, note=note)


def _titled(measure: Measure) -> str:
    return f"{measure.title}, {measure.unit}" if measure.unit and measure.unit not in measure.title else measure.title


def list_comparison_tables(setting: SettingResults) -> list[tuple[str, list[ComparisonRow]]]:
    """Return title and rows for each pair of variants, headline measures first."""
    measures = {measure.key: measure for measure in setting.measures}
    tables: dict[str, list[ComparisonRow]] = {}
    for comparison in setting.comparisons:
        measure = measures.get(comparison.measure)
        if measure is not None and comparison.num:
            pair = f"{comparison.second} minus {comparison.first}"
            tables.setdefault(pair, []).append(_row(measure, comparison))
    return [(pair, sorted(rows, key=lambda row: not row.headline)) for pair, rows in tables.items()]


def _row(measure: Measure, comparison: PairedComparison) -> ComparisonRow:
    difference, effect = comparison.difference, comparison.effect
    p = comparison.p_mcnemar if comparison.p_t is None else comparison.p_t
    return ComparisonRow(
        title=_titled(measure),
        headline=measure.headline,
        difference=DASH if difference is None else precise(difference.value, difference.low, difference.high),
        interval=DASH if difference is None else between(difference.low, difference.high),
        p=_p(p),
        holm=_p(comparison.p_holm),
        effect=DASH if effect is None else _with_interval(effect),
        detectable=DASH if comparison.detectable is None else number(comparison.detectable),
        pairs=comparison.num,
        note=comparison.note,
    )


def _with_interval(interval: Interval) -> str:
    value = precise(interval.value, interval.low, interval.high)
    return value if interval.low is None else f"{value} ({between(interval.low, interval.high)})"


def _p(value: float | None) -> str:
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else number(value, 3)
