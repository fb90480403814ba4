"""How generated and real images lie among each other: nearest neighbours, precision, recall, density, coverage."""

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

BLOCK = 2**22  # distances that are held at once: 32 MiB
ROUNDING = 1e-12  # of the largest squared norm: what float32 features know of a squared distance near 0, no better
REPLICATES = 200


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall(Metric):
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    The manifold of a set of images is made of one ball around each image, which reaches to its k-th nearest neighbour
    in the set. Precision is the share of generated images on the real images' manifold: are they like real ones?
    Recall is the share of real images on the generated images' manifold: is everything real within reach?
    A generator that makes few things well has a high precision and a low recall.

    Both depend on how many images there are, and on k: compare figures of equal numbers. The intervals hold for
    the manifold as it is; another draw of the images that span it is not among what they allow for.

    Args:
        neighbours: k.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "precision": Quantity(title="Precision", better="higher", published=True),
        "recall": Quantity(title="Recall", better="higher", published=True),
    }

    neighbours: Annotated[int, Between(1, 1000)] = 3

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        real, fake = _values(comparison, self.neighbours)
        realistic = _balls_around(fake, real, _radii(real, self.neighbours)) > 0
        within_reach = _balls_around(real, fake, _radii(fake, self.neighbours)) > 0
        return {
            "precision": _share(realistic, "given the manifold of the real images"),
            "recall": _share(within_reach, "given the manifold of the generated images"),
        }


@dataclass(frozen=True, kw_only=True)
class DensityCoverage(Metric):
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4), in which single outliers count for less.

    Density is in how many of the real images' balls (see ``PrecisionRecall``) a generated image lies on average,
    divided by k: about 1 for real images, more for images that crowd where real ones are dense. Coverage is the share
    of real images with a generated one in their ball.

    Both depend on how many images there are, and on k. The authors' programs leave the ball's surface out; here it
    belongs to the ball, as in their formula, so that images that are copies count however often they were copied.
    The intervals hold for the manifold as it is: another draw of all images moves coverage further than its says.

    Args:
        neighbours: k.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "density": Quantity(title="Density", better="higher", published=True),
        "coverage": Quantity(title="Coverage", better="higher", published=True),
    }

    neighbours: Annotated[int, Between(1, 1000)] = 5

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        real, fake = _values(comparison, self.neighbours)
        radii = _radii(real, self.neighbours)
        densities = (_balls_around(fake, real, radii).double() / self.neighbours).numpy()
        error = bootstrap(
            lambda counts: counts @ densities / len(densities),
            [len(densities)],
            seed=comparison.seed,
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
    """The nearest points of each query, found among all, nearest first.

    They are found by products in float64; the distances to those that are found are then taken anew from the
    differences, so that a copy is at distance 0.

    Args:
        queries: what looks for neighbours.
        points: what is found.
        num: how many neighbours, at most the number of points.
        among_themselves: queries and points are the same, and nothing is its own neighbour.

    Returns:
        Euclidean distances, and the points' numbers.
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
    """Squared Euclidean distances of each query to all points, some queries at a time.

    Yields:
        the number of the first of these queries, and their distances, which the next ones take the place of.
    """
    centre = points.mean(dim=0, dtype=torch.float64)
    centred = points.double() - centre
    right = torch.cat([centred, torch.ones_like(centred[:, :1]), _squared_norms(centred)], dim=1).T
    size = max(1, BLOCK // len(points))
    memory = centred.new_empty(size, len(points))  # once: blocks that come and go would leave holes between results
    for start in range(0, len(queries), size):
        rows = queries[start : start + size].double() - centre
        left = torch.cat([-2 * rows, _squared_norms(rows), torch.ones_like(rows[:, :1])], dim=1)
        block = torch.mm(left, right, out=memory[: len(rows)])  # -2 x·y + |x|² + |y|², in one product
        yield start, block.clamp_(min=0)


def _squared_norms(values: Float64[Tensor, "n d"]) -> Float64[Tensor, "n 1"]:
    return values.square().sum(dim=1, keepdim=True)


def _values(comparison: MetricInputs, neighbours: int) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    for kind, features in (("real", comparison.real), ("generated", comparison.fake)):
        _check_number(kind, features, neighbours + 1)
    return comparison.real.values, comparison.fake.values


def _check_number(kind: str, features: Features, needed: int) -> None:
    if len(features) < needed:
        raise MetricError(
            f"{len(features)} {kind} images are too few for {needed - 1} neighbours each; "
            f"expected at least {needed}: take more images, or fewer neighbours"
        )


def _radii(points: Float[Tensor, "n d"], neighbours: int) -> Float64[Tensor, "n"]:
    return find_nearest(points, points, neighbours, among_themselves=True)[0][:, -1]


def _balls_around(
    queries: Float[Tensor, "n d"], points: Float[Tensor, "m d"], radii: Float64[Tensor, "m"]
) -> Int64[Tensor, "n"]:
    """In how many of the balls around the points each query lies."""
    centre = points.mean(dim=0, dtype=torch.float64)
    largest = _squared_norms(points.double() - centre).max()
    reach = radii.square() + ROUNDING * largest
    return torch.cat([(block <= reach).count_nonzero(dim=1) for _, block in squared_distances(queries, points)])


def _share(is_so: Bool[Tensor, "n"], note: str) -> Estimate:
    return wilson(int(is_so.sum()), len(is_so), note=note)
