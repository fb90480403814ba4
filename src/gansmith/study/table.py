"""Print a study's results, and write them for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gansmith.files import replace_file
from gansmith.numerals import number
from gansmith.study.conclusions import TITLES
from gansmith.study.results import Interval, Measure, PairedComparison, SettingResults, StudyResults, Summary

__all__ = ["show_results", "write_csv"]

BEST = " *"


def show_results(results: StudyResults, console: Console) -> None:
    """Print a table for each data setting, and its conclusions."""
    for setting in results.settings:
        if setting.summaries:
            console.print(_table(results, setting))
        for text in _sentences(setting):
            console.print(text, highlight=False, markup=False)
        console.print()
    for text in (*(f"Shortened: {cut}." for cut in results.shortened), results.note.strip()):
        if text:
            console.print(text, highlight=False, markup=False)


def write_csv(results: StudyResults, path: Path) -> None:
    """Write one row per run: variant, seed, outcome, and every measure; empty if it could not be measured."""
    keys = list(dict.fromkeys(measure.key for setting in results.settings for measure in setting.measures))
    with replace_file(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["data", "variant", "seed", "state", "reason", "path", *keys])
        for setting in results.settings:
            for run in setting.runs:
                values = ["" if (value := run.value(key)) is None else value for key in keys]
                rows.writerow([setting.title, run.variant, run.seed, run.state, run.reason, run.path, *values])


def _table(results: StudyResults, setting: SettingResults) -> Table:
    title = f"{setting.title}: {setting.length}, {len(results.seeds)} seeds"
    caption = (
        f"{BEST.strip()} of the best generator, evaluated after training; ± half of the 95 % interval; "
        "p corrected for the number of headline measures, others [uncorrected]"
    )
    table = Table(title=title, caption=escape(caption), title_justify="left", caption_justify="left")
    table.add_column("measure", min_width=20)
    for variant in results.variants:
        table.add_column(variant.title, justify="right")
    pairs = list(dict.fromkeys((entry.first, entry.second) for entry in setting.comparisons))
    for first, second in pairs:
        table.add_column(f"{second} minus {first}", justify="right")
        table.add_column("p", justify="right", no_wrap=True, min_width=6)
    for group, title in TITLES.items():
        measures = [measure for measure in setting.measures if measure.group == group and _of_summary(measure)]
        rows = [row for measure in measures if (row := _row(results, setting, measure, pairs)) is not None]
        if rows:
            table.add_section()
            table.add_row(f"[bold]{title}")
        for row in rows:
            table.add_row(*row)
    return table


def _of_summary(measure: Measure) -> bool:
    """Return whether the table has it: all but the evaluation of the last generator."""
    return not measure.key.startswith("last/")


def _row(
    results: StudyResults, setting: SettingResults, measure: Measure, pairs: list[tuple[str, str]]
) -> list[str] | None:
    summaries = {side.variant: side for side in setting.summaries if side.measure == measure.key}
    if not summaries:
        return None
    compared = {(entry.first, entry.second): entry for entry in setting.comparisons if entry.measure == measure.key}
    unit = f", {measure.unit}" if measure.unit and not measure.title.startswith(measure.unit) else ""
    title = measure.title.replace(", best generator", BEST)
    cells = [_mean(measure, summaries.get(variant.title)) for variant in results.variants]
    for pair in pairs:
        cells += [_difference(compared.get(pair)), _chance(compared.get(pair))]
    return [f"{title}{unit}", *cells]


def _mean(measure: Measure, summary: Summary | None) -> str:
    if summary is None:
        return "-"
    if measure.share:
        return f"{round(summary.mean.value * summary.num)} of {summary.num}"
    return _with_half_width(summary.mean)


def _difference(comparison: PairedComparison | None) -> str:
    if comparison is None or comparison.difference is None:
        return ""
    return _with_half_width(comparison.difference)


def _with_half_width(interval: Interval) -> str:
    if interval.high is None:
        return number(interval.value)
    return f"{number(interval.value)} ± {interval.high - interval.value:.2g}"


def _chance(comparison: PairedComparison | None) -> str:
    """Return the corrected p value of a headline measure; that of any other in brackets."""
    if comparison is None:
        return ""
    if comparison.p_holm is not None:
        return f"{comparison.p_holm:.2g}"
    p = comparison.p_t if comparison.p_mcnemar is None else comparison.p_mcnemar
    return "" if p is None else escape(f"[{p:.2g}]")


def _sentences(setting: SettingResults) -> Iterator[str]:
    for entry in setting.conclusions:
        yield f"{TITLES[entry.group]}: {' '.join(entry.sentences)}"
    yield from setting.notes
    for run in setting.runs:
        if run.state != "unfinished" and run.reason:
            yield f"{run.cell}: {run.state}: {run.reason}"
    unfinished = sum(run.state == "unfinished" for run in setting.runs)
    if unfinished:
        yield f"{unfinished} of {len(setting.runs)} runs have not ended."
