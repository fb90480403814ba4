"""Runs in a row each: finds them below a folder, and reads their state without failing on damaged files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.plain_json import read_json
from gansmith.runs import RunFolder

__all__ = ["RunSummary", "find_runs", "summarize_run"]

QUIET_SECONDS = 120.0  # without a change of the run's files, its process is expected to live


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


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield folders with a config.json, sorted by name; links and folders inside runs are skipped."""
    for home, subfolders, files in os.walk(folder):
        subfolders.sort()
        if "config.json" in files:
            subfolders.clear()
            yield Path(home)


def summarize_run(run: Path, *, look_only: bool = False) -> RunSummary:
    """Read the state of a run from its folder; never fails on damaged files.

    Args:
        run: the folder.
        look_only: do not try the run's lock, which a training that begins at that moment would find taken. Whether a
            process trains is then concluded from its number and from when the files changed.
    """
    config, status, best = (_read_object(run / name) for name in ("config.json", "status.json", "best/state.json"))
    if not config:
        return RunSummary(run=str(run))
    data = config.get("data")
    data = data if isinstance(data, dict) else {}
    metric, value = best.get("metric", best.get("figure")), best.get("value")  # the first versions wrote "figure"
    nimg, init = status.get("nimg"), config.get("init")
    return RunSummary(
        run=str(run),
        state=_state(run, status, look_only=look_only),
        data=str(data.get("path") or data.get("name", "")),
        preset=str(config.get("preset", "")),
        length=str(config.get("length", "")),
        kimg=nimg / 1000 if isinstance(nimg, (int, float)) else 0.0,
        metric=str(metric) if metric is not None else None,
        value=float(value) if isinstance(value, (int, float)) else None,
        init=str(init) if init is not None else None,
    )


def _state(run: Path, status: dict[str, Any], *, look_only: bool) -> str:
    state = str(status.get("state", "never begun"))
    if state != "running":
        return state
    training = _seems_trained(run, status) if look_only else RunFolder(run).is_claimed()
    return "interrupted" if training is False else state


def _seems_trained(run: Path, status: dict[str, Any]) -> bool:
    """Whether the process of a run lives, or its files changed lately, as by a process of another machine."""
    folder = RunFolder(run)
    changed = [path.stat().st_mtime for path in (folder.status, folder.stats) if path.exists()]
    return _lives(status.get("pid")) or time.time() - max(changed, default=0.0) < QUIET_SECONDS


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or not 0 < pid < 2**31 or os.name != "posix":
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} if there is none."""
    try:
        plain = read_json(path)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}
