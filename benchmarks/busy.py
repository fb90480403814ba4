"""Measure a training step beside other programs that use the processor, with and without shared cores.

    python benchmarks/busy.py [--busy 0 1 2] [--rounds 5] [--seconds 4]

The network is the DCGAN with R1 and R2 at 32 pixels, with width and batch of `auto`'s short trainings. "Shared" trains
under ``share_cores``, "spinning" without it. Both take turns in one process, the order alternates, and each measures
for --seconds after a second that does not count. Writes DATE-busy.json and .md to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from contenders import CIFAR10, Training, prepared
from gansmith.devices import choose_compute
from gansmith.threads import share_cores
from record import write_results

__all__ = ["keep_busy", "main", "table", "time_steps"]

TRAININGS = {
    "width 16, batch 32": Training("dcgan-r1", CIFAR10, {"model.width": 16, "batch_size": 32}),
    "width 32, batch 64": Training("dcgan-r1", CIFAR10, {"model.width": 32, "batch_size": 64}),
}
WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {"spinning": nullcontext, "shared": share_cores}
WARM_UP = 1.0  # seconds


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of other busy processes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    compute = choose_compute("cpu", "auto")
    rows = []
    for name, training in TRAININGS.items():
        cycle, images, _ = prepared(training.config, training.spec, compute)
        steps = images // training.config.batch_size
        for num in options.busy:
            with keep_busy(num):
                found = time_steps(lambda: cycle(), steps, options.rounds, options.seconds)  # noqa: B023
            rows.append({"training": name, "busy": num, **found})
    facts = {"threads": torch.get_num_threads(), "rounds": options.rounds}
    write_results("busy", "Steps beside busy processes", rows, table, facts)


@contextmanager
def keep_busy(num: int) -> Iterator[None]:
    """Run so many processes that compute without end in this block."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def time_steps(cycle: Callable[[], None], steps: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return the milliseconds of a step, in each round, for each way to wait.

    Args:
        cycle: makes some steps.
        steps: how many.
        rounds: each measures every way once.
        seconds: of each measurement.
    """
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
            with WAYS[way]():
                _time(cycle, WARM_UP)
                found[way].append(round(1000 * _time(cycle, seconds) / steps, 1))
    return found


def _time(cycle: Callable[[], None], seconds: float) -> float:
    """Return the mean seconds of a cycle."""
    num, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        cycle()
        num += 1
    return (time.perf_counter() - began) / num


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: milliseconds of a step, and how many times as long as alone it takes."""
    lines = ["| training | busy processes | spinning, ms | shared, ms | spinning / alone | shared / alone |"]
    lines.append("|---|---|---|---|---|---|")
    alone = {row["training"]: statistics.median(row["spinning"]) for row in rows if row["busy"] == 0}
    for row in rows:
        cells = [row["training"], str(row["busy"])]
        cells += [f"{statistics.median(row[way]):.0f} ({min(row[way]):.0f} to {max(row[way]):.0f})" for way in WAYS]
        if row["training"] in alone:
            cells += [f"{statistics.median(row[way]) / alone[row['training']]:.2f}" for way in WAYS]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
