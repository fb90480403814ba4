"""The sliced Wasserstein distance of small patches, scale by scale: on pixels, without a feature network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gansmith.component import PositiveInt
from gansmith.errors import MetricError
from gansmith.metrics.features import Pictures
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Comparison, Estimate, Metric, Quantity

__all__ = ["SlicedWasserstein", "distances_along", "pyramid_level", "pyramid_sizes"]

LEAST_SIZE = 16  # pixels of the shorter side, on the smallest level too
PATCH = 7
PATCHES = 64
MOST_IMAGES = 2048
LEAST_IMAGES = 32
PARTS = 8
FACTOR = 1000.0  # as the field prints it
LEAST_CONTRAST = 0.01  # of 255: a channel with less is constant but for rounding, which must not be blown up
BATCH_SIZE = 128  # images whose pyramids are held at once
SLICES = 64  # directions whose projections are held at once


@dataclass(frozen=True, kw_only=True)
class SlicedWasserstein(Metric):
    """Sliced Wasserstein distance of patches of a Laplacian pyramid (Karras et al. 2018, section 5), times 1,000.

    Each level of the pyramid, from the whole size down to 16 pixels, gives patches of 7x7; each set's patches are
    normalised channel by channel; both sets are projected on random directions, sorted and compared. The figure is
    the mean over the levels, whose own figures are in the note: the first tells of detail, the last of large shapes.

    Karras et al. take 128 patches of 16,384 images; here it is 64 of at most 2,048, so that figures are comparable
    among themselves alone. The patches lie at the same random places in all images, so that the images' order changes
    nothing. Two samples of one distribution are not at 0, but the nearer to it the more images there are. Each set is
    normalised by itself, as there: a change of brightness or contrast alone is not seen.

    Args:
        projections: the number of directions.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "sliced_wasserstein": Quantity(title="Sliced Wasserstein distance x 1,000", better="lower")
    }

    projections: PositiveInt = 256

    def measure(self, comparison: Comparison) -> dict[str, Estimate]:
        real, fake = comparison.real.images, comparison.fake.images
        ours, theirs = _equally_many(real, fake, comparison.seed)
        sizes = pyramid_sizes(*real[theirs[:1]].shape[1:3])
        draw = torch.Generator().manual_seed(comparison.seed)
        found = []
        for level, size in enumerate(sizes):
            places = torch.stack([torch.randint(length - PATCH + 1, (PATCHES,), generator=draw) for length in size])
            a, b = _descriptors(fake, ours, level, places), _descriptors(real, theirs, level, places)
            directions = torch.randn(a.shape[2], self.projections, generator=draw)
            found.append(_whole_and_parts(a, b, directions / directions.norm(dim=0)))
        return {"sliced_wasserstein": _estimate(np.array(found) * FACTOR, sizes)}


def pyramid_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of each level of an image's pyramid, the whole size first; no side is under 16 pixels.

    Raises:
        MetricError: the image is too small for one level.
    """
    if min(height, width) < LEAST_SIZE:
        raise MetricError(
            f"images of {width}x{height} pixels are too small for patches of {PATCH}x{PATCH} at two scales; "
            f"expected at least {LEAST_SIZE} pixels each way: leave sliced-wasserstein out"
        )
    sizes = []
    while min(height, width) >= LEAST_SIZE:
        sizes.append((height, width))
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return sizes


def pyramid_level(images: Float32[Tensor, "n c h w"], level: int) -> Float32[Tensor, "n c H W"]:
    """One level of the Laplacian pyramid (Burt and Adelson 1983): what the next one leaves out; the last, all of it.

    Args:
        images: in any range, at least 16 pixels each way.
        level: 0 is of the whole size.
    """
    last = len(pyramid_sizes(*images.shape[2:])) - 1
    for _ in range(level):
        images = _halved(images)
    return images if level == last else images - _doubled(_halved(images), images.shape)


def distances_along(
    ours: Float32[Tensor, "n d"], theirs: Float32[Tensor, "n d"], directions: Float32[Tensor, "d k"]
) -> NDArray[np.float64]:
    """The Wasserstein-1 distances of two equally large sets of points along some directions, float64 [k]."""
    return _sorted_apart(_along(ours, directions), _along(theirs, directions))


def _equally_many(real: Pictures, fake: Pictures, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which generated and which real images are compared."""
    num = min(len(real), len(fake), MOST_IMAGES)
    if num < LEAST_IMAGES:
        raise MetricError(f"{num} images are too few for their patches' distance; expected at least {LEAST_IMAGES}")
    ours, theirs = (np.random.default_rng(seed).choice(len(images), num, replace=False) for images in (fake, real))
    return ours, theirs


