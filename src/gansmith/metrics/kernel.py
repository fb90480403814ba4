"""KID: the squared maximum mean discrepancy between real and generated features under a cubic kernel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["KID", "kernel_distance"]

BLOCK = 512  # rows and columns of the kernel matrix computed at a time, which fit into the processor's cache


@dataclass(frozen=True, kw_only=True)
class KID(Metric):
    """Kernel distance between real and generated features (Bińkowski et al. 2018).

    It is unbiased for any number of images from 2 up, so values of unequal numbers are comparable. For images of one
    distribution it scatters around 0. All pairs of images are used instead of the usual random subsets, so nothing is
    random. The interval is asymptotic; see ``kernel_distance``.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {"kid": Quantity(title="KID", better="lower", published=True)}

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = inputs.real.values, inputs.fake.values
        for whose, values in (("real", real), ("generated", fake)):
            if len(values) < 2:
                raise MetricError(f"{len(values)} {whose} image has no pair; expected at least 2: take more images")
        value, error = kernel_distance(real, fake)
        return {"kid": normal(value, error, "asymptotic variance")}


def kernel_distance(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> tuple[float, float]:
    """Return the unbiased estimate of the squared MMD under k(x, y) = (x·y / d + 1)³, and its standard error.

    The estimate is the mean of k over pairs of different real images, plus that of generated ones, minus twice the
    mean over mixed pairs (Gretton et al. 2012, eq. 3). To first order it is a sum of independent terms, one per image:
    the mean kernel with its own set minus that with the other set. Their variance gives the error (ibid., section 6),
    which is slightly too large if both sets have one distribution.

    Args:
        real: at least 2 rows; products are computed in their dtype, everything else in float64.
        fake: at least 2 rows.
    """
    mixed_real, mixed_fake = _means_with_others(real, fake)
    apart_real = _means_among_themselves(real) - mixed_real
    apart_fake = _means_among_themselves(fake) - mixed_fake
    value = apart_real.mean() + apart_fake.mean()
    error = math.sqrt(4 * apart_real.var() / len(real) + 4 * apart_fake.var() / len(fake))
    return float(value), error


def _means_among_themselves(rows: Float[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """Return each row's mean kernel with all other rows; each pair is computed once."""
    blocks = torch.split(rows, BLOCK)
    sums = [torch.zeros(len(block), dtype=torch.float64) for block in blocks]
    for i, block in enumerate(blocks):
        own = _kernel(block, block)
        sums[i] += own.sum(1) - own.diagonal()
        for j, other in enumerate(blocks[:i]):
            kernel = _kernel(block, other)
            sums[i] += kernel.sum(1)
            sums[j] += kernel.sum(0)
    return torch.cat(sums) / (len(rows) - 1)


def _means_with_others(
    rows: Float[Tensor, "n d"], columns: Float[Tensor, "m d"]
) -> tuple[Float64[Tensor, "n"], Float64[Tensor, "m"]]:
    """Return each row's mean kernel with all columns, and each column's with all rows."""
    of_rows = torch.zeros(len(rows), dtype=torch.float64)
    of_columns = torch.zeros(len(columns), dtype=torch.float64)
    for block, row_sums in zip(torch.split(rows, BLOCK), torch.split(of_rows, BLOCK), strict=True):
        for other, column_sums in zip(torch.split(columns, BLOCK), torch.split(of_columns, BLOCK), strict=True):
            kernel = _kernel(block, other)
            row_sums += kernel.sum(1)
            column_sums += kernel.sum(0)
    return of_rows / len(columns), of_columns / len(rows)


def _kernel(rows: Float[Tensor, "n d"], columns: Float[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
    """Return the kernel of all pairs; products are in the features' dtype, float32 keeps seven digits of each."""
    products = (rows @ columns.T).to(torch.float64).div_(rows.shape[1]).add_(1)
    return products.square().mul_(products)
