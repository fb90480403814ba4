"""Measure how many images a second EfficientNet-Lite processes.

    python benchmarks/backbones.py [--sides 64 112 224] [--threads 1 2] [--seconds 1]

Measures the forward pass, as metrics need it, and the forward pass with the gradient of the images, as the generator of
a projected GAN needs it. Batches have about 2**17 pixels, which fit into the processor's cache. Each figure is the
median of three turns. Writes a JSON file and a Markdown table to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gansmith.devices import keep_freed_memory
from gansmith.models.pretrained import LITE, EfficientNetLite, load_efficientnet_lite
from record import write_results

__all__ = ["main", "measure", "table"]

PIXELS = 2**17
TURNS = 3


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 112, 224], help="of the images, in pixels")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    options = parser.parse_args()
    keep_freed_memory()
    results = list(measure(options.sides, options.threads, options.seconds))
    write_results("backbones", "Images a second through EfficientNet-Lite", results, table)


def measure(sides: list[int], threads: list[int], seconds: float) -> Iterator[dict[str, Any]]:
    """Images a second of each network, side and number of threads."""
    before = torch.get_num_threads()
    for name in LITE:
        network = load_efficientnet_lite(name)
        for side in sides:
            for num in threads:
                torch.set_num_threads(num)
                batch = max(1, PIXELS // side**2)
                images = torch.rand(batch, 3, side, side) * 2 - 1
                turns = {"forward": lambda: _forward(network, images), "gradient": lambda: _gradient(network, images)}  # noqa: B023
                rates = {kind: round(batch * _calls_a_second(call, seconds)) for kind, call in turns.items()}
                yield {"network": name, "side": side, "threads": num, "batch": batch, **rates}
    torch.set_num_threads(before)


def _forward(network: EfficientNetLite, images: torch.Tensor) -> None:
    with torch.no_grad():
        network.pool(images)


def _gradient(network: EfficientNetLite, images: torch.Tensor) -> None:
    torch.autograd.grad(network.pool(images.requires_grad_()).sum(), images)


def _calls_a_second(call: Callable[[], None], seconds: float) -> float:
    call()
    rates = []
    for _ in range(TURNS):
        began, calls = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            call()
            calls += 1
        rates.append(calls / (time.perf_counter() - began))
    return statistics.median(rates)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a line for each network, side and number of threads."""
    lines = ["| network | side | threads | batch | images/s | with the gradient of the images |", "|---" * 6 + "|"]
    keys = ("network", "side", "threads", "batch", "forward", "gradient")
    return "\n".join([*lines, *(f"| {' | '.join(str(each[key]) for key in keys)} |" for each in results)])


if __name__ == "__main__":
    main()
