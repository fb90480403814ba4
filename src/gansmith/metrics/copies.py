"""Find copies of training images, also if shifted, mirrored, recoloured or compressed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gansmith.metrics.image_sequence import ImageSequence
from gansmith.metrics.manifold import find_nearest
from gansmith.types import PixelArray

__all__ = ["COPY", "Originals"]

COPY = 0.2  # of the training image's contrast: largest difference of a copy
MOST_SIDE = 64  # pixels: larger images are compared after averaging blocks of pixels
FREQUENCIES = 8  # of the descriptor, in each direction
CANDIDATES = 8  # training images that each image is compared with
REACH = 8  # a copy is shifted by at most this part of a side
RECOLOURED = 16.0  # of 255: largest difference of a copy's mean colour, but at most half of the contrast
BATCH_SIZE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Originals:
    """Training images with descriptors that find those that an image may be a copy of.

    Args:
        images: the training images.
        descriptors: one of each, equal for mirrored images and nearly equal for shifted ones.
        most_side: pixels; larger images are compared after averaging blocks of pixels.
        num_candidates: training images that each image is compared with.
    """

    images: ImageSequence
    descriptors: Float32[Tensor, "m d"]
    most_side: int
    num_candidates: int

    @classmethod
    def of(cls, images: ImageSequence, *, most_side: int = MOST_SIDE, num_candidates: int = CANDIDATES) -> Originals:
        """Compute the descriptors of these training images, at least one."""
        found = _descriptors(images, most_side)
        return cls(images=images, descriptors=found, most_side=most_side, num_candidates=num_candidates)

    def find_copies(self, images: ImageSequence, neighbours: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Return which images differ from a training image by at most ``COPY``; see ``measure_differences``."""
        return self.measure_differences(images, neighbours) <= COPY

    def find_copies_within(self, which: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of these training images are copies of another training image, bool [n].

        Args:
            which: their numbers, int64 [n].
        """
        if len(self.images) < 2:
            return np.zeros(len(which), np.bool_)
        images = _Chosen(self.images, which)
        candidates = self._candidates(self.descriptors[which], 1)
        others = np.stack(
            [row[row != number][: self.num_candidates] for row, number in zip(candidates, which, strict=True)]
        )
        return self._differences(images, others) <= COPY

    def measure_differences(
        self, images: ImageSequence, neighbours: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Return the smallest difference of each image from a training image, relative to that image's contrast.

        Both are compared pixel by pixel where they overlap, after the best shift and mirroring and without the
        difference of their mean colours: the root of the mean squared difference against the pixels' standard
        deviation about their channel's mean.

        Args:
            images: the images that may be copies.
            neighbours: one more candidate for each image, int64 [n], for example its nearest neighbour in features.

        Returns:
            float64 [n]; 0 for an exact copy, infinity if no candidate has contrast.
        """
        candidates = self._candidates(_descriptors(images, self.most_side))
        if neighbours is not None:
            candidates = np.concatenate([candidates, neighbours[:, None]], axis=1)
        return self._differences(images, candidates)

    def _candidates(self, descriptors: Float32[Tensor, "n d"], more: int = 0) -> NDArray[np.int64]:
        num = min(self.num_candidates + more, len(self.images))
        _, found = find_nearest(descriptors, self.descriptors, num)
        return found.numpy()

    def _differences(self, images: ImageSequence, candidates: NDArray[np.int64]) -> NDArray[np.float64]:
        smallest = []
        for start in range(0, len(images), BATCH_SIZE):
            which = np.arange(start, min(start + BATCH_SIZE, len(images)))
            here = _read(images, which, self.most_side)
            each = [_differences(here, _read(self.images, column, self.most_side)) for column in candidates[which].T]
            smallest.append(torch.stack(each).amin(dim=0))
        return torch.cat(smallest).double().numpy()


@dataclass(frozen=True, eq=False)
class _Chosen:
    """A subset of the images."""

    images: ImageSequence
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, which: NDArray[np.int64], /) -> PixelArray:
        return self.images[self.numbers[which]]


