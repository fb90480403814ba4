"""python examples/evaluate.py

The figures of both generators that train.py has trained, side by side: the best one that each training kept, against
the signs that it was trained on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro
from rich.console import Console

import gansmith
from gansmith.evaluation import all_metrics
from gansmith.evaluation.table import show_measurements


def main(runs: Path = Path("runs"), num: int = 10_000) -> None:
    """Measure both and show them.

    Args:
        runs: the folder in which each model has its own.
        num: generated images, and real ones at most.
    """
    measurements = [gansmith.evaluate(runs / name, num=num) for name in ("dcgan", "sndcgan")]
    show_measurements(measurements, all_metrics(), Console())


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
