"""Comparisons of two sets of images that need no manifold: a nearest-neighbour test, and distances within classes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.diversity import contribute_distances
from gansmith.metrics.features import Features
from gansmith.metrics.intervals import bootstrap, normal, wilson
from gansmith.metrics.manifold import find_nearest
from gansmith.metrics.metric import Estimate

__all__ = ["compare_within_classes", "tell_apart"]

REPLICATES = 200
LEAST_OF_A_CLASS = 5  # images on each side


def tell_apart(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"]) -> Estimate:
    """Return the accuracy of telling real from generated images by the nearest other image of both sets.

    The leave-one-out accuracy of a nearest-neighbour classifier (Lopez-Paz and Oquab 2017; Xu et al. 2018): 0.5 if both
    sets have one distribution, 1 if they lie apart, below 0.5 if each image has a twin in the other set. The larger set
    is cut to the size of the other. The interval treats images as independent.

    Args:
        real: features of real images, at least 2.
        fake: features of generated ones.

    Raises:
        MetricError: there are fewer than 2 images of a kind.
    """
    num = min(len(real), len(fake))
    if num < 2:
        raise MetricError(f"{num} images are too few for a nearest-neighbour test; expected at least 2 of each kind")
    both = torch.cat([real[:num], fake[:num]])
    _, numbers = find_nearest(both, both, 1, among_themselves=True)
    own = torch.arange(2 * num) < num
    return wilson(int((own[numbers[:, 0]] == own).sum()), 2 * num)


def compare_within_classes(real: Features, fake: Features, seed: int = 0) -> tuple[Estimate, dict[int, float]]:
    """Return the mean distance between two images of one class, generated to real: 1 is as diverse as the data.

    Args:
        real: with labels.
        fake: with the labels that the images were made for.
        seed: of the bootstrap over images.

    Returns:
        The mean of the classes' ratios, and the ratio of each class that has five images or more on both sides.

    Raises:
        MetricError: labels are missing, or no class has enough images.
    """
    if real.labels is None or fake.labels is None:
        raise MetricError("distances within classes need labels on both sides")
    parts = [_class_parts(real, fake, number) for number in np.unique(real.labels).tolist()]
    known = {number: part for number, part in parts if part is not None}
    if not known:
        raise MetricError(f"no class has {LEAST_OF_A_CLASS} real and {LEAST_OF_A_CLASS} generated images")
    sizes = [len(side) for part in known.values() for side in part]

    def mean_ratio(*drawn: NDArray[np.int64]) -> float:
        sides = zip(drawn[::2], drawn[1::2], known.values(), strict=True)
        return float(np.mean([(b @ fakes / b.sum()) / (a @ reals / a.sum()) for a, b, (reals, fakes) in sides]))

    ratios = {number: float(fakes.mean() / reals.mean()) for number, (reals, fakes) in known.items()}
    error = bootstrap(mean_ratio, sizes, seed=seed, replicates=REPLICATES)
    interval = f"bootstrap of {REPLICATES}"
    return normal(float(np.mean(list(ratios.values()))), float(error), interval, within=(0, np.inf)), ratios


def _class_parts(
    real: Features, fake: Features, number: int
) -> tuple[int, tuple[NDArray[np.float64], NDArray[np.float64]] | None]:
    """Return contributions of the images of a class to its mean distances; None if there are too few, or all equal."""
    sides = []
    for features in (real, fake):
        rows = np.flatnonzero(np.asarray(features.labels) == number)
        if len(rows) < LEAST_OF_A_CLASS:
            return number, None
        sides.append(contribute_distances(features.values[torch.from_numpy(rows)]).numpy())
    return number, (sides[0], sides[1]) if sides[0].mean() > 0 else None
