"""The algorithms of a convolution and of its two gradients, and the choice among them by measurement.

Which algorithm is fastest depends on the processor, the shapes, the precision and the threads. While a table is in
use, each new problem is computed some times with every algorithm that applies, and the fastest is kept, as in cuDNN's
benchmark mode. Without a table, a fixed rule decides: results outside training do not depend on measurements.
"""

from __future__ import annotations

import functools
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith import dist
from gansmith.models import direct, matmul, winograd
from gansmith.models.geometry import Geometry

__all__ = [
    "CONVOLUTIONS",
    "INPUT_GRADIENTS",
    "WEIGHT_GRADIENTS",
    "AlgorithmTable",
    "Problem",
    "compute_convolution",
    "compute_input_gradient",
    "compute_weight_gradient",
]

Operation: TypeAlias = Literal["forward", "input-gradient", "weight-gradient"]
Algorithm: TypeAlias = Literal["direct", "contiguous", "matmul", "winograd"]
Attempt: TypeAlias = Callable[[Algorithm, int], object]  # computes the first images of a batch by an algorithm

LEAST_FLOPS = 1e8  # of a problem that is measured: the choice saves little of a smaller one, whose times are noisy
MEASURED_FLOPS = 2e9  # of one measurement, at most: of a large batch, only as many images
ROUNDS, HOPELESS, GAIN = 3, 1.5, 1.03  # measurements; times the best that end an algorithm's chance; to leave "direct"
_FORM = "OPERATION (\\w+) NxNxNxN to N kernel NxN stride N padding (\\d{1,8}) groups N"
_OPERATIONS = "(forward|input-gradient|weight-gradient)"
_TEXT = re.compile(_FORM.replace("OPERATION", _OPERATIONS).replace("N", r"([1-9]\d{0,8})"))


