"""Compare the algorithms of a convolution and of its two gradients: what ``gansmith.models.algorithms`` chooses among.

    python benchmarks/convolutions.py [--rounds 15] [--threads 2]

Each pass of each layer is computed by each algorithm in turn, in the precision that training uses on this machine: the
convolution, the gradient of its input (also the forward pass of a transposed convolution), and the gradient of its
weight. Medians over the rounds, beside what a training would choose by its own short measurement. Writes
benchmarks/results/DATE-convolutions-PROCESSOR.json and .md.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flops import convolution_flops
from gansmith.devices import choose_compute, describe_environment, keep_freed_memory
from gansmith.models import algorithms
from gansmith.models.algorithms import AlgorithmTable
from gansmith.models.geometry import Geometry
from record import find_commit

__all__ = ["LAYERS", "main", "measured", "table"]

HERE = Path(__file__).parent
# Images, channels of the larger and of the smaller map, pixels of the larger, kernel, stride, padding.
LAYERS = {
    "dcgan-64, 64 px": (128, 3, 64, 64, 4, 2, 1),
    "dcgan-64, 32 px": (128, 64, 128, 32, 4, 2, 1),
    "dcgan-64, 16 px": (128, 128, 256, 16, 4, 2, 1),
    "dcgan-64, 8 px": (128, 256, 512, 8, 4, 2, 1),
    "dcgan-mnist, 14 px": (256, 64, 128, 14, 5, 2, 2),
    "dcgan-mnist, 7 px, stride 1": (256, 128, 256, 7, 5, 1, 2),
    "auto, width 16, 32 px": (32, 3, 16, 32, 4, 2, 1),
    "auto, 16 px": (32, 48, 96, 16, 4, 2, 1),
    "auto, 8 px": (32, 96, 192, 8, 4, 2, 1),
    "3x3, 16 px": (64, 128, 128, 16, 3, 1, 1),
    "3x3, 8 px": (64, 256, 256, 8, 3, 1, 1),
    "3x3, 4 px": (64, 512, 512, 4, 3, 1, 1),
    "1x1, 8 px": (64, 256, 512, 8, 1, 1, 0),
    "1x1, 4 px": (64, 512, 1024, 4, 1, 1, 0),
}
Work = Callable[[], object]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    results = [{"layer": name, **measured(*layer, rounds=options.rounds)} for name, layer in LAYERS.items()]
    environment = describe_environment(choose_compute("cpu", "auto"))
    about = {name: environment[name] for name in ("processor", "cores", "threads", "torch")}
    about = {"date": datetime.date.today().isoformat(), "commit": find_commit(), **about, "rounds": options.rounds}
    name = re.sub(r"\W+", "-", about["processor"].lower()).strip("-")
    path = HERE / "results" / f"{about['date']}-convolutions-{name}.json"
    path.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    head = f"Convolutions, {', '.join(f'{key} {value}' for key, value in about.items())}."
    path.with_suffix(".md").write_text(f"{head}\n\n{table(results)}\n")
    print(path.with_suffix(".md").read_text())


def measured(
    images: int, larger: int, smaller: int, pixels: int, kernel: int, stride: int, padding: int, *, rounds: int
) -> dict[str, Any]:
    """Return the milliseconds of each pass by each algorithm, and which one a training chooses."""
    geometry = Geometry(stride, padding, groups=1)
    size = geometry.size((pixels, pixels), (kernel, kernel))
    x, weight, gradient = maps(images, larger, pixels), maps(smaller, larger, kernel), maps(images, smaller, size[0])
    operations: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
        "forward": (algorithms.compute_convolution, algorithms.CONVOLUTIONS, (x, weight, None)),
        "input-gradient": (
            algorithms.compute_input_gradient,
            algorithms.INPUT_GRADIENTS,
            (gradient, weight, (pixels, pixels)),
        ),
        "weight-gradient": (
            algorithms.compute_weight_gradient,
            algorithms.WEIGHT_GRADIENTS,
            (gradient, x, tuple(weight.shape)),
        ),
    }
    table = AlgorithmTable()
    with table.used():
        for compute, _, arguments in operations.values():
            compute(*arguments, geometry)
    passes: dict[str, Any] = {}
    for problem, taken in table.chosen.items():
        _, ways, arguments = operations[problem.operation]
        work = {name: functools.partial(ways[name], *arguments, geometry) for name in problem.algorithms}
        passes[problem.operation] = {**in_turn(work, rounds), "taken": taken}
    gflop = convolution_flops(x.shape, weight.shape, gradient.shape) / 1e9
    return {"shape": f"{larger} to {smaller}, {pixels} to {size[0]} px", "gflop": round(gflop, 3), "passes": passes}


def maps(*shape: int) -> Tensor:
    """Return noise in training's precision, [n c h w] or a square weight, channels last."""
    bfloat16 = choose_compute("cpu", "auto").precision == "bfloat16"
    drawn = torch.randn(*shape, shape[-1], dtype=torch.bfloat16 if bfloat16 else torch.float32)
    return drawn.to(memory_format=torch.channels_last)


def in_turn(ways: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of each function; the first call does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - began))
    return {name: round(statistics.median(each[1:]), 3) for name, each in times.items()}


def table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table: milliseconds by each algorithm, what is chosen in bold, and what the choice gains."""
    passes = list(results[0]["passes"])
    columns = ["layer", "channels and pixels", "GFLOP", *(f"{name} [ms]" for name in passes)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for each in results:
        cells = [each["layer"], each["shape"], f"{each['gflop']:.3g}"]
        for found in each["passes"].values():
            taken, times = found["taken"], {name: time for name, time in found.items() if name != "taken"}
            shown = [
                f"**{name} {time:.3g}**" if name == taken else f"{name} {time:.3g}" for name, time in times.items()
            ]
            cells.append(f"{', '.join(shown)}: {times['direct'] / times[taken]:.2f} times")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
