"""Batches that are gathered where the networks run, from a data set that lies there as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from gansmith.data.batches import Batches
from gansmith.types import Batch

__all__ = ["BatchAt", "batches_on", "resident"]

BatchAt: TypeAlias = Callable[[int, int, int], Batch]  # of nimg, rank and world size

MOST = 0.25  # of the device's free memory


def batches_on(device: torch.device, batches: Batches) -> BatchAt:
    """The same batches, from the device's own memory if it is a GPU that has enough of it, else from the disk.

    A step then waits for a few kilobytes of indices instead of the images, and not even for those: they are copied
    from pinned memory while the device works.
    """
    if device.type == "cuda" and batches.store.images.nbytes <= MOST * torch.cuda.mem_get_info(device)[0]:
        return resident(device, batches)
    return batches.batch


def resident(device: torch.device, batches: Batches) -> BatchAt:
    """The same batches from a copy of the whole data set on a device."""
    store = batches.store
    images = torch.from_numpy(store.images.copy()).to(device)
    labels = None if store.labels is None else torch.from_numpy(store.labels).to(device)

    def batch_at(nimg: int, rank: int, world_size: int) -> Batch:
        indices = torch.from_numpy(batches.indices(nimg, rank, world_size))
        if device.type == "cuda":
            indices = indices.pin_memory()
        there = indices.to(device, non_blocking=True)
        return Batch(images[there].permute(0, 3, 1, 2), None if labels is None else labels[there])

    return batch_at
