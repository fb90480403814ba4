"""Compare the variants of one data setting: summaries over seeds, paired comparisons, conclusions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gansmith.numerals import number
from gansmith.study.compare import compare_paired, holm, mcnemar, mean_interval, share_interval
from gansmith.study.conclusions import TITLES, conclude
from gansmith.study.results import (
    Conclusion,
    Measure,
    Measured,
    PairedComparison,
    RunResults,
    SettingResults,
    Summary,
)

__all__ = ["compare_variants"]

Runs = Mapping[int, RunResults]  # of one variant, by seed


def compare_variants(setting: SettingResults, variants: Sequence[str]) -> SettingResults:
    """Return a data setting with summaries, comparisons and conclusions in place of those it has.

    Args:
        setting: with its measures and runs.
        variants: their titles, in the order of comparison.
    """
    runs = {title: _ended(setting.runs, title) for title in variants}
    found = (_summarize(measure, title, runs[title]) for measure in setting.measures for title in variants)
    setting = replace(setting, summaries=tuple(filter(None, found)), comparisons=(), conclusions=())
    for pair in itertools.combinations(variants, 2):
        comparisons = _correct(setting.measures, [_compare(measure, pair, runs) for measure in setting.measures])
        setting = replace(
            setting,
            comparisons=(*setting.comparisons, *comparisons),
            conclusions=(*setting.conclusions, *_conclude(setting, comparisons, pair)),
        )
    return setting


def _ended(runs: Sequence[RunResults], variant: str) -> Runs:
    return {run.seed: run for run in runs if run.variant == variant and run.state in ("finished", "diverged")}


def _summarize(measure: Measure, variant: str, runs: Runs) -> Summary | None:
    values = [value for value, _ in _values(measure, runs).values() if value is not None]
    if not values:
        return None
    return Summary(
        measure=measure.key,
        variant=variant,
        num=len(values),
        mean=share_interval(round(sum(values)), len(values)) if measure.share else mean_interval(values),
        deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        note="; ".join(_notes(measure, runs)),
    )


def _values(measure: Measure, runs: Runs) -> dict[int, tuple[float | None, str]]:
    """Return value and note of each seed."""
    nothing = Measured(measure=measure.key, value=None, note="not measured")
    found = {
        seed: next((each for each in run.measures if each.measure == measure.key), nothing)
        for seed, run in runs.items()
    }
    return {seed: (each.value, each.note) for seed, each in found.items()}


def _notes(measure: Measure, runs: Runs) -> Iterator[str]:
    """Yield what a reader of a mean must know: seeds without a value, and values that stand for "not reached"."""
    seeds: dict[tuple[bool, str], list[str]] = {}
    values = _values(measure, runs)
    for seed, (value, note) in values.items():
        if value is None or note:
            seeds.setdefault((value is None, note), []).append(str(seed))
    for (missing, note), there in seeds.items():
        if missing:
            yield f"without seed{'s' if len(there) > 1 else ''} {', '.join(there)}: {note}"
        else:
            counted = f" and count as {number(values[int(there[0])][0] or 0)} {measure.unit}"
            yield f"{len(there)} of {len(runs)} {note}{counted if note == 'not reached' else ''}"


def _compare(measure: Measure, pair: tuple[str, str], runs: Mapping[str, Runs]) -> PairedComparison:
    sides = [_values(measure, runs[title]) for title in pair]
    values = [{seed: value for seed, (value, _) in side.items() if value is not None} for side in sides]
    seeds = sorted(values[0].keys() & values[1].keys())
    first, second = ([side[seed] for seed in seeds] for side in values)
    notes = {title: "; ".join(_notes(measure, runs[title])) for title in pair}
    comparison = PairedComparison(
        measure=measure.key,
        first=pair[0],
        second=pair[1],
        num=len(seeds),
        note="; ".join(f"{title}: {note}" for title, note in notes.items() if note),
    )
    if not seeds:
        return comparison
    if measure.share:
        return replace(comparison, p_mcnemar=mcnemar(first, second))
    return replace(comparison, **compare_paired(first, second))


def _correct(measures: Sequence[Measure], comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    """Return the comparisons with Holm's p value for headline measures."""
    headlines = {measure.key for measure in measures if measure.headline}
    tested = [entry.p_t for entry in comparisons if entry.measure in headlines and entry.p_t is not None]
    corrected = iter(holm(tested))
    return [
        replace(entry, p_holm=next(corrected)) if entry.measure in headlines and entry.p_t is not None else entry
        for entry in comparisons
    ]


def _conclude(
    setting: SettingResults, comparisons: Sequence[PairedComparison], pair: tuple[str, str]
) -> Iterator[Conclusion]:
    found = {(summary.measure, summary.variant): summary for summary in setting.summaries}
    for group in TITLES:
        rows = [
            (measure, entry, [found[measure.key, title] for title in pair if (measure.key, title) in found])
            for measure, entry in zip(setting.measures, comparisons, strict=True)
            if measure.group == group
        ]
        yield Conclusion(group=group, first=pair[0], second=pair[1], sentences=conclude(rows, setting.incomparable))
