"""Measure the time that tracking takes during training, and that of an evaluation.

    python benchmarks/evaluation_cost.py --gtsrb path/to/gtsrb [--length "2 min"]

Trains the default preset on GTSRB at 32 pixels in an empty cache, then evaluates 10,000 images against 10,000 real
ones by all metrics, twice: as it comes, and with the real images' features in the cache. Writes
benchmarks/results/DATE-evaluation-cost.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import gansmith
from record import find_commit

HERE = Path(__file__).parent
NUM = 10_000


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gtsrb", type=Path, required=True, help="a copy of GTSRB")
    parser.add_argument("--length", default="2 min", help="of the training")
    options = parser.parse_args()
    date = datetime.date.today().isoformat()
    about = {"date": date, "commit": find_commit(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANSMITH_CACHE"] = str(Path(folder, "cache"))
        results = measured(options.gtsrb, options.length, Path(folder, "run"))
    path = HERE / "results" / f"{date}-evaluation-cost.json"
    path.write_text(json.dumps({**about, "length": options.length, **results}, indent=2) + "\n")
    print(path.read_text())


def measured(root: Path, length: str, path: Path) -> dict[str, Any]:
    """Seconds of everything, and the figures that came out."""
    whole, run = timed(gansmith.train, "gtsrb", root=root, size=32, length=length, run=path, seed=0)
    state = json.loads((run.folder.latest_checkpoint() / "state.json").read_text())
    first, _ = timed(run.evaluate, num=NUM)
    again, measurement = timed(run.evaluate, num=NUM)
    return {
        "preset": run.config.preset,
        "seed": 0,
        "training_seconds": round(state["seconds"], 1),
        "before_and_after_training_seconds": round(whole - state["seconds"], 1),
        "tracked": state["num_tracked"],
        "tracking_seconds": round(state["tracking_seconds"], 2),
        "tracking_share": round(state["tracking_seconds"] / state["seconds"], 4),
        "evaluation_seconds": round(first, 1),
        "evaluation_seconds_with_cache": round(again, 1),
        "figures": {name: round(estimate.value, 4) for name, estimate in measurement.values.items()},
        "failures": dict(measurement.failures),
    }


def timed(call: Any, *arguments: Any, **options: Any) -> tuple[float, Any]:
    """The seconds that a call takes, and what it gives."""
    started = time.perf_counter()
    made = call(*arguments, **options)
    return time.perf_counter() - started, made


if __name__ == "__main__":
    main()
