"""Measure the time to compare a store with its digests on opening, and the share of it in a training step.

    python benchmarks/integrity.py

Writes benchmarks/results/DATE-integrity.json.
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
from typing import Any

import numpy as np

from gansmith.data import integrity
from gansmith.data.batches import Batches
from gansmith.data.integrity import check_files
from gansmith.data.npz import Npz
from gansmith.data.store import Store, prepare
from gansmith.plain_json import unseal

HERE = Path(__file__).parent
SHAPES = {"MNIST": (60_000, 28, 28, 1), "CIFAR-10": (50_000, 32, 32, 3), "64 pixels": (40_000, 64, 64, 3)}
BATCH_SIZE = 64
REPEATS = 5
GATHERS = 300


def main() -> None:
    """Measure and write the results."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, cwd=HERE, check=True).stdout.strip()
    date = datetime.date.today().isoformat()
    results = [measured(name, shape) for name, shape in SHAPES.items()]
    path = HERE / "results" / f"{date}-integrity.json"
    about = {"date": date, "commit": commit, "cores": os.cpu_count()}
    path.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")
    print(path.read_text())


def measured(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the median seconds to check and open a store of noise, and the milliseconds to gather a batch of it."""
    with tempfile.TemporaryDirectory() as folder:
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        np.savez(Path(folder) / "noise.npz", images=images, labels=np.arange(len(images)) % 10)
        store = prepare(Npz(path=Path(folder) / "noise.npz"), cache=Path(folder))
        files = unseal((store.path / "store.json").read_text("utf-8"))["files"]
        check = median(lambda: check_files(store.path, files))
        time.sleep(integrity.SETTLED_SECONDS)
        Store.open(store.path)
        opening = median(lambda: Store.open(store.path))
        batches = Batches(store=store, batch_size=BATCH_SIZE)
        gather = median(lambda: [batches.batch(i * BATCH_SIZE) for i in range(GATHERS)]) / GATHERS
    return {
        "store": name,
        "megabytes": round(images.nbytes / 1e6),
        "check_seconds": round(check, 4),
        "open_again_seconds": round(opening, 4),
        "batch_size": BATCH_SIZE,
        "gather_milliseconds": round(gather * 1000, 3),
    }


def median(call: Any) -> float:
    """Return the median seconds of a call."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
