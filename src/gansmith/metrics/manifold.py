"""Nearest neighbours in features: precision, recall, density and coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.intervals import bootstrap, normal, wilson
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["DensityCoverage", "PrecisionRecall", "find_nearest", "squared_distances"]

BLOCK = 2**22  # distances in memory at a time: 32 MiB
ROUNDING = 1e-12  # of the largest squared norm: the error of a small squared distance between float32 features
REPLICATES = 200


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall(Metric):
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    The manifold of a set of images is a union of balls, one around each image, which reach to its k-th nearest
    neighbour in the set. Precision is the share of generated images on the real images' manifold. Recall is the share
    of real images on the generated images' manifold. A generator that generates few modes well has high precision and
    low recall.

    Both depend on the number of images and on k: compare values of equal numbers. The intervals are conditional on the
    manifold; they do not cover another draw of the images that define it.

    Args:
        neighbours: k.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "precision": Quantity(title="Precision", better="higher", published=True),
        "recall": Quantity(title="Recall", better="higher", published=True),
    }

    neighbours: Annotated[int, Between(1, 1000)] = 3

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = _values(inputs, self.neighbours)
        realistic = _count_balls(fake, real, _radii(real, self.neighbours)) > 0
        within_reach = _count_balls(real, fake, _radii(fake, self.neighbours)) > 0
        return {
            "precision": _share(realistic, "given the manifold of the real images"),
            "recall": _share(within_reach, "given the manifold of the generated images"),
        }


@dataclass(frozen=True, kw_only=True)
class DensityCoverage(Metric):
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4), which are less sensitive to single outliers.

    Density is the mean number of real images' balls (see ``PrecisionRecall``) that contain a generated image, divided
    by k: about 1 for real images, more for images concentrated where real ones are dense. Coverage is the share of
    real images with a generated image in their ball.

    Both depend on the number of images and on k. A ball includes its surface, as in the paper's formula, so that
    copies count however often an image was copied; the authors' code excludes it. The intervals are conditional on
    the manifold: another draw of all images changes coverage more than its interval says.

    Args:
        neighbours: k.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "density": Quantity(title="Density", better="higher", published=True),
        "coverage": Quantity(title="Coverage", better="higher", published=True),
    }

    neighbours: Annotated[int, Between(1, 1000)] = 5

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = _values(inputs, self.neighbours)
        radii = _radii(real, self.neighbours)
        densities = (_count_balls(fake, real, radii).double() / self.neighbours).numpy()
        error = bootstrap(
            lambda counts: counts @ densities / len(densities),
            [len(densities)],
            seed=inputs.seed,
            replicates=REPLICATES,
        )
        given = "given the manifold of the real images"
        return {
            "density": normal(
                float(densities.mean()), float(error), f"bootstrap of {REPLICATES}", within=(0, math.inf), note=given
            ),
            "coverage": _share(find_nearest(real, fake, 1)[0][:, 0] <= radii, given),
        }


def find_nearest(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"], num: int, *, among_themselves: bool = False
) -> tuple[Float64[Tensor, "n num"], Int64[Tensor, "n num"]]:
    """Find the nearest points of each query by exhaustive search, nearest first.

    They are found by products in float64. Their distances are then computed from the differences, so that a copy has
    distance 0.

    Args:
        queries: the points whose neighbours are wanted.
        points: the possible neighbours.
        num: number of neighbours, at most the number of points.
        among_themselves: queries and points are the same, and no point is its own neighbour.

    Returns:
        Euclidean distances, and indices of the points.
    """
    distances, numbers = [], []
    for start, block in squared_distances(queries, points):
        if among_themselves:
            block.diagonal(start).fill_(math.inf)
        found = block.topk(num, dim=1, largest=False).indices
        differences = points[found].double() - queries[start : start + len(block), None].double()
        exact, order = differences.square().sum(dim=2).sqrt().sort(dim=1)
        distances.append(exact)
        numbers.append(found.gather(1, order))
    return torch.cat(distances), torch.cat(numbers)


def squared_distances(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"]
) -> Iterator[tuple[int, Float64[Tensor, "some m"]]]:
    """Compute squared Euclidean distances of each query to all points, a block of queries at a time.

    Yields:
        The index of the first query of the block, and its distances; the next block overwrites them.
    """
    centre = points.mean(dim=0, dtype=torch.float64)
    centred = points.double() - centre
    right = torch.cat([centred, torch.ones_like(centred[:, :1]), _squared_norms(centred)], dim=1).T
    size = max(1, BLOCK // len(points))
    memory = centred.new_empty(size, len(points))  # allocated once: a new one for each block would fragment the memory
    for start in range(0, len(queries), size):
        rows = queries[start : start + size].double() - centre
        left = torch.cat([-2 * rows, _squared_norms(rows), torch.ones_like(rows[:, :1])], dim=1)
        block = torch.mm(left, right, out=memory[: len(rows)])  # -2 x·y + |x|² + |y|², in one product
        yield start, block.clamp_(min=0)


def _squared_norms(values: Float64[Tensor, "n d"]) -> Float64[Tensor, "n 1"]:
    return values.square().sum(dim=1, keepdim=True)


def _values(inputs: MetricInputs, neighbours: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    for kind, features in (("real", inputs.real), ("generated", inputs.fake)):
        _check_number(kind, features, neighbours + 1)
    return inputs.real.values, inputs.fake.values


def _check_number(kind: str, features: Features, needed: int) -> None:
    if len(features) < needed:
        raise MetricError(
            f"{len(features)} {kind} images are too few for {needed - 1} neighbours each; "
            f"expected at least {needed}: take more images, or fewer neighbours"
        )


def _radii(points: Float[Tensor, "n d"], neighbours: int) -> Float64[Tensor, "n"]:
    return find_nearest(points, points, neighbours, among_themselves=True)[0][:, -1]


def _count_balls(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"], radii: Float64[Tensor, "m"]
) -> Int64[Tensor, "n"]:
    """Count the balls around the points that contain each query."""
    centre = points.mean(dim=0, dtype=torch.float64)
    largest = _squared_norms(points.double() - centre).max()
    reach = radii.square() + ROUNDING * largest
    return torch.cat([(block <= reach).count_nonzero(dim=1) for _, block in squared_distances(queries, points)])


def _share(is_so: Bool[Tensor, "n"], note: str) -> Estimate:
    return wilson(int(is_so.sum()), len(is_so), note=note)
