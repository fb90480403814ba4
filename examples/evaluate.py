"""python examples/evaluate.py

Measure both generators of train.py side by side: the best generator of each training, against its training images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro
from rich.console import Console

import gansmith
from gansmith.evaluation.table import show_measurements
from gansmith.metrics import list_metrics


def main(runs: Path = Path("runs"), num: int = 10_000) -> None:
    """Measure both generators and print the values.

    Args:
        runs: folder that contains both run folders.
        num: number of generated images, and maximum number of real ones.
    """
    measurements = [gansmith.evaluate(runs / name, num=num) for name in ("dcgan", "sndcgan")]
    show_measurements(measurements, list_metrics(), Console())


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
