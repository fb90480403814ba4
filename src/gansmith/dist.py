"""Processes that train together: who am I, how many are we, averages over all.

One code path serves one process and many: with one, every function here is the identity. There is no wrapper
around the networks: gradients are averaged after backward, so that double backward through penalties, a frozen
discriminator and clean parameter names need no special case.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as torch_dist

from gansmith.errors import ConfigError

__all__ = [
    "agree",
    "average_gradients",
    "barrier",
    "from_main",
    "gather_rows",
    "is_main",
    "local_share",
    "main_first",
    "process_group",
    "rank",
    "sum_over_ranks",
    "world_size",
]

T = TypeVar("T")

BUCKET_BYTES = 32 * 2**20


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that ``torchrun`` started, for as long as the block lasts; one process joins nothing."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not launched or torch_dist.is_initialized():
        yield
        return
    torch_dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch_dist.destroy_process_group()
        # Gloo's threads end with the group's last reference. Those that are left when the interpreter ends abort it.
        gc.collect()


def rank() -> int:
    """This process's number, from 0."""
    return torch_dist.get_rank() if torch_dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return torch_dist.get_world_size() if torch_dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return rank() == 0


def local_share(batch_size: int) -> slice:
    """This rank's slice of a global batch.

    Raises:
        ConfigError: the batch cannot be shared evenly.
    """
    share, rest = divmod(batch_size, world_size())
    if rest:
        raise ConfigError(f"config.batch_size: {batch_size} is not a multiple of the {world_size()} processes")
    return slice(rank() * share, (rank() + 1) * share)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average ``.grad`` over all ranks, in place, in a few large buffers of one dtype each."""
    if world_size() == 1:
        return
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        torch_dist.all_reduce(flat)
        flat /= world_size()
        for gradient, part in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size >= BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel() * gradient.element_size()
    if bucket:
        yield bucket


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum over all ranks, the same on each; the argument is left as it is."""
    total = values.clone()
    if world_size() > 1:
        torch_dist.all_reduce(total)
    return total


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all ranks below each other, rank 0's first, the same on each; ranks may bring unequal numbers."""
    if world_size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    torch_dist.all_gather(counts, torch.tensor([len(rows)]))
    longest = max(int(count) for count in counts)
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    gathered = [torch.empty_like(padded) for _ in counts]
    torch_dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def agree(seconds: float, stop: bool) -> tuple[float, bool]:
    """The main process's clock, and whether any rank wants to stop: all ranks must decide alike at each step.

    The numbers are exchanged between processors, so that no device has to be waited for.
    """
    if world_size() == 1:
        return seconds, stop
    numbers = torch.tensor([seconds if is_main() else 0.0, float(stop)], dtype=torch.float64)
    torch_dist.all_reduce(numbers)
    return numbers[0].item(), numbers[1].item() > 0


@contextmanager
def main_first() -> Iterator[None]:
    """The main process goes through the block before all others, which then find what it has made."""
    if not is_main():
        barrier()
    try:
        yield
    finally:  # what stopped the main process here will stop the others too: they must not wait for ever
        if is_main():
            barrier()


def from_main(make: Callable[[], T]) -> T:
    """What the main process makes, on every rank; its mistake is every rank's mistake.

    Raises:
        Exception: whatever ``make`` raised, also a full disk: the others must not wait for ever.
    """
    made: list[Any] = [None, None]
    if is_main():
        try:
            made[0] = make()
        except Exception as error:
            made[1] = error
    if world_size() > 1:
        torch_dist.broadcast_object_list(made)
    if made[1] is not None:
        raise made[1]
    value: T = made[0]
    return value


def barrier() -> None:
    """Wait until every rank is here."""
    if world_size() > 1:
        torch_dist.barrier()
