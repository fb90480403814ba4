"""The sliced Wasserstein distance between pixel patches at several scales, without a feature extractor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray
from torch import Tensor

from gansmith.component import (
    Between,
)
from gansmith.errors import MetricError
from gansmith.metrics.image_sequence import ImageSequence
from gansmith.metrics.intervals import normal
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity
from gansmith.types import size_text

__all__ = ["Patches", "SlicedWasserstein", "level_distances", "pyramid_level", "pyramid_sizes"]

LEAST_SIZE = 16  # pixels of the shorter side, also on the smallest level
PATCH = 7
PATCHES = 64
MOST_IMAGES = 2048
LEAST_IMAGES = 32
PARTS = 8
FACTOR = 1000.0  # as papers report it
LEAST_CONTRAST = 0.01  # of 255: a channel with less is constant except for rounding, which must not be amplified
BATCH_SIZE = 128  # images whose pyramids are in memory at a time
SLICES = 32  # directions whose projections are in memory at a time; the interval uses as many


@dataclass(frozen=True, kw_only=True)
class SlicedWasserstein(Metric):
    """Sliced Wasserstein distance of patches of a Laplacian pyramid (Karras et al. 2018, section 5), times 1,000.

    Each level of the pyramid, from the whole size down to 16 pixels, gives patches of 7x7; each set's patches are
    normalised channel by channel; both sets are projected on random directions, sorted and compared. The value is
    the mean over the levels. The note has the value of each level: the first is for detail, the last for large shapes.

    Karras et al. use 128 patches of 16,384 images, this metric 64 of at most 2,048, so values are not comparable with
    theirs. The patches are at the same random places in all images, so the order of images has no effect. Two samples
    of one distribution have a distance above 0, which falls with the number of images. Each set is normalised by
    itself, as in the paper: a change of brightness or contrast alone is not detected.

    Args:
        projections: number of directions.
    """

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "sliced_wasserstein": Quantity(title="Sliced Wasserstein distance x 1,000", better="lower")
    }

    needs_features: ClassVar[bool] = False

    projections: Annotated[int, Between(1, 65_536)] = 256

    def measure(self, inputs: MetricInputs) -> dict[str, Estimate]:
        real, fake = inputs.real.pixels, inputs.fake.pixels
        ours, theirs = _choose_equally(real, fake, inputs.seed)
        sizes = pyramid_sizes(*real[theirs[:1]].shape[1:3])
        draw = torch.Generator().manual_seed(inputs.seed)
        found = []
        for level, size in enumerate(sizes):
            places = torch.stack([torch.randint(length - PATCH + 1, (PATCHES,), generator=draw) for length in size])
            sides = Patches.of(fake, ours, level, places), Patches.of(real, theirs, level, places)
            directions = torch.randn(self.projections, len(sides[0].values), PATCH * PATCH, generator=draw)
            found.append(level_distances(*sides, directions / directions.norm(dim=(1, 2), keepdim=True)))
        return {"sliced_wasserstein": _estimate(np.array(found) * FACTOR, sizes)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """The patches of a set of images at one level of the pyramid.

    Args:
        values: float32 [c n p d], about each channel's mean.
        sums: over each image's values, float64 [c n].
        squares: the same of their squares.
    """

    values: Float32[Tensor, "c n p d"]
    sums: Float64[Tensor, "c n"]
    squares: Float64[Tensor, "c n"]

    @classmethod
    def of(cls, images: ImageSequence, which: NDArray[np.int64], level: int, places: Int64[Tensor, "2 p"]) -> Patches:
        """Extract the patches.

        Args:
            images: the set.
            which: indices of the images to use.
            level: of the pyramid; see ``pyramid_level``.
            places: row and column of each patch's upper left corner.
        """
        found = []
        for start in range(0, len(which), BATCH_SIZE):
            pixels = torch.from_numpy(images[which[start : start + BATCH_SIZE]])
            band = pyramid_level(pixels.permute(0, 3, 1, 2).float(), level).transpose(0, 1)
            windows = band.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
            found.append(windows[:, :, places[0], places[1]].flatten(3))
        values = torch.cat(found, dim=1)
        values -= values.mean(dim=(1, 2, 3), keepdim=True)
        sums, squares = values.sum(dim=(2, 3)).double(), values.square().sum(dim=(2, 3)).double()
        return cls(values=values, sums=sums, squares=squares)

    def along(self, directions: Float32[Tensor, "k c d"]) -> Float32[Tensor, "c k n p"]:
        """Each channel's part of the projections, before it is normalised."""
        channels, num, places, _ = self.values.shape
        parts = directions.transpose(0, 1) @ self.values.flatten(1, 2).transpose(1, 2)
        return parts.view(channels, len(directions), num, places)

    def normalised(
        self, along: Float32[Tensor, "c k n p"], directions: Float32[Tensor, "k c d"], kept: slice | Int64[Tensor, "m"]
    ) -> NDArray[np.float32]:
        """Projections [k m*p] of some of the images, had their patches been normalised channel by channel before."""
        sums, squares = self.sums[:, kept], self.squares[:, kept]
        count = sums.shape[1] * self.values[0, 0].numel()
        mean = sums.sum(dim=1) / count
        deviation = (squares.sum(dim=1) / count - mean.square()).clamp_min(LEAST_CONTRAST**2).sqrt()
        centre = directions.sum(dim=2) @ (mean / deviation).float()
        projected: Tensor = torch.tensordot((1 / deviation).float(), along[:, :, kept], dims=1).flatten(1)
        return (projected - centre[:, None]).numpy()


