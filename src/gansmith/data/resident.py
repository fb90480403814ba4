"""Batches from a copy of the whole data set in the memory of the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from gansmith.data.batches import Batches
from gansmith.types import Batch, send

__all__ = ["BatchAt", "copy_to_device", "place_batches"]

BatchAt: TypeAlias = Callable[[int, int, int], Batch]  # (nimg, rank, world size) -> batch

MOST = 0.25  # limit of the copy, as a share of the device's free memory


def place_batches(device: torch.device, batches: Batches) -> BatchAt:
    """Return a function for batches: from the device's memory if it is a GPU with enough of it, else from the disk.

    From the device's memory, a step needs only a few kilobytes of indices, which are copied from pinned memory while
    the device computes.
    """
    if device.type == "cuda" and batches.store.images.nbytes <= MOST * torch.cuda.mem_get_info(device)[0]:
        return copy_to_device(device, batches)
    return batches.batch


def copy_to_device(device: torch.device, batches: Batches) -> BatchAt:
    """Copy the whole data set to a device, and return a function for batches from the copy."""
    store = batches.store
    images = torch.from_numpy(store.images.copy()).to(device)
    labels = None if store.labels is None else torch.from_numpy(store.labels).to(device)

    def batch_at(nimg: int, rank: int, world_size: int) -> Batch:
        there = send(torch.from_numpy(batches.indices(nimg, rank, world_size)), device)
        return Batch(images[there].permute(0, 3, 1, 2), None if labels is None else labels[there])

    return batch_at
