"""Diversity of generated images relative to real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.intervals import bootstrap, normal
from gansmith.metrics.manifold import find_nearest, squared_distances
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["Diversity", "contribute_distances"]

LEAST_IMAGES = 20
REPLICATES = 200


@dataclass(frozen=True, kw_only=True)
class Diversity(Metric):
    """Diversity of the generated images as ratios to the real ones: 1 is as diverse as the data.

    ``diversity`` is the mean distance between two images. It detects images that contract towards each other, but
    hardly any missing modes. ``vendi`` is the Vendi score (Friedman and Dieng 2023), the effective number of
    directions in which images differ: exp(-sum of p log p) over the eigenvalues p of the images' second moment, where
    each image is the unit vector from the mean of the real images. It detects missing modes and mode collapse.
    ``uniqueness`` is the mean distance of an image to the nearest other image. It detects duplicates and near
    duplicates: it falls by the share of images that have one.

    Both sets are reduced at random to the size of the smaller one, because the last two values depend on it. The
    intervals are a bootstrap over images, where each image has its first-order contribution to the value (for the
    Vendi score -x·log(M)x, with the second moment M).
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "diversity": Quantity(title="Mean distance, generated to real", better="nearer 1"),
        "vendi": Quantity(title="Vendi score, generated to real", better="nearer 1"),
        "uniqueness": Quantity(title="Distance to the nearest other, generated to real", better="nearer 1"),
    }

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = _equally_many(inputs)
        centre = real.mean(dim=0, dtype=torch.float64)
        ours, theirs = _contributions(fake, centre), _contributions(real, centre)
        if not (theirs[:, [0, 2]].mean(axis=0) > 0).all():
            raise MetricError("the features of the real images are all equal; choose another --extractor")

        def ratios(drawn_ours: NDArray[np.int64], drawn_theirs: NDArray[np.int64]) -> NDArray[np.float64]:
            return _ratios(drawn_ours @ ours / len(ours), drawn_theirs @ theirs / len(theirs))

        values = _ratios(ours.mean(axis=0), theirs.mean(axis=0))
        errors = bootstrap(ratios, [len(ours), len(theirs)], seed=inputs.seed, replicates=REPLICATES)
        interval = f"bootstrap of {REPLICATES}"
        return {
            name: normal(float(value), float(error), interval, within=(0, np.inf))
            for name, value, error in zip(self.quantities, values, errors, strict=True)
        }


def _equally_many(inputs: MetricInputs) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    found = []
    num = min(len(inputs.real), len(inputs.fake))
    if num < LEAST_IMAGES:
        raise MetricError(f"{num} images are too few to measure their diversity; expected at least {LEAST_IMAGES}")
    for features in (inputs.real, inputs.fake):
        chosen = np.random.default_rng(inputs.seed).choice(len(features), num, replace=False, shuffle=False)
        found.append(features.values if len(features) == num else features.values[torch.from_numpy(chosen)])
    return found[0], found[1]


def _ratios(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the three ratios; ``ours`` and ``theirs`` hold the Vendi scores as logarithms."""
    return np.stack([ours[0] / theirs[0], np.exp(ours[1] - theirs[1]), ours[2] / theirs[2]])


def _contributions(values: Float[Tensor, "n d"], centre: Float64[Tensor, "d"]) -> NDArray[np.float64]:
    """Return contributions, float64 [n 3]; their means are the mean distance, the logarithm of the Vendi score, and
    the mean distance to the nearest other image."""
    to_nearest, _ = find_nearest(values, values, 1, among_themselves=True)
    columns = [contribute_distances(values), _of_entropy(values.double() - centre), to_nearest[:, 0]]
    return torch.stack(columns, dim=1).numpy()


def contribute_distances(values: Float[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """Return twice each image's mean distance to the others minus the mean of all (Hoeffding's projection)."""
    sums = []
    for start, block in squared_distances(values, values):
        block.diagonal(start).zero_()
        sums.append(block.sqrt_().sum(dim=1))
    means = torch.cat(sums) / (len(values) - 1)
    return 2 * means - means.mean()


def _of_entropy(directions: Float64[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """Return -x·log(M)x of each direction x, which is normalised first; M is the mean of x xᵀ over all."""
    x = torch.nn.functional.normalize(directions, dim=1)
    eigenvalues, axes = torch.linalg.eigh(x.T @ x / len(x))
    used = eigenvalues > torch.finfo(torch.float64).eps * eigenvalues[-1]  # the images do not vary along the others
    along = (x @ axes[:, used]).square()
    entropy: Tensor = along @ -eigenvalues[used].log()
    return entropy
