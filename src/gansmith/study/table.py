"""Print a study's results, and write them for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gansmith.files import replace_file
from gansmith.study.conclusions import TITLES
from gansmith.study.results import SettingResults, StudyResults
from gansmith.study.tables import list_measure_rows

__all__ = ["show_results", "write_csv"]


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
    variants = [variant.title for variant in results.variants]
    title = f"{setting.title}: {setting.length}, {len(results.seeds)} seeds"
    caption = "mean over seeds (95 % interval); * headline measures; tests and effects: results.json, gansmith report"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("measure", min_width=20)
    for variant in variants:
        table.add_column(variant, justify="right")
    for group, heading in TITLES.items():
        table.add_section()
        table.add_row(f"[bold]{heading}")
        for row in list_measure_rows(setting, variants, (group,)):
            cells = [f"{cell.value} ({cell.interval})" if cell.interval else cell.value for cell in row.cells]
            table.add_row(f"{row.title}{' *' if row.headline else ''}", *map(escape, cells))
    return table


def _sentences(setting: SettingResults) -> Iterator[str]:
    pairs = {(entry.first, entry.second) for entry in setting.conclusions}
    for entry in setting.conclusions:
        pair = f", {entry.first} and {entry.second}" if len(pairs) > 1 else ""
        yield "\n  ".join([f"{TITLES[entry.group]}{pair}:", *entry.sentences])
    yield from setting.notes
    for run in setting.runs:
        if run.state != "unfinished" and run.reason:
            yield f"{run.cell}: {run.state}: {run.reason}"
    unfinished = sum(run.state == "unfinished" for run in setting.runs)
    if unfinished:
        yield f"{unfinished} of {len(setting.runs)} runs have not ended."
