"""gansmith runs [FOLDER]"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gansmith.cli.options import OnlyJson, parse, print_json
from gansmith.errors import RunError
from gansmith.plain_json import read_json
from gansmith.runs import RunFolder

__all__ = ["main"]


@dataclass(frozen=True)
class RunsOptions:
    """List the runs below a folder: how far each has come, and how good its best generator is."""

    folder: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = "runs"
    """where to look, at any depth"""
    json: OnlyJson = False
    """print JSON, for another program to read"""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in one row.

    Args:
        run: its folder.
        state: running, finished, stopped, failed, or interrupted (killed: no process trains it); "unreadable" where its
            files say nothing.
        data: the name of the data set, or its path.
        preset: what it started from.
        length: of the whole training, as it was asked for.
        kimg: thousands of real images seen.
        metric: by which the best generator was kept, and its value; None where none was.
        value: see metric.
    """

    run: str
    state: str = "unreadable"
    data: str = ""
    preset: str = ""
    length: str = ""
    kimg: float = 0.0
    metric: str | None = None
    value: float | None = None


def main(arguments: Sequence[str]) -> None:
    """List runs."""
    options = parse(RunsOptions, "runs", arguments)
    folder = Path(options.folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; name the one that holds your runs: gansmith runs FOLDER")
    summaries = [_summarize(run) for run in _find_runs(folder)]
    if options.json:
        print_json([asdict(summary) for summary in summaries])
    else:
        _show(summaries, folder)


def _find_runs(folder: Path) -> Iterator[Path]:
    """Folders with a config.json, in order of their names; links are not followed, nor runs looked into."""
    for home, subfolders, files in os.walk(folder):
        subfolders.sort()
        if "config.json" in files:
            subfolders.clear()
            yield Path(home)


def _summarize(run: Path) -> RunSummary:
    config, status, best = (_read_object(run / name) for name in ("config.json", "status.json", "best/state.json"))
    if not config:
        return RunSummary(run=str(run))
    data = config.get("data")
    data = data if isinstance(data, dict) else {}
    metric, value = best.get("metric", best.get("figure")), best.get("value")  # the first versions wrote "figure"
    nimg = status.get("nimg")
    return RunSummary(
        run=str(run),
        state=_state(run, status),
        data=str(data.get("path") or data.get("name", "")),
        preset=str(config.get("preset", "")),
        length=str(config.get("length", "")),
        kimg=nimg / 1000 if isinstance(nimg, (int, float)) else 0.0,
        metric=str(metric) if metric is not None else None,
        value=float(value) if isinstance(value, (int, float)) else None,
    )


def _state(run: Path, status: dict[str, Any]) -> str:
    state = str(status.get("state", "never begun"))
    return "interrupted" if state == "running" and RunFolder(run).is_claimed() is False else state


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
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
    for heading in ("run", "state", "data", "preset", "length", "kimg", "best"):
        table.add_column(heading, justify="right" if heading in ("kimg", "best") else "left", overflow="fold")
    for each in summaries:
        best = "" if each.value is None else f"{each.metric} {each.value:.4g}"
        cells = (each.run, each.state, Path(each.data).name, each.preset, each.length, f"{each.kimg:,.0f}", best)
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)
