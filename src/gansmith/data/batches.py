"""Endless batches, each a function of the seed and of the number of images before it: no state needs to be saved.

The stream of images is a sequence of seeded permutations of the data set; with balanced classes, of a list in which
each class occurs in the wanted proportion. Batch size and rank only select a part of the stream, so the stream is the
same after a resume and on any number of ranks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith.data.store import Store
from gansmith.errors import ConfigError
from gansmith.types import Batch

__all__ = ["ENOUGH_HELD_OUT", "Batches", "Indices", "split"]

Indices: TypeAlias = NDArray[np.int64]

# Keys of cached streams: the images of all classes; the order of the classes. The streams of each class count from 1.
MIXTURE, CLASS_STREAM = -1, 0
ENOUGH_HELD_OUT = 20  # images, for a data set of 100 or more: with fewer, copies cannot be told from similar images
MOST_HELD_OUT, SHARE_STEP = 0.5, 0.01  # limit and step of the share when it is raised to reach the least number
RUN = 1024  # numbers drawn per call: several small permutations share one call of NumPy


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Endless batches of a store.

    Args:
        store: the images.
        batch_size: images per batch, summed over all ranks.
        seed: seed of the order, 0 or more.
        balance: 0 shows every image equally often. 1 shows every class equally often: each of k classes once in every k
            images. Between, in every pass over the data a class of n images has a share proportional to
            n ** (1 - balance) (Kang et al. 2020, "Decoupling representation and classifier for long-tailed
            recognition", with q = 1 - balance). Within a class, every image comes equally often.
        subset: indices of the images to use; None uses all.
    """

    store: Store
    batch_size: int
    seed: int = 0
    balance: float = 0.0
    subset: Indices | None = None
    _blocks: dict[int, tuple[int, Indices]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size: expected at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise ConfigError(f"seed: expected 0 or more, got {self.seed}")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance: expected a share from 0 to 1, got {self.balance}")
        if self.balance and self.store.labels is None:
            raise ConfigError(f"balance: expected 0, because {self.store.title} has no classes; omit it")
        if not len(self):
            raise ConfigError("subset: expected at least one image")

    def __len__(self) -> int:
        """Return the number of different images."""
        return len(self.store) if self.subset is None else len(self.subset)

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches without end, each as ``batch`` returns it."""
        for nimg in itertools.count(0, self.batch_size):
            yield self.batch(nimg)

    def batch(self, nimg: int, rank: int = 0, world_size: int = 1) -> Batch:
        """Return the batch that follows the first ``nimg`` images, or a rank's part of it.

        The parts of all ranks, concatenated in the order of the ranks, are the batch.

        Returns:
            uint8 images [n c h w] in channels-last memory, and int64 labels [n] or None.
        """
        indices = self.indices(nimg, rank, world_size)
        images = torch.from_numpy(np.take(self.store.images.view(np.ndarray), indices, axis=0)).permute(0, 3, 1, 2)
        labels = None if self.store.labels is None else torch.from_numpy(self.store.labels[indices])
        return Batch(images, labels)

    def indices(self, nimg: int, rank: int = 0, world_size: int = 1) -> Indices:
        """Return the indices in the store of the images of ``batch``.

        Raises:
            ConfigError: the batch size is not a multiple of the number of ranks.
        """
        share, rest = divmod(self.batch_size, world_size)
        if rest:
            raise ConfigError(f"batch_size: {self.batch_size} is not a multiple of {world_size} ranks; use a multiple")
        start = nimg + rank * share
        positions = np.arange(start, start + share)
        if self.balance:
            return _from_blocks(positions, _block_length(len(self._classes)), self._mixture)
        chosen = self._stream(1, len(self), positions)
        return chosen if self.subset is None else self.subset[chosen]

    def _mixture(self, block: int) -> Indices:
        """Return the indices of one block with balanced classes."""
        return self._kept(MIXTURE, block, lambda: self._mix(block))

    def _mix(self, block: int) -> Indices:
        classes = self._classes[self._order(CLASS_STREAM, block, len(self._classes))]
        counts = np.bincount(classes)  # the same in each block
        mixed = np.empty_like(classes)
        mixed[np.argsort(classes, kind="stable")] = np.concatenate(
            [
                members[self._stream(1 + number, len(members), np.arange(block * count, (block + 1) * count))]
                for number, (members, count) in enumerate(zip(self._members, counts.tolist(), strict=True))
            ]
        )
        return mixed

    @functools.cached_property
    def _classes(self) -> Indices:
        """Class numbers, each as often as the class occurs in one block."""
        if self.balance == 1:
            return np.arange(len(self._members))
        weights = np.array([len(members) for members in self._members]) ** (1 - self.balance)
        return np.repeat(np.arange(len(weights)), _apportioned(len(self), weights))

    @functools.cached_property
    def _members(self) -> list[Indices]:
        """Indices of each class's images; classes without images are omitted."""
        assert self.store.labels is not None
        indices = np.arange(len(self.store)) if self.subset is None else self.subset
        labels = self.store.labels[indices]
        by_class = indices[np.argsort(labels, kind="stable")]
        return np.split(by_class, np.cumsum(np.unique(labels, return_counts=True)[1])[:-1])

    def _stream(self, stream: int, num: int, positions: Indices) -> Indices:
        """Return the entries at some positions of an endless sequence of permutations of the numbers below ``num``."""
        return _from_blocks(positions, _block_length(num), lambda block: self._order(stream, block, num))

    def _order(self, stream: int, block: int, num: int) -> Indices:
        """Return one block of a stream."""

        def draw() -> Indices:
            generator = np.random.default_rng([self.seed, stream, block])
            rows: Indices = np.tile(np.arange(num), (_block_length(num) // num, 1))
            generator.permuted(rows, axis=1, out=rows)
            return rows.reshape(-1)

        return self._kept(stream, block, draw)

    def _kept(self, stream: int, block: int, make: Callable[[], Indices]) -> Indices:
        """Return one block; cache the latest block of each stream."""
        kept = self._blocks.get(stream)
        if kept is None or kept[0] != block:
            kept = self._blocks[stream] = block, make()
        return kept[1]


def _block_length(num: int) -> int:
    """Return the length of a block: as many whole permutations of ``num`` numbers as are drawn together."""
    return num * max(1, RUN // num)


def _from_blocks(positions: Indices, length: int, block_of: Callable[[int], Indices]) -> Indices:
    """Return the entries at some positions of a sequence that consists of blocks of this length."""
    blocks, offsets = np.divmod(positions, length)
    found = np.empty_like(positions)
    for block in np.unique(blocks).tolist():
        here = blocks == block
        found[here] = block_of(block)[offsets[here]]
    return found


def _apportioned(num: int, weights: NDArray[np.float64]) -> Indices:
    """Return whole numbers proportional to weights that sum to ``num``: the largest remainders are rounded up."""
    exact = weights / weights.sum() * num
    counts: Indices = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: num - counts.sum()]] += 1
    return counts


def split(store: Store, held_out: float = 0.1, seed: int = 0, *, least: int = 0) -> tuple[Indices, Indices]:
    """Split a store in two parts; no group is split, and classes keep their proportions.

    Args:
        store: the images.
        held_out: the share of each class's images in the second part, as near as its groups allow. A class with two
            groups or more has at least one in each part; a class with one group stays in the first.
        seed: seed of the choice.
        least: the least number of images in the second part: ``held_out`` is raised until it is reached, unless
            ``held_out`` is 0 or the store has less than five times as many images.

    Returns:
        Sorted indices of the first part, and of the images held out.
    """
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out: expected a share from 0 to below 1, got {held_out}")
    groups = np.arange(len(store)) if store.groups is None else store.groups
    labels = np.zeros(len(store), np.int64) if store.labels is None else store.labels
    _, first, group_of, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    orders = [
        np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels[first] == label))
        for label in np.unique(labels[first]).tolist()
    ]
    held = _held(sizes, orders, held_out)
    while held_out and sizes[held].sum() < least <= len(store) // 5 and held_out < MOST_HELD_OUT:
        held_out += SHARE_STEP
        held = _held(sizes, orders, held_out)
    return np.flatnonzero(~held[group_of]), np.flatnonzero(held[group_of])


def _held(sizes: Indices, orders: list[Indices], share: float) -> NDArray[np.bool_]:
    """Return a mask of the groups that are held out: a share of each class."""
    held = np.zeros(len(sizes), bool)
    for order in orders if share > 0 else ():
        held[order[: _num_groups(sizes[order], share)]] = True
    return held


def _num_groups(sizes: Indices, share: float) -> int:
    """Return how many groups, from the first on, come nearest to a share of their images; never all."""
    distances = np.abs(np.cumsum(sizes) - share * sizes.sum())
    return min(int(distances.argmin()) + 1, len(sizes) - 1)
