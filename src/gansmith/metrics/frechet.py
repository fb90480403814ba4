"""Fréchet distances between Gaussians fitted to features: FID, its limit for infinitely many images, FID by class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.classes import name_classes, require_labels
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity

__all__ = ["FID", "FIDInfinity", "IntraClassFID", "Moments", "frechet_distance"]

BLOCK = 2048  # rows converted to float64 at a time, which fit into the processor's cache
INTERVAL = "delta method"
MOST_PARTS = 10
LEAST_RATIO = 2  # images per feature in the smallest part of the extrapolation


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Mean and covariance of rows that arrive in batches of any size; float64 throughout.

    Sums of squares are taken about the mean, not about 0 (Chan, Golub and LeVeque 1979). Features far from 0 therefore
    lose no digits, and the batches change only the last digit.

    Args:
        count: number of rows.
        mean: float64 [d]; zeros without rows.
        scatter: float64 [d d], the sum of (x - mean)(x - mean)'.
    """

    count: int
    mean: Float[Tensor, "d"]
    scatter: Float[Tensor, "d d"]

    @classmethod
    def of(cls, values: Float[Tensor, "n d"]) -> Moments:
        """Return the moments of these rows, of any floating dtype; there may be none."""
        features = values.shape[1]
        zeros = torch.zeros(features, features, dtype=torch.float64, device=values.device)
        return cls(count=0, mean=zeros.sum(0), scatter=zeros).add(values)

    def add(self, values: Float[Tensor, "n d"]) -> Moments:
        """Return the moments with more rows added."""
        moments = self
        for start in range(0, len(values), BLOCK):
            rows = values[start : start + BLOCK].to(torch.float64)
            mean = rows.mean(0)
            rows = rows - mean
            moments = moments.merge(Moments(count=len(rows), mean=mean, scatter=rows.T @ rows))
        return moments

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the rows of both."""
        count = self.count + other.count
        apart = other.mean - self.mean
        between = torch.outer(apart, apart) * (self.count * other.count / max(count, 1))
        mean = self.mean + apart * (other.count / max(count, 1))
        return Moments(count=count, mean=mean, scatter=self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """The unbiased covariance (over n - 1); at least 2 rows are needed."""
        return self.scatter / (self.count - 1)


def frechet_distance(
    mean1: Float[Tensor, "d"], cov1: Float[Tensor, "d d"], mean2: Float[Tensor, "d"], cov2: Float[Tensor, "d d"]
) -> float:
    """Return the squared Fréchet distance |m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½) of two Gaussians.

    From Dowson and Landau (1982). The last trace is the sum of the roots of the eigenvalues of S1^½ S2 S1^½. That
    matrix is symmetric, so no complex numbers occur and no covariance is inverted. Computed in float64.

    Args:
        mean1, mean2: of the Gaussians.
        cov1, cov2: symmetric and positive semi-definite, except for rounding.
    """
    mean1, cov1, mean2, cov2 = (moment.to(torch.float64) for moment in (mean1, cov1, mean2, cov2))
    eigenvalues, eigenvectors = torch.linalg.eigh(cov1)
    root = eigenvectors * eigenvalues.clamp(min=0).sqrt()  # S1 = root root', and root' S2 root has the same eigenvalues
    product = root.T @ cov2 @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    distance = (mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * shared
    return max(0.0, float(distance))  # rounding alone can take it below 0


@dataclass(frozen=True, kw_only=True)
class FID(Metric):
    """Fréchet distance between the real and the generated features (Heusel et al. 2017, eq. 6).

    It is biased upward, more so with fewer images: compare it only at equal numbers of images, or use
    ``FIDInfinity``. The interval covers other draws of as many images from the same two distributions, to first order
    (delta method); it does not cover the bias. It is too wide, more so with fewer images per feature: see
    docs/explain/precision.md.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {"fid": Quantity(title="FID", better="lower", published=True)}

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = inputs.real.values, inputs.fake.values
        _require(real, fake, real.shape[1] + 1)
        value, error = _distance(real, fake), _standard_error(real, fake)
        return {"fid": normal(value, error, INTERVAL, within=(0, math.inf))}