def _estimate(distances: NDArray[np.float64], sizes: list[tuple[int, int]]) -> Estimate:
    """Of the distances [levels 1+PARTS], of all images and without each part of them."""
    whole, *without = distances.mean(axis=0)
    error = float(np.std(without)) * math.sqrt(PARTS - 1)
    each = [f"{width}x{height} px {level[0]:.3g}" for (height, width), level in zip(sizes, distances, strict=True)]
    return normal(
        float(whole), error, f"jackknife of {PARTS} parts", freedom=PARTS - 1, within=(0, math.inf), note=", ".join(each)
    )


def _descriptors(images: Pictures, which: NDArray[np.int64], level: int, places: Tensor) -> Float32[Tensor, "n p d"]:
    """The patches of one level at some places, normalised channel by channel."""
    found = []
    for start in range(0, len(which), BATCH_SIZE):
        pixels = torch.from_numpy(images[which[start : start + BATCH_SIZE]])
        band = pyramid_level(pixels.permute(0, 3, 1, 2).float(), level)
        windows = band.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        found.append(windows[:, :, places[0], places[1]])
    patches = torch.cat(found)  # [n c p 7 7]
    deviation, mean = torch.std_mean(patches, dim=(0, 2, 3, 4), keepdim=True)
    return patches.sub_(mean).div_(deviation.clamp_min(LEAST_CONTRAST)).transpose(1, 2).flatten(2)


def _whole_and_parts(
    ours: Float32[Tensor, "n p d"], theirs: Float32[Tensor, "n p d"], directions: Float32[Tensor, "d k"]
) -> NDArray[np.float64]:
    """The mean distance over the directions, and over some of them without each of ``PARTS`` parts of the images."""
    slices = [(_along(ours, some), _along(theirs, some)) for some in torch.split(directions, SLICES, dim=1)]
    whole = np.concatenate([_sorted_apart(*both) for both in slices])
    part = np.arange(len(ours)).repeat(PATCHES) * PARTS // len(ours)
    without = [_sorted_apart(*(side[:, part != number] for side in slices[0])) for number in range(PARTS)]
    return np.array([values.mean() for values in (whole, *without)])


def _along(points: Float32[Tensor, "*n d"], directions: Float32[Tensor, "d k"]) -> NDArray[np.float32]:
    """Projections [k n]."""
    projected: NDArray[np.float32] = (directions.T @ points.flatten(0, -2).T).numpy()
    return projected


def _sorted_apart(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float64]:
    """The Wasserstein-1 distance of each pair of rows."""
    apart: NDArray[np.float64] = np.abs(np.sort(ours) - np.sort(theirs)).mean(axis=1, dtype=np.float64)
    return apart


_KERNEL = torch.outer(*[torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16] * 2)


def _blurred(images: Float32[Tensor, "n c h w"], stride: int) -> Float32[Tensor, "n c H W"]:
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    channels = images.shape[1]
    return F.conv2d(padded, _KERNEL.expand(channels, 1, 5, 5), stride=stride, groups=channels)


def _halved(images: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c H W"]:
    return _blurred(images, stride=2)


def _doubled(images: Float32[Tensor, "n c h w"], shape: torch.Size) -> Float32[Tensor, "n c H W"]:
    spread = images.new_zeros(shape)
    spread[:, :, ::2, ::2] = images
    return 4 * _blurred(spread, stride=1)
