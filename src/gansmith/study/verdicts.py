"""From the measures of runs to what is said of variants: summaries, comparisons of each pair, conclusions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gansmith.numerals import number
from gansmith.study.compare import holm, mcnemar, mean_interval, paired, share_interval
from gansmith.study.results import Conclusion, Measure, Measured, PairedComparison, RunResults, SettingResults, Summary
from gansmith.study.words import TITLES, conclusion, sentence

__all__ = ["judged"]

Runs = Mapping[int, RunResults]  # of one variant, by seed


def judged(setting: SettingResults, variants: Sequence[str]) -> SettingResults:
    """A data setting with summaries, comparisons and conclusions in place of those it has.

    Args:
        setting: with its measures and runs.
        variants: their titles, in the order of comparison.
    """
    runs = {title: _ended(setting.runs, title) for title in variants}
    summaries = tuple(
        summary
        for measure in setting.measures
        for title in variants
        if (summary := _summary(measure, title, runs[title])) is not None
    )
    setting = replace(setting, summaries=summaries, comparisons=(), conclusions=())
    for first, second in itertools.combinations(variants, 2):
        found = [_comparison(measure, (first, second), runs) for measure in setting.measures]
        told = _told(setting, _corrected(setting.measures, found))
        conclusions = tuple(_conclusions(setting, told, (first, second)))
        setting = replace(
            setting,
            comparisons=(*setting.comparisons, *told),
            conclusions=(*setting.conclusions, *conclusions),
        )
    return setting


def _ended(runs: Sequence[RunResults], variant: str) -> Runs:
    return {run.seed: run for run in runs if run.variant == variant and run.state in ("finished", "diverged")}


def _summary(measure: Measure, variant: str, runs: Runs) -> Summary | None:
    found = [measured for run in runs.values() for measured in run.measures if measured.measure == measure.key]
    values = [measured.value for measured in found if measured.value is not None]
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


def _notes(measure: Measure, runs: Runs) -> Iterator[str]:
    """What has to be known about the runs behind a mean: who is missing, who counts with less than the truth."""
    missing = {seed: note for seed, (value, note) in _values(measure, runs).items() if value is None}
    for note in dict.fromkeys(missing.values()):
        seeds = [str(seed) for seed, why in missing.items() if why == note]
        yield f"without seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {note}"
    marked = [(value, note) for value, note in _values(measure, runs).values() if value is not None and note]
    for note in dict.fromkeys(note for _, note in marked):
        values = [value for value, why in marked if why == note]
        counted = f" and count{'s' if len(values) == 1 else ''} with {number(values[0])} {measure.unit}"
        yield f"{len(values)} of {len(runs)} {note}{counted if note == 'not reached' else ''}"


def _values(measure: Measure, runs: Runs) -> dict[int, tuple[float | None, str]]:
    nothing = Measured(measure=measure.key, value=None, note="not measured")
    found = {
        seed: next((measured for measured in run.measures if measured.measure == measure.key), nothing)
        for seed, run in runs.items()
    }
    return {seed: (measured.value, measured.note) for seed, measured in found.items()}


def _comparison(measure: Measure, pair: tuple[str, str], runs: Mapping[str, Runs]) -> PairedComparison:
    sides = [_values(measure, runs[title]) for title in pair]
    values = [{seed: value for seed, (value, _) in side.items() if value is not None} for side in sides]
    seeds = sorted(values[0].keys() & values[1].keys())
    first, second = ([side[seed] for seed in seeds] for side in values)
    notes = {title: "; ".join(_notes(measure, runs[title])) for title in pair}
    nothing_yet = PairedComparison(
        measure=measure.key,
        first=pair[0],
        second=pair[1],
        num=len(seeds),
        note="; ".join(f"{title}: {note}" for title, note in notes.items() if note),
        sentence="",
    )
    if not seeds:
        return nothing_yet
    if measure.share:
        return replace(nothing_yet, p_mcnemar=mcnemar(first, second))
    found = paired(first, second)
    return replace(
        nothing_yet,
        difference=found.difference,
        p_t=found.p_t,
        p_permutation=found.p_permutation,
        effect=found.effect,
        detectable=found.detectable,
    )


def _corrected(measures: Sequence[Measure], comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    """With the p values of headline measures corrected for being several."""
    headlines = {measure.key for measure in measures if measure.headline}
    tested = [entry.p_t for entry in comparisons if entry.measure in headlines and entry.p_t is not None]
    corrected = iter(holm(tested))
    return [
        replace(entry, p_holm=next(corrected)) if entry.measure in headlines and entry.p_t is not None else entry
        for entry in comparisons
    ]


def _told(setting: SettingResults, comparisons: Sequence[PairedComparison]) -> list[PairedComparison]:
    measures = {measure.key: measure for measure in setting.measures}
    return [
        replace(entry, sentence=sentence(measures[entry.measure], entry, _sides(setting, entry)))
        for entry in comparisons
    ]


def _conclusions(
    setting: SettingResults, comparisons: Sequence[PairedComparison], pair: tuple[str, str]
) -> Iterator[Conclusion]:
    for group in TITLES:
        asked = [
            (measure, entry, _sides(setting, entry))
            for measure, entry in zip(setting.measures, comparisons, strict=True)
            if measure.group == group
        ]
        text = conclusion(group, asked, setting.incomparable)
        yield Conclusion(group=group, first=pair[0], second=pair[1], sentence=text)


def _sides(setting: SettingResults, comparison: PairedComparison) -> list[Summary]:
    own = [summary for summary in setting.summaries if summary.measure == comparison.measure]
    pair = (comparison.first, comparison.second)
    return sorted((side for side in own if side.variant in pair), key=lambda side: pair.index(side.variant))
