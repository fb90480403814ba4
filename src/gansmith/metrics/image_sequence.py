"""Images that metrics look up by number; generated ones stay on the rank that generated them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith import dist
from gansmith.types import PixelArray

__all__ = ["MOST_FETCHED_BYTES", "ImageSequence", "RankImages", "run_on_main"]

MOST_FETCHED_BYTES = 64 * 2**20  # of one request: all that a rank holds beside its own images

T = TypeVar("T")


class ImageSequence(Protocol):
    """Images that are looked up by number: an array, a part of a memory map, or the images of all ranks."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: NDArray[np.int64], /) -> PixelArray:
        """Return the images numbered ``which`` [m], uint8 [m h w c]."""


class RankImages:
    """The images of all ranks in one sequence, rank 0's first; each rank holds its own images alone.

    With several ranks, only the main process looks images up, and only inside ``run_on_main``, where the other ranks
    answer. All ranks must create it together.

    Args:
        own: uint8 [n h w c], the images of this rank.
    """

    def __init__(self, own: PixelArray) -> None:
        self.own = own
        self.ends: NDArray[np.int64] = dist.gather_rows(torch.tensor([len(own)])).cumsum(0).numpy()
        self.first = int(self.ends[dist.rank()]) - len(own)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, which: NDArray[np.int64], /) -> PixelArray:
        if dist.world_size() == 1:
            return self.own[which]
        most = max(1, MOST_FETCHED_BYTES // int(np.prod(self.own.shape[1:])))
        return np.concatenate([self._fetch(part) for part in np.split(which, range(most, len(which), most))])

    def _fetch(self, which: NDArray[np.int64]) -> PixelArray:
        dist.from_main(lambda: which)
        return self._exchange(which)

    def _exchange(self, which: NDArray[np.int64]) -> PixelArray:
        """Return the images numbered ``which`` on every rank; each rank sends those that it holds."""
        owners = np.searchsorted(self.ends, which, side="right")
        own = self.own[which[owners == dist.rank()] - self.first]
        rows = dist.gather_rows(torch.from_numpy(own)).numpy()
        found = np.empty_like(rows)
        found[np.argsort(owners, kind="stable")] = rows
        return found

    def answer(self) -> None:
        """Send images to the main process until it calls ``release``; called by all other ranks."""
        while (which := self._request()) is not None:
            self._exchange(which)

    def release(self) -> None:
        """Tell the other ranks that no more images are needed; called by the main process."""
        self._request()

    @staticmethod
    def _request() -> NDArray[np.int64] | None:
        return dist.from_main(lambda: None)


def run_on_main(images: ImageSequence, compute: Callable[[], T]) -> T:
    """Return on every rank what the main process computes; it may look up ``images`` that other ranks hold.

    Raises:
        Exception: what ``compute`` raised, on every rank.
    """
    if not isinstance(images, RankImages):
        return dist.from_main(compute)

    def compute_and_release() -> T:
        try:
            return compute()
        finally:
            images.release()

    if not dist.is_main():
        images.answer()
    return dist.from_main(compute_and_release)
