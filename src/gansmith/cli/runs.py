"""gansmith runs [FOLDER]"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gansmith.cli.options import Flag, parse, print_json
from gansmith.errors import RunError
from gansmith.plain_json import read_json
from gansmith.runs import RunFolder

__all__ = ["RunSummary", "main", "summarize_run"]


@dataclass(frozen=True)
class RunsOptions:
    """List the runs below a folder with their state, length and best metric value."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[FOLDER]")] = "runs"
    """the folder to search, subfolders included"""
    json: Flag = False
    """print JSON only"""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in one row.

    Args:
        run: its folder.
        state: running, finished, stopped, failed, or interrupted (killed: no process trains it); "unreadable" if its
            files cannot be read.
        data: the name of the data set, or its path.
        preset: the name of its preset.
        length: of the whole training, as configured.
        kimg: thousands of real images shown so far.
        metric: the name of the metric that chose the best generator; None if none was tracked.
        value: of that metric.
        init: the trained model that it started from; None if it started from noise.
    """

    run: str
    state: str = "unreadable"
    data: str = ""
    preset: str = ""
    length: str = ""
    kimg: float = 0.0
    metric: str | None = None
    value: float | None = None
    init: str | None = None


def main(arguments: Sequence[str]) -> None:
    """List runs."""
    options = parse(RunsOptions, "runs", arguments)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; name the one that holds your runs: gansmith runs FOLDER")
    summaries = [summarize_run(run) for run in _find_runs(folder)]
    if options.json:
        print_json([asdict(summary) for summary in summaries])
    else:
        _show(summaries, folder)


def _find_runs(folder: Path) -> Iterator[Path]:
    """Yield folders with a config.json, sorted by name; links and folders inside runs are skipped."""
    for home, subfolders, files in os.walk(folder):
        subfolders.sort()
        if "config.json" in files:
            subfolders.clear()
            yield Path(home)


def summarize_run(run: Path) -> RunSummary:
    """Read the state of a run from its folder; never fails on damaged files."""
    config, status, best = (_read_object(run / name) for name in ("config.json", "status.json", "best/state.json"))
    if not config:
        return RunSummary(run=str(run))
    data = config.get("data")
    data = data if isinstance(data, dict) else {}
    metric, value = best.get("metric", best.get("figure")), best.get("value")  # the first versions wrote "figure"
    nimg, init = status.get("nimg"), config.get("init")
    return RunSummary(
        run=str(run),
        state=_state(run, status),
        data=str(data.get("path") or data.get("name", "")),
        preset=str(config.get("preset", "")),
        length=str(config.get("length", "")),
        kimg=nimg / 1000 if isinstance(nimg, (int, float)) else 0.0,
        metric=str(metric) if metric is not None else None,
        value=float(value) if isinstance(value, (int, float)) else None,
        init=str(init) if init is not None else None,
    )


def _state(run: Path, status: dict[str, Any]) -> str:
    state = str(status.get("state", "never begun"))
    return "interrupted" if state == "running" and RunFolder(run).is_claimed() is False else state


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} if there is none."""
    try:
        plain = read_json(path)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


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
