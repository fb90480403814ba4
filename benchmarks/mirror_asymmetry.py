"""Which data sets can be told from their mirror images, as training looks before it mirrors anything.

    python benchmarks/mirror_asymmetry.py --data-root path/to/data [--images 300 1000]

Of each set all images, and so many drawn with each of three seeds. Writes a JSON file and a Markdown table to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from gansmith.data import resolve
from gansmith.data.store import Preparation, Store, prepare
from gansmith.metrics.mirror_asymmetry import measure_mirror_asymmetry
from record import write_results

__all__ = ["DATA", "SEEDS", "main", "measured", "table"]

HERE = Path(__file__).parent
# The path below the root and the size; digits are embedded.
DATA = {
    "mnist": ("mnist", 28),
    "digits": ("digits", None),
    "gtsrb": ("gtsrb", 32),
    "cifar10": ("cifar10", 32),
    "flowers": ("folder/flowers_128.zip", 64),
    "flowers, 128 px": ("folder/flowers_128.zip", 128),
}
SEEDS = 3


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="a folder with the data sets")
    parser.add_argument("--images", type=int, nargs="*", default=[300, 1000], help="drawn from each set")
    options = parser.parse_args()
    results = []
    for name in DATA:
        store = opened(name, options.data_root)
        for num in (len(store), *options.images):
            for seed in range(1 if num == len(store) else SEEDS):
                results.append({"data": name, **measured(store, num, seed)})
                print(results[-1], flush=True)
    write_results("mirror-asymmetry", "Told from their mirror images", results, table)


def opened(name: str, root: Path) -> Store:
    """A data set in its size."""
    path, size = DATA[name]
    source = resolve(str(root / path)) if "/" in path else resolve(path, None if path == "digits" else root / path)
    return prepare(source, Preparation(size=size and (size, size)))


def measured(store: Store, num: int, seed: int) -> dict[str, Any]:
    """So many images of a set, drawn with a seed: the share that is told, its interval, and how long it took."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(store))[:num])
    began = time.perf_counter()
    told = measure_mirror_asymmetry(store, chosen)
    share = None if told is None else [round(each, 3) for each in (told.value, told.low, told.high)]
    return {"images": num, "seed": seed, "told": share, "seconds": round(time.perf_counter() - began, 1)}


def table(results: list[dict[str, Any]]) -> str:
    """A line each."""
    lines = ["| data | images | seed | told | 95 % interval | seconds |", "|---|---|---|---|---|---|"]
    for each in results:
        value, low, high = each["told"] or (None,) * 3
        told = "too few to judge | " if value is None else f"{value:.0%} | {low:.0%} to {high:.0%}"
        lines.append(f"| {each['data']} | {each['images']:,} | {each['seed']} | {told} | {each['seconds']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
