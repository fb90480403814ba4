"""The formats of an export in one table: size, speed, difference from PyTorch, and what smaller weights cost."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from gansmith.deploy.browser import visit_page
from gansmith.deploy.onnx import OnnxModel, compare_outputs, trace
from gansmith.deploy.publication import write_hub_folder
from gansmith.deploy.quality import QualityJudge, measure_losses
from gansmith.deploy.storage import Precision, shrink_weights
from gansmith.deploy.web import write_page
from gansmith.deploy.web_runtime import WebRuntime
from gansmith.runs import RunFolder
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
        single: images a second one at a time; None if there is no browser to measure it with, or nothing to measure.
        batched: images a second in batches of 32.
        largest: largest difference from PyTorch in steps of 1/255; of a page, in its self-test.
        fid: with the images of this format; None if it was not asked for.
        kid: likewise.
    """

    name: str
    size_bytes: int
    single: float | None = None
    batched: float | None = None
    largest: float | None = None
    fid: float | None = None
    kid: float | None = None


def measure_formats(
    generator: TrainedGenerator,
    folder: RunFolder,
    *,
    num: int = 200,
    seconds: float = 1.0,
    judge: QualityJudge | None = None,
    runtime: WebRuntime | None = None,
) -> Iterator[FormatResult]:
    """Yield a row for PyTorch, each precision of an ONNX file, the page with each engine, and the folder for the Hub.

    Args:
        generator: the generator.
        folder: its run.
        num: images that are compared with PyTorch's.
        seconds: duration of each measurement of speed.
        judge: measures FID and KID.
        runtime: of a page with onnxruntime-web; None leaves it out.
    """

    def speeds(call: Callable[[int], object]) -> dict[str, float]:
        return {"single": _speed(call, 1, seconds), "batched": _speed(call, LARGE_BATCH, seconds)}

    size = sum(each.numel() * each.element_size() for each in generator.network.parameters())
    drawn = {count: generator.draw(range(count)) for count in (1, LARGE_BATCH)}
    losses = {} if judge is None else dict(measure_losses(judge, generator, get_args(Precision)))
    exact = next(({"fid": each.exact_fid, "kid": each.exact_kid} for each in losses.values()), {})
    found = speeds(lambda count: generator.images(*drawn[count]))
    yield FormatResult(name="PyTorch", size_bytes=size, **found, **exact)
    traced = trace(generator)
    for precision in get_args(Precision):
        content = shrink_weights(copy.deepcopy(traced), precision).SerializeToString()
        opened = OnnxModel(content)
        largest = compare_outputs(opened, generator, range(num)).largest
        found = speeds(lambda count, opened=opened: opened(*drawn[count]))  # type: ignore[misc]
        row = FormatResult(name=f"ONNX {precision}", size_bytes=len(content), largest=largest, **found)
        loss = losses.get(precision)
        yield row if loss is None else replace(row, fid=loss.fid, kid=loss.kid)
    yield _measure_page(generator, "page", None)
    if runtime is not None:
        yield _measure_page(generator, "page, onnxruntime", runtime)
    with tempfile.TemporaryDirectory() as home:
        written = write_hub_folder(folder, Path(home) / "hub")
        yield FormatResult(name="hub", size_bytes=written.size_bytes)


def _measure_page(generator: TrainedGenerator, name: str, runtime: WebRuntime | None) -> FormatResult:
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(generator, Path(folder) / "page", title="page", runtime=runtime)
        visit = visit_page(page.path)
    row = FormatResult(name=f"{name}, {page.precision}", size_bytes=page.size_bytes)
    return row if visit is None else replace(row, single=visit.speed, largest=visit.largest)


def _speed(call: Callable[[int], object], count: int, seconds: float) -> float:
    call(count)
    began, calls = time.perf_counter(), 0
    while calls < LEAST_CALLS or time.perf_counter() - began < seconds:
        call(count)
        calls += 1
    return calls * count / (time.perf_counter() - began)
