"""How varied generated images are, next to real ones."""

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

__all__ = ["Diversity"]

LEAST_IMAGES = 20
REPLICATES = 200


@dataclass(frozen=True, kw_only=True)
class Diversity(Metric):
    """How varied the generated images are, as ratios to the real ones: 1 is as varied as the data.

    ``diversity`` is the mean distance of two images. It sees images that have shrunk towards each other, but hardly
    whether kinds of images are missing. ``vendi`` is the Vendi score (Friedman and Dieng 2023), the effective number
    of directions in which images differ: exp(-sum of p log p) over the eigenvalues p of the images' second moment,
    each image being the unit vector from the centre of the real images. It sees missing kinds, and collapse.
    ``uniqueness`` is the mean distance of an image to the nearest other one. It sees duplicates, exact or nearly so:
    it falls by the share of images that have a twin.

    The ratios are taken from equal numbers of images, of the larger set as many as the smaller has, chosen at random,
    since the last two depend on the number. The intervals draw the images anew; each image has what it contributes to
    the first order of a change (for the Vendi score -x·log(M)x, M being the second moment).
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "diversity": Quantity(title="Mean distance, generated to real", better="nearer 1"),
        "vendi": Quantity(title="Vendi score, generated to real", better="nearer 1"),
        "uniqueness": Quantity(title="Distance to the nearest other, generated to real", better="nearer 1"),
    }

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        real, fake = _equally_many(comparison)
        centre = real.mean(dim=0, dtype=torch.float64)
        ours, theirs = _contributions(fake, centre), _contributions(real, centre)
        if not (theirs[:, [0, 2]].mean(axis=0) > 0).all():
            raise MetricError("the real images repeat each other in these features; choose another --extractor")

        def ratios(drawn_ours: NDArray[np.int64], drawn_theirs: NDArray[np.int64]) -> NDArray[np.float64]:
            return _ratios(drawn_ours @ ours / len(ours), drawn_theirs @ theirs / len(theirs))

        values = _ratios(ours.mean(axis=0), theirs.mean(axis=0))
        errors = bootstrap(ratios, [len(ours), len(theirs)], seed=comparison.seed, replicates=REPLICATES)
        interval = f"bootstrap of {REPLICATES}"
        return {
            name: normal(float(value), float(error), interval, within=(0, np.inf))
            for name, value, error in zip(self.quantities, values, errors, strict=True)
        }


def _equally_many(comparison: MetricInputs) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    found = []
    num = min(len(comparison.real), len(comparison.fake))
    if num < LEAST_IMAGES:
        raise MetricError(f"{num} images are too few to see how varied they are; expected at least {LEAST_IMAGES}")
    for features in (comparison.real, comparison.fake):
        chosen = np.random.default_rng(comparison.seed).choice(len(features), num, replace=False, shuffle=False)
        found.append(features.values if len(features) == num else features.values[torch.from_numpy(chosen)])
    return found[0], found[1]


def _ratios(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of mean distances, Vendi scores and mean distances to the nearest; the scores come as their logarithms."""
    return np.stack([ours[0] / theirs[0], np.exp(ours[1] - theirs[1]), ours[2] / theirs[2]])


def _contributions(values: Float[Tensor, "n d"], centre: Float64[Tensor, "d"]) -> NDArray[np.float64]:
    """Float64 [n 3], whose means are the images' mean distance, their Vendi score's logarithm, and their mean
    distance to the nearest."""
    to_nearest, _ = find_nearest(values, values, 1, among_themselves=True)
    columns = [_of_mean_distance(values), _of_entropy(values.double() - centre), to_nearest[:, 0]]
    return torch.stack(columns, dim=1).numpy()


def _of_mean_distance(values: Float[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """Twice each image's mean distance to the others less the mean of all (Hoeffding's projection)."""
    sums = []
    for start, block in squared_distances(values, values):
        block.diagonal(start).zero_()
        sums.append(block.sqrt_().sum(dim=1))
    means = torch.cat(sums) / (len(values) - 1)
    return 2 * means - means.mean()


def _of_entropy(directions: Float64[Tensor, "n d"]) -> Float64[Tensor, "n"]:
    """-x·log(M)x of each direction x, of whatever length; M is the mean of x xᵀ over all."""
    x = torch.nn.functional.normalize(directions, dim=1)
    eigenvalues, axes = torch.linalg.eigh(x.T @ x / len(x))
    seen = eigenvalues > torch.finfo(torch.float64).eps * eigenvalues[-1]  # no image lies along the others
    along = (x @ axes[:, seen]).square()
    entropy: Tensor = along @ -eigenvalues[seen].log()
    return entropy
