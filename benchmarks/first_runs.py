"""Measure how long a first run takes in all, with everything that is not training.

    python benchmarks/first_runs.py --data-root path/to/data [--only demo,mnist,gtsrb,flowers] [--length "2 min"]

"demo" is `make demo` in a fresh clone of this repository: it makes the environment, trains, evaluates and writes the
report. The others are `gansmith train DATA --length ...`. Each starts with an empty cache, so it reads the images and
trains the feature extractor too. Writes DATE-first-runs.json and .md to benchmarks/results/; results of the same day
for other runs stay.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import merge_result, write_results

__all__ = ["main", "run", "table"]

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("demo", "mnist", "gtsrb", "flowers")
FLOWERS = "folder/flowers_128.zip"


def main() -> None:
    """Run them one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with mnist/, gtsrb/ and folder/")
    parser.add_argument("--only", default=",".join(RUNS), help="runs, separated by commas")
    parser.add_argument("--length", default="2 min", help="of the trainings but the demo's")
    options = parser.parse_args()
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            result = run(name, options.data_root.resolve(), options.length, Path(folder))
        write_results(
            "first-runs",
            "First runs, with an empty cache",
            merge_result("first-runs", result, lambda each: RUNS.index(each["run"])),
            table,
        )


def run(name: str, data_root: Path, length: str, folder: Path) -> dict[str, Any]:
    """Make one run in an empty folder, and return its seconds."""
    path, where = folder / "run", folder
    if name == "demo":
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")], check=True)
        path, where = folder / "clone" / "demo", folder / "clone"
        command = ["make", "demo"]
    else:
        data = (str(data_root / FLOWERS),) if name == "flowers" else (name, "--root", str(data_root / name))
        command = [sys.executable, "-m", "gansmith", "train", *data, "--length", length, "--run", str(path)]
    environment = {**os.environ, "GANSMITH_CACHE": str(folder / "cache")}
    if name == "demo":
        environment.pop("PYTHONPATH", None)
    began = time.perf_counter()
    subprocess.run(command, cwd=where, env=environment, check=True)
    whole = time.perf_counter() - began
    state = json.loads((max((path / "training_checkpoints").glob("*[0-9]")) / "state.json").read_text("utf-8"))
    return {
        "run": name,
        "seconds": round(whole, 1),
        "training_seconds": round(state["seconds"], 1),
        "kimg": round(state["nimg"] / 1000, 1),
        "extractor": _extractor_note(folder / "cache"),
    }


def _extractor_note(cache: Path) -> str:
    (about,) = cache.glob("extractors/*/about.json")
    return str(json.loads(about.read_text("utf-8"))["note"])


def table(results: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: a line for each run."""
    lines = ["| run | in all, s | of it training, s | thousand images | feature extractor |", "|---|---|---|---|---|"]
    for each in results:
        cells = (each["run"], each["seconds"], each["training_seconds"], each["kimg"], each["extractor"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