def _read(pictures: ImageSequence, which: NDArray[np.int64], most_side: int) -> Float32[Tensor, "n c h w"]:
    """Return pixels from 0 to 255, averaged to at most ``most_side`` pixels a side."""
    images = torch.from_numpy(np.ascontiguousarray(pictures[which])).permute(0, 3, 1, 2).float()
    factor = -(-max(images.shape[2:]) // most_side)
    return F.avg_pool2d(images, factor, ceil_mode=True) if factor > 1 else images


def _descriptors(pictures: ImageSequence, most_side: int) -> Float32[Tensor, "n d"]:
    """Return amplitudes of low frequencies, normalised; equal for mirrored images, nearly equal for shifted ones."""
    found = []
    for start in range(0, len(pictures), BATCH_SIZE):
        images = _read(pictures, np.arange(start, min(start + BATCH_SIZE, len(pictures))), most_side)
        windowed = (images - images.mean(dim=(2, 3), keepdim=True)) * _window(images)
        amplitudes = torch.fft.fft2(windowed).abs()[..., :FREQUENCIES, :]
        mirrored = amplitudes.flip(-1).roll(1, dims=-1)
        found.append((amplitudes + mirrored)[..., : min(FREQUENCIES, images.shape[3] // 2 + 1)].flatten(1))
    return F.normalize(torch.cat(found).sqrt(), dim=1)


def _window(images: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "h w"]:
    """Return a window that fades the edges, which shifts replace."""
    rows, columns = (torch.hann_window(size + 2, periodic=False)[1:-1].sqrt() for size in images.shape[2:])
    return rows[:, None] * columns


def _differences(images: Float32[Tensor, "n c h w"], originals: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n"]:
    """Return the smaller of the differences of the image and of its mirror image."""
    return torch.minimum(_aligned(images, originals), _aligned(images.flip(-1), originals))


def _aligned(images: Float32[Tensor, "n c h w"], originals: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n"]:
    """Return the smaller of the differences without a shift and at the shift of highest correlation."""
    shifts = _best_shifts(images, originals)
    return torch.minimum(_relative(images, originals, torch.zeros_like(shifts)), _relative(images, originals, shifts))


def _best_shifts(images: Float32[Tensor, "n c h w"], originals: Float32[Tensor, "n c h w"]) -> Int64[Tensor, "n 2"]:
    """Return by how many rows and columns each original has to be shifted, int64 [n 2]."""
    window = _window(images)
    spectra = [
        torch.fft.rfft2((side - side.mean(dim=(2, 3), keepdim=True)).mean(dim=1) * window)
        for side in (images, originals)
    ]
    height, width = images.shape[2:]
    correlation = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=(height, width))
    reaches = [max(1, size // REACH) for size in (height, width)]
    rows, columns = (torch.arange(-reach, reach + 1) for reach in reaches)
    near = correlation[:, rows][:, :, columns].flatten(1).argmax(dim=1)
    return torch.stack([rows[near // len(columns)], columns[near % len(columns)]], dim=1)


def _relative(
    images: Float32[Tensor, "n c h w"], originals: Float32[Tensor, "n c h w"], shifts: Int64[Tensor, "n 2"]
) -> Float32[Tensor, "n"]:
    """Return the relative difference of each image from its shifted original, where they overlap."""
    n, _, height, width = images.shape
    rows = torch.arange(height) - shifts[:, :1]
    columns = torch.arange(width) - shifts[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    each = torch.arange(n)[:, None, None]
    moved = originals.permute(0, 2, 3, 1)[
        each, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ]
    moved = moved.permute(0, 3, 1, 2)
    count = inside.sum(dim=(2, 3), keepdim=True)
    (offset, variance), (_, contrast) = _moments(images - moved, inside, count), _moments(moved, inside, count)
    contrast = contrast.mean(dim=1)
    allowed = (contrast.sqrt() / 2).clamp(max=RECOLOURED)[:, None]
    left = variance + (offset.abs() - allowed).clamp(min=0).square()
    return torch.where(
        contrast > 0,
        (left.mean(dim=1) / contrast.clamp(min=1e-9)).sqrt(),
        torch.where(left.mean(dim=1) > 0, torch.inf, 0.0),
    )


def _moments(
    values: Float32[Tensor, "n c h w"], inside: Tensor, count: Tensor
) -> tuple[Float32[Tensor, "n c"], Float32[Tensor, "n c"]]:
    """Return mean and variance of each channel inside the overlap."""
    mean = (values * inside).sum(dim=(2, 3), keepdim=True) / count
    variance = ((values - mean).square() * inside).sum(dim=(2, 3), keepdim=True) / count
    return mean[..., 0, 0], variance[..., 0, 0]
