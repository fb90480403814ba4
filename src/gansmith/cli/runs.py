"""gansmith runs [FOLDER]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gansmith.cli.options import Flag, parse, print_json
from gansmith.errors import RunError
from gansmith.run_list import RunSummary, find_runs, summarize_run

__all__ = ["main"]


@dataclass(frozen=True)
class RunsOptions:
    """List the runs below a folder with their state, length and best metric value."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER]")] = "runs"
    """the folder to search, subfolders included"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """List runs."""
    options = parse(RunsOptions, "runs", arguments)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; name the one that holds your runs: gansmith runs FOLDER")
    summaries = [summarize_run(run) for run in find_runs(folder)]
    if options.json:
        print_json([asdict(summary) for summary in summaries])
    else:
        _show(summaries, folder)


def _show(summaries: Sequence[RunSummary], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not summaries:
        print(f"no runs below {folder}; gansmith train makes one")
        return
    table = Table(box=None, pad_edge=False)
    headings = ["run", "state", "data", "preset", "length", "kimg", "best"]
    started = any(each.init for each in summaries)
    for heading in [*headings, "from"] if started else headings:
        table.add_column(heading, justify="right" if heading in ("kimg", "best") else "left", overflow="fold")
    for each in summaries:
        best = "" if each.value is None else f"{each.metric} {each.value:.4g}"
        cells = [each.run, each.state, Path(each.data).name, each.preset, each.length, f"{each.kimg:,.0f}", best]
        cells += [each.init or ""] if started else []
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
