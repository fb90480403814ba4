"""Writes the results of a benchmark to benchmarks/results/, as JSON and as a Markdown page."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gansmith.devices import choose_compute, describe_environment

__all__ = ["Result", "find_commit", "merge_result", "write_results"]

Result: TypeAlias = dict[str, Any]

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def write_results(
    name: str, title: str, results: Sequence[Result], page: Callable[[list[Result]], str], facts: Mapping[str, Any] = {}
) -> None:
    """Write DATE-NAME.json and DATE-NAME.md with date, commit and machine, and print the page.

    Args:
        name: of the benchmark.
        title: the start of the page's first line.
        results: what was measured.
        page: makes Markdown of the results.
        facts: more to record beside date, commit and machine.
    """
    environment = describe_environment(choose_compute("auto", "auto"))
    about = {
        "date": datetime.date.today().isoformat(),
        "commit": find_commit(),
        "processor": environment.get("processor"),
        "cores": os.cpu_count(),
        **facts,
    }
    path, text = _path(name), page(list(results))
    path.write_text(json.dumps({**about, "results": results}, indent=1) + "\n", encoding="utf-8")
    head = f"{title}, {', '.join(f'{key} {value}' for key, value in about.items())}."
    path.with_suffix(".md").write_text(f"{head}\n\n{text}\n", encoding="utf-8")
    print(text, flush=True)


def merge_result(name: str, result: Result, place: Callable[[Result], Any]) -> list[Result]:
    """Return today's results of a benchmark with this one among them, in the order of their places.

    Args:
        name: of the benchmark.
        result: takes the place of an earlier one, if there is one in its place.
        place: the key by which results are identified and sorted.
    """
    path = _path(name)
    known: list[Result] = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    return sorted([*(each for each in known if place(each) != place(result)), result], key=place)


def find_commit() -> str:
    """Return the short hash of the commit that is checked out; "unknown" in a copy without its history."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _path(name: str) -> Path:
    return RESULTS / f"{datetime.date.today().isoformat()}-{name}.json"