def pyramid_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Return height and width of each level of an image's pyramid, full size first; no side is under 16 pixels.

    Raises:
        MetricError: the image is too small for one level.
    """
    if min(height, width) < LEAST_SIZE:
        raise MetricError(
            f"images of {size_text((height, width))} pixels are too small for a pyramid of patches; "
            f"expected at least {LEAST_SIZE} pixels each way: leave sliced-wasserstein out"
        )
    sizes = []
    while min(height, width) >= LEAST_SIZE:
        sizes.append((height, width))
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    return sizes


def pyramid_level(images: Float32[Tensor, "n c h w"], level: int) -> Float32[Tensor, "n c H W"]:
    """Return one level of the Laplacian pyramid (Burt and Adelson 1983): the difference from the next level.

    Args:
        images: in any range, at least 16 pixels each way.
        level: 0 is the full size; the last level is the downscaled image itself.
    """
    last = len(pyramid_sizes(*images.shape[2:])) - 1
    for _ in range(level):
        images = _halve(images)
    return images if level == last else images - _double(_halve(images), *images.shape[2:])


def level_distances(ours: Patches, theirs: Patches, directions: Float32[Tensor, "k c d"]) -> NDArray[np.float64]:
    """Return the mean distance over the directions; then the same without each of several parts of the images.

    Args:
        ours: patches of one set.
        theirs: as many of another.
        directions: each of length 1 over channels and pixels together; the first ones are used without a part.

    Returns:
        float64 [1+PARTS].
    """
    whole = [_distances(ours, theirs, some, [slice(None)]) for some in torch.split(directions, SLICES)]
    part_of = torch.arange(ours.values.shape[1]) * PARTS // ours.values.shape[1]
    kept = [torch.nonzero(part_of != part)[:, 0] for part in range(PARTS)]
    without = _distances(ours, theirs, directions[:SLICES], kept)
    return np.array([np.concatenate(whole, axis=1).mean(), *without.mean(axis=1)])


def _choose_equally(real: ImageSequence, fake: ImageSequence, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose equal numbers of generated and real images at random."""
    num = min(len(real), len(fake), MOST_IMAGES)
    if num < LEAST_IMAGES:
        raise MetricError(f"{num} images are too few for a distance between patches; expected at least {LEAST_IMAGES}")
    ours, theirs = (np.random.default_rng(seed).choice(len(images), num, replace=False) for images in (fake, real))
    return ours, theirs


def _estimate(distances: NDArray[np.float64], sizes: list[tuple[int, int]]) -> Estimate:
    """Return the estimate for distances [levels 1+PARTS], of all images and without each part of them."""
    whole, *without = distances.mean(axis=0)
    error = float(np.std(without)) * math.sqrt(PARTS - 1)
    each = [f"{width}x{height} px {level[0]:.3g}" for (height, width), level in zip(sizes, distances, strict=True)]
    return normal(
        float(whole),
        error,
        f"jackknife of {PARTS} parts",
        freedom=PARTS - 1,
        within=(0, math.inf),
        note=", ".join(each),
    )


def _distances(
    ours: Patches,
    theirs: Patches,
    directions: Float32[Tensor, "k c d"],
    choices: Sequence[slice | Int64[Tensor, "m"]],
) -> NDArray[np.float64]:
    """Return Wasserstein-1 distances along directions for several choices of images, float64 [choices k]."""
    along = ours.along(directions), theirs.along(directions)
    found = []
    for kept in choices:
        a, b = (side.normalised(part, directions, kept) for side, part in zip((ours, theirs), along, strict=True))
        found.append(np.abs(np.sort(a) - np.sort(b)).mean(axis=1, dtype=np.float64))
    return np.stack(found)


def _halve(images: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c H W"]:
    down, across = (_blur(length)[::2] for length in images.shape[2:])
    return down @ images @ across.T


def _double(images: Float32[Tensor, "n c h w"], height: int, width: int) -> Float32[Tensor, "n c H W"]:
    down, across = (2 * _blur(length)[:, ::2] for length in (height, width))  # there are zeros between the pixels
    return down @ images @ across.T


def _blur(length: int) -> Float32[Tensor, "length length"]:
    """Return the matrix of the filter (1 4 6 4 1)/16 on a row of pixels, mirrored at its ends."""
    matrix = torch.zeros(length, length)
    for offset, weight in zip(range(-2, 3), (1, 4, 6, 4, 1), strict=True):
        mirrored = (torch.arange(length) + offset).abs()
        mirrored = torch.minimum(mirrored, 2 * (length - 1) - mirrored)
        matrix[torch.arange(length), mirrored] += weight / 16
    return matrix
