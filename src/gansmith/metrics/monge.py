"""MIND: the mean Wasserstein distance of real and generated features along random directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["MIND", "monge_distance"]

SEED = 0  # of the directions, which are the same for all images
SCALE = 3  # of the published definition, times the number of features
BLOCK = 64  # directions at a time


@dataclass(frozen=True, kw_only=True)
class MIND(Metric):
    """Monge inception distance between real and generated features (Berthet et al. 2026, arXiv 2605.06797).

    It is 3 d times the squared Wasserstein distance of the features' projections on a line, averaged over random
    directions, where d is the number of features. It needs neither Gaussian features nor more images than features.
    Like FID, it is too high if there are few images, so compare it only at equal numbers of images. The interval
    covers other draws of as many images, to first order; it does not cover that bias.

    Args:
        directions: number of random directions; they are the same in each measurement.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {"mind": Quantity(title="MIND", better="lower", published=True)}

    directions: Annotated[int, Between(1, 100_000)] = 1000

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = inputs.real.values, inputs.fake.values
        for whose, values in (("real", real), ("generated", fake)):
            if len(values) < 2:
                raise MetricError(f"{len(values)} {whose} image has no spread; expected at least 2: take more images")
        value, error = monge_distance(real, fake, self.directions)
        return {"mind": normal(value, error, "asymptotic variance", within=(0, math.inf))}


def monge_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], directions: int) -> tuple[float, float]:
    """Return 3 d times the mean squared Wasserstein distance along random directions, and its standard error.

    On a line, the optimal map moves each quantile of one set to the same quantile of the other. To first order, an
    image changes the distance by its potential: the integral of 2 (x - T(x)), where T is the optimal map (del Barrio
    and Loubes 2019, theorem 4.1). The variance of the potentials, averaged over directions, gives the error.

    Args:
        real: at least 2 rows.
        fake: at least 2 rows; the numbers may differ.
        directions: number of directions.
    """
    dims = real.shape[1]
    draw = torch.Generator().manual_seed(SEED)
    axes = F.normalize(torch.randn(directions, dims, generator=draw, dtype=torch.float64), dim=1)
    total, of_real, of_fake = 0.0, torch.zeros(len(real)).double(), torch.zeros(len(fake)).double()
    for start in range(0, directions, BLOCK):
        block = axes[start : start + BLOCK]
        ours, theirs = ((block @ rows.double().T).sort(dim=1) for rows in (real, fake))
        total += float(_transport_cost(ours.values, theirs.values).sum())
        of_real += _unsort(_potentials(ours.values, theirs.values), ours.indices).sum(0)
        of_fake += _unsort(_potentials(theirs.values, ours.values), theirs.indices).sum(0)
    factor = SCALE * dims / directions
    error = math.sqrt(float(of_real.var() / len(real) + of_fake.var() / len(fake)))
    return factor * total, factor * error


def _transport_cost(one: Float64[Tensor, "k n"], other: Float64[Tensor, "k m"]) -> Float64[Tensor, "k"]:
    """Return the squared Wasserstein-2 distance of each pair of sorted rows."""
    levels: Tensor = torch.unique(torch.cat([_levels(one.shape[1]), _levels(other.shape[1])]))
    shares = levels.diff(prepend=torch.zeros(1, dtype=torch.float64))
    middles = levels - shares / 2
    gaps = _at(one, middles) - _at(other, middles)
    costs: Tensor = (gaps.square() * shares).sum(1)
    return costs


def _potentials(rows: Float64[Tensor, "k n"], other: Float64[Tensor, "k m"]) -> Float64[Tensor, "k n"]:
    """Return the potential of each value of sorted rows, by the trapezoidal rule."""
    slopes = 2 * (rows - _at(other, _levels(rows.shape[1]) - 0.5 / rows.shape[1]))
    steps = (slopes[:, 1:] + slopes[:, :-1]) / 2 * rows.diff(dim=1)
    return F.pad(steps.cumsum(1), (1, 0))


def _unsort(values: Float64[Tensor, "k n"], order: Int64[Tensor, "k n"]) -> Float64[Tensor, "k n"]:
    return torch.zeros_like(values).scatter_(1, order, values)


def _levels(num: int) -> Float64[Tensor, "num"]:
    return torch.arange(1, num + 1, dtype=torch.float64) / num


def _at(rows: Float64[Tensor, "k n"], levels: Float64[Tensor, "l"]) -> Float64[Tensor, "k l"]:
    """Return the quantiles of sorted rows."""
    num = rows.shape[1]
    return rows[:, (levels * num).long().clamp(max=num - 1)]
