"""The formats of an export in one table: size, speed, and difference from PyTorch."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gansmith.deploy.onnx import OnnxModel, compare_outputs, trace
from gansmith.deploy.storage import Precision, shrink_weights
from gansmith.deploy.web import write_page
from gansmith.sampling.generator import TrainedGenerator

__all__ = ["FormatResult", "measure_formats"]

LARGE_BATCH = 32
LEAST_CALLS = 3


@dataclass(frozen=True, kw_only=True)
class FormatResult:
    """One row of the table.

    Args:
        name: the format.
        size_bytes: of its files; for PyTorch, of the parameters.
        single: images a second one at a time; None if a browser would have to measure it.
        batched: images a second in batches of 32.
        largest: largest difference from PyTorch in steps of 1/255.
    """

    name: str
    size_bytes: int
    single: float | None = None
    batched: float | None = None
    largest: float | None = None


def measure_formats(generator: TrainedGenerator, *, num: int = 200, seconds: float = 1.0) -> Iterator[FormatResult]:
    """Yield a row for PyTorch, each precision of an ONNX file, and the page.

    Args:
        generator: the generator.
        num: images that are compared with PyTorch's.
        seconds: duration of each measurement of speed.
    """

    def speeds(call: Callable[[int], object]) -> dict[str, float]:
        return {"single": _speed(call, 1, seconds), "batched": _speed(call, LARGE_BATCH, seconds)}

    size = sum(each.numel() * each.element_size() for each in generator.network.parameters())
    drawn = {count: generator.draw(range(count)) for count in (1, LARGE_BATCH)}
    yield FormatResult(name="PyTorch", size_bytes=size, **speeds(lambda count: generator.images(*drawn[count])))
    traced = trace(generator)
    for precision in get_args(Precision):
        content = shrink_weights(copy.deepcopy(traced), precision).SerializeToString()
        opened = OnnxModel(content)
        largest = compare_outputs(opened, generator, range(num)).largest
        found = speeds(lambda count, opened=opened: opened(*drawn[count]))  # type: ignore[misc]
        yield FormatResult(name=f"ONNX {precision}", size_bytes=len(content), largest=largest, **found)
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(generator, Path(folder) / "page", title="page")
        yield FormatResult(name=f"page, {page.precision}", size_bytes=page.size_bytes)


def _speed(call: Callable[[int], object], count: int, seconds: float) -> float:
    call(count)
    began, calls = time.perf_counter(), 0
    while calls < LEAST_CALLS or time.perf_counter() - began < seconds:
        call(count)
        calls += 1
    return calls * count / (time.perf_counter() - began)
