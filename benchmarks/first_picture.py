"""Measure the seconds from the start of a command to the first pictures of a trained generator.

    python benchmarks/first_picture.py [--entry zoo:signs-32] [--label stop] [--rounds 7]

Each round starts `gansmith sample ENTRY --label LABEL` in a new process, and beside it one that only imports torch. One
round that does not count reads the files first. Writes DATE-first-picture.json and .md to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import write_results

__all__ = ["main", "table", "time_commands"]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entry", default="zoo:signs-32")
    parser.add_argument("--label", default="stop")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    sample = f"gansmith sample {options.entry} --label {options.label}"
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        sample: [sys.executable, "-m", *sample.split()],
    }
    rows = time_commands(commands, options.rounds)
    write_results("first-picture", "Seconds to the first picture", rows, table, {"rounds": options.rounds})


def time_commands(commands: dict[str, list[str]], rounds: int) -> list[dict[str, Any]]:
    """Return the seconds of commands that take turns, each in an empty folder; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):
            for name, words in commands.items():
                began = time.perf_counter()
                subprocess.run(words, cwd=Path(folder), check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - began)
    return [
        {"command": name, "median": statistics.median(times[1:]), "most": max(times[1:])}
        for name, times in seconds.items()
    ]


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: a line for each command."""
    lines = ["| command | median, s | longest, s |", "|---|---|---|"]
    lines += [f"| `{each['command']}` | {each['median']:.1f} | {each['most']:.1f} |" for each in results]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