class Problem(NamedTuple):
    """What decides how fast an algorithm is.

    Args:
        operation: the convolution, or the gradient of its input or weight.
        dtype: such as "float32".
        images: images of the batch.
        inputs: channels of the larger map.
        height: of the larger map.
        width: of the larger map.
        outputs: channels of the smaller map.
        kernel: height and width of the kernel.
        geometry: stride, padding and groups.
    """

    operation: Operation
    dtype: str
    images: int
    inputs: int
    height: int
    width: int
    outputs: int
    kernel: tuple[int, int]
    geometry: Geometry

    @property
    def flops_per_image(self) -> float:
        """Floating-point operations of the direct sum for one image."""
        places = math.prod(self.geometry.size((self.height, self.width), self.kernel))
        return 2.0 * places * self.outputs * self.inputs // self.geometry.groups * math.prod(self.kernel)

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """What can compute it."""
        size = self.geometry.size((self.height, self.width), self.kernel)
        minimal = self.dtype in ("float32", "float64") and winograd.applies(self.kernel, size, self.geometry)
        products: tuple[Algorithm, ...] = ("matmul",) if self.geometry.groups == 1 else ()
        return "direct", "contiguous", *products, *(("winograd",) if minimal else ())

    def __str__(self) -> str:
        """Return a line of text that ``parse`` reads."""
        maps = f"{self.images}x{self.inputs}x{self.height}x{self.width} to {self.outputs}"
        stride, padding, groups = self.geometry
        how = f"stride {stride} padding {padding} groups {groups}"
        return f"{self.operation} {self.dtype} {maps} kernel {self.kernel[0]}x{self.kernel[1]} {how}"

    @classmethod
    def parse(cls, text: str) -> Problem:
        """Return the problem of a line of text.

        Raises:
            ValueError: the line is not of this form.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} does not name a convolution")
        operation, dtype, *numbers = found.groups()
        images, inputs, height, width, outputs, rows, columns, *geometry = map(int, numbers)
        kernel = rows, columns
        return cls(
            cast(Operation, operation), dtype, images, inputs, height, width, outputs, kernel, Geometry(*geometry)
        )


class AlgorithmTable:
    """The algorithm of each problem that a training has met on a CPU.

    Args:
        chosen: what is known, by the text of the problem, as ``to_plain`` returns it; what cannot be used is left out.
    """

    def __init__(self, chosen: Mapping[str, object] | None = None) -> None:
        self.chosen: dict[Problem, Algorithm] = {}
        self._known: dict[tuple[object, ...], Algorithm] = {}  # by the arguments of ``find``, for speed
        for text, algorithm in (chosen or {}).items():
            try:
                problem = Problem.parse(text)
            except ValueError:
                continue
            if algorithm in problem.algorithms:
                self.chosen[problem] = algorithm

    def to_plain(self) -> dict[str, str]:
        """Return the choices for a JSON file."""
        return {str(problem): algorithm for problem, algorithm in sorted(self.chosen.items())}

    @contextmanager
    def used(self) -> Iterator[None]:
        """Compute the convolutions of this thread by this table until the block ends, and measure what is missing."""
        before, _here.table = _here.table, self
        try:
            yield
        finally:
            _here.table = before

    def find(
        self,
        operation: Operation,
        larger: tuple[int, ...],
        weight: tuple[int, ...],
        geometry: Geometry,
        dtype: torch.dtype,
        attempt: Attempt,
    ) -> Algorithm:
        """Return the algorithm for a larger map and a weight of these shapes, measured now if they are new.

        The main process measures for all ranks, which meet the same problems in the same order.

        Args:
            operation: the convolution or one of its gradients.
            larger: shape of the larger map, [n c h w].
            weight: shape of the weight, [d e k l].
            geometry: stride, padding and groups.
            dtype: precision.
            attempt: computes the problem for the first images of the batch, by an algorithm.
        """
        key = operation, larger, weight, geometry, dtype
        if key not in self._known:
            (num, inputs, height, width), (outputs, _, *kernel) = larger, weight
            name = str(dtype).removeprefix("torch.")
            problem = Problem(operation, name, num, inputs, height, width, outputs, (kernel[0], kernel[1]), geometry)
            if problem not in self.chosen:
                self.chosen[problem] = dist.from_main(lambda: _measure(problem, attempt))
            self._known[key] = self.chosen[problem]
        return self._known[key]


class _Here(threading.local):
    table: AlgorithmTable | None = None


_here = _Here()


def _measure(problem: Problem, attempt: Attempt) -> Algorithm:
    """Return the fastest algorithm; "direct" unless another is clearly faster."""
    if problem.images * problem.flops_per_image < LEAST_FLOPS:
        return "direct"
    num = max(1, min(problem.images, int(MEASURED_FLOPS / problem.flops_per_image)))
    seconds: dict[Algorithm, float] = {name: _seconds(attempt, name, num) for name in problem.algorithms}
    for _ in range(ROUNDS):
        best = min(seconds.values())
        seconds = {name: known for name, known in seconds.items() if known < HOPELESS * best or name == "direct"}
        seconds = {name: min(known, _seconds(attempt, name, num)) for name, known in seconds.items()}
    fastest = min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[fastest] * GAIN < seconds["direct"] else "direct"


def _seconds(attempt: Attempt, algorithm: Algorithm, num: int) -> float:
    began = time.perf_counter()
    attempt(algorithm, num)
    return time.perf_counter() - began


# --- the three operations ----------------------------------------------------------------------------------

CONVOLUTIONS: Mapping[Algorithm, Callable[..., Tensor]] = {
    "direct": direct.convolve_direct,
    "contiguous": direct.convolve_contiguous,
    "matmul": matmul.convolve_patches,
    "winograd": winograd.convolve_tiles,
}
INPUT_GRADIENTS: Mapping[Algorithm, Callable[..., Tensor]] = {
    "direct": direct.direct_input_gradient,
    "contiguous": direct.contiguous_input_gradient,
    "matmul": matmul.patch_input_gradient,
    "winograd": winograd.tile_input_gradient,
}
WEIGHT_GRADIENTS: Mapping[Algorithm, Callable[..., Tensor]] = {
    "direct": direct.direct_weight_gradient,
    "contiguous": direct.contiguous_weight_gradient,
    "matmul": matmul.patch_weight_gradient,
    "winograd": winograd.tile_weight_gradient,
}


def compute_convolution(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d e k l"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """Compute ``torch.nn.functional.conv2d``, without derivatives."""

    def attempt(algorithm: Algorithm, num: int) -> Tensor:
        return CONVOLUTIONS[algorithm](x[:num], weight, bias, geometry)

    algorithm = _choose("forward", x.shape, weight.shape, geometry, x, attempt)
    return CONVOLUTIONS[algorithm](x, weight, bias, geometry)


def compute_input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d e k l"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """Return the gradient of x, whose ``size`` is [h w], from that of y: a transposed convolution."""
    shape = (len(gradient), weight.shape[1] * geometry.groups, *size)

    def attempt(algorithm: Algorithm, num: int) -> Tensor:
        return INPUT_GRADIENTS[algorithm](gradient[:num], weight, size, geometry)

    algorithm = _choose("input-gradient", shape, weight.shape, geometry, gradient, attempt)
    return INPUT_GRADIENTS[algorithm](gradient, weight, size, geometry)


def compute_weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], shape: tuple[int, ...], geometry: Geometry
) -> Float[Tensor, "d e k l"]:
    """Return the gradient of a weight of this shape from that of y."""

    def attempt(algorithm: Algorithm, num: int) -> Tensor:
        return WEIGHT_GRADIENTS[algorithm](gradient[:num], x[:num], shape, geometry)

    algorithm = _choose("weight-gradient", x.shape, shape, geometry, gradient, attempt)
    return WEIGHT_GRADIENTS[algorithm](gradient, x, shape, geometry)


def _choose(
    operation: Operation,
    larger: tuple[int, ...],
    weight: tuple[int, ...],
    geometry: Geometry,
    like: Tensor,
    attempt: Attempt,
) -> Algorithm:
    """Return the algorithm for a larger map and a weight of these shapes."""
    if like.device.type != "cpu":
        return "direct"
    if _here.table is None:
        return _follow_rule(operation, larger[2:], weight, geometry, like.dtype)
    return _here.table.find(operation, larger, weight, geometry, like.dtype, attempt)


@functools.lru_cache(maxsize=1024)  # its arithmetic takes a third of a small convolution
def _follow_rule(
    operation: Operation, larger: tuple[int, ...], weight: tuple[int, ...], geometry: Geometry, dtype: torch.dtype
) -> Algorithm:
    size = geometry.size(larger, weight[2:])
    pays = matmul.pays(weight, size, geometry.groups, dtype, for_weight=operation == "weight-gradient")
    return "matmul" if pays else "direct"
