"""Measure the time to build a store and to gather a batch.

    python benchmarks/data.py --gtsrb path/to/gtsrb

Writes benchmarks/results/DATE-data.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from gansmith.data.batches import Batches
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.store import Preparation, prepare

HERE = Path(__file__).parent
SETTINGS = ((32, 64), (64, 128))  # pixels, batch size
GATHERS = 300


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gtsrb", type=Path, required=True, help="a copy of GTSRB")
    root = parser.parse_args().gtsrb
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()
    date = datetime.date.today().isoformat()
    results = [measured(root, size, batch_size) for size, batch_size in SETTINGS]
    path = HERE / "results" / f"{date}-data.json"
    about = {"date": date, "commit": commit, "cores": os.cpu_count()}
    path.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")
    print(path.read_text())


def measured(root: Path, size: int, batch_size: int) -> dict[str, float]:
    """Return the seconds to build GTSRB's store, and the milliseconds to gather a batch of it."""
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        store = prepare(Gtsrb(root=root), Preparation(size=(size, size)), cache=Path(cache))
        build = time.perf_counter() - started
        batches = Batches(store=store, batch_size=batch_size)
        started = time.perf_counter()
        for i in range(GATHERS):
            batches.batch(i * batch_size)
        gather = (time.perf_counter() - started) / GATHERS
    return {
        "pixels": size,
        "images": len(store),
        "build_seconds": round(build, 2),
        "batch_size": batch_size,
        "gather_milliseconds": round(gather * 1000, 3),
    }


if __name__ == "__main__":
    main()