@dataclass(frozen=True, kw_only=True)
class FIDInfinity(Metric):
    """FID extrapolated to infinitely many images on both sides (after Chong and Forsyth 2020).

    FID's bias falls as 1/n. Both sides are split at random into 1, 2, ... 10 equal parts. The mean distance between
    parts is linear in the number of parts, and the line's value at 0 is the result. For images of one distribution it
    scatters around 0. (The paper draws subsets of the generated images only, which keeps the bias of the real ones;
    disjoint parts have a smaller variance.)

    Parts have at least twice as many images as features, so 4 times as many images as features are needed. The
    interval is that of ``FID``: to first order, the mean over all parts has the error of the whole sample.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "fid_infinity": Quantity(title="FID∞", better="lower", published=True)
    }

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = inputs.real.values, inputs.fake.values
        features = real.shape[1]
        _require(real, fake, 2 * LEAST_RATIO * features)
        most = min(MOST_PARTS, min(len(real), len(fake)) // (LEAST_RATIO * features))
        real, fake = _shuffled(real, inputs.seed), _shuffled(fake, inputs.seed + 1)
        numbers = range(1, most + 1)
        _, value = np.polyfit(numbers, [_mean_distance_of_parts(real, fake, number) for number in numbers], deg=1)
        note = f"extrapolated from 1 to {most} parts"
        return {"fid_infinity": normal(float(value), _standard_error(real, fake), INTERVAL, note=note)}


@dataclass(frozen=True, kw_only=True)
class IntraClassFID(Metric):
    """The mean over classes of the FID between a class's real and generated images (Miyato and Koyama 2018).

    Generated images belong to the class that was requested. A class counts if it has more images than features on
    both sides; with few more, its FID is mostly bias (see ``FID``).
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "intra_fid": Quantity(title="FID within classes", better="lower", published=True)
    }

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        pairs, note = _pairs_by_class(inputs)
        value = float(np.mean([_distance(real, fake) for real, fake in pairs]))
        error = math.hypot(*(_standard_error(real, fake) for real, fake in pairs)) / len(pairs)
        return {"intra_fid": normal(value, error, INTERVAL, within=(0, math.inf), note=note)}


def _pairs_by_class(inputs: MetricInputs) -> tuple[list[tuple[Tensor, Tensor]], str]:
    """Return the real and generated features of each class with enough images, and a note on those classes."""
    real, fake, names = inputs.real, inputs.fake, inputs.class_names
    real_labels = require_labels(real, "real", names)
    fake_labels = require_labels(fake, "generated", names, inputs.unlabelled)
    num_classes = len(names) or int(max(real_labels.max(), fake_labels.max())) + 1
    features = real.values.shape[1]
    pairs, left_out = [], []
    for number in range(num_classes):
        pair = real.values[real_labels == number], fake.values[fake_labels == number]
        if min(map(len, pair)) > features:
            pairs.append(pair)
        else:
            left_out.append(number)
    note = f"{len(pairs)} of {num_classes} classes"
    if left_out:
        note += f"; too few images of {name_classes(left_out, names)}"
    if not pairs or 2 * len(pairs) < num_classes:
        raise MetricError(
            f"{note}; expected more than {features:,} real and generated images (the number of features) of at least "
            "half of the classes: take more images"
        )
    return pairs, note


def _require(real: Tensor, fake: Tensor, least: int) -> None:
    for whose, values in (("real", real), ("generated", fake)):
        if len(values) < least:
            raise MetricError(
                f"{len(values):,} {whose} images are too few for the covariance of {values.shape[1]:,} features; "
                f"expected at least {least:,}: take more images, or choose --metrics kid"
            )


def _distance(real: Tensor, fake: Tensor) -> float:
    return _between(Moments.of(real), Moments.of(fake))


def _between(one: Moments, other: Moments) -> float:
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def _mean_distance_of_parts(real: Tensor, fake: Tensor, number: int) -> float:
    pairs = zip(real.tensor_split(number), fake.tensor_split(number), strict=True)
    return float(np.mean([_distance(*pair) for pair in pairs]))


def _shuffled(values: Tensor, seed: int) -> Tensor:
    """Return the rows in random order: images are often sorted by class."""
    return values[torch.from_numpy(np.random.default_rng(seed).permutation(len(values)))]


def _standard_error(real: Tensor, fake: Tensor) -> float:
    """Return the standard error of the distance over draws of images, by the delta method (infinitesimal jackknife).

    To first order the distance is a sum of independent terms, one per image. For many images it is the limit of a
    bootstrap, at the cost of one more distance. For few images a bootstrap is much too wide, since it repeats images
    (measured: docs/explain/precision.md).
    """
    one, other = Moments.of(real), Moments.of(fake)
    variances = (
        _influence(real, one, other).var() / len(real),
        _influence(fake, other, one).var() / len(fake),
    )
    return math.sqrt(float(sum(variances)))


def _influence(values: Tensor, own: Moments, other: Moments) -> Float[Tensor, "n"]:
    """Return what each image adds to the distance, to first order and up to a constant.

    The distance's gradient is 2 (m1 - m2) in the mean and 1 - T in the covariance, where T = S1^-½ (S1^½ S2 S1^½)^½
    S1^-½ transports one Gaussian to the other; directions in which the images do not vary are left out.
    """
    eigenvalues, axes = torch.linalg.eigh(own.covariance)
    kept = eigenvalues > eigenvalues[-1] * torch.finfo(torch.float64).eps * len(eigenvalues)
    scales, axes = eigenvalues[kept].sqrt(), axes[:, kept]
    product = (axes * scales).T @ other.covariance @ (axes * scales)
    shared, turn = torch.linalg.eigh((product + product.T) / 2)
    transport = (axes / scales) @ (turn * shared.clamp(min=0).pow(0.25))
    terms = []
    for rows in torch.split(values, BLOCK):
        apart = rows.to(torch.float64) - own.mean
        bent = (apart @ transport).square().sum(1)
        terms.append(apart.square().sum(1) - bent + 2 * apart @ (own.mean - other.mean))
    return torch.cat(terms)
