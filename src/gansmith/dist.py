"""Distributed training: rank, world size, and communication between the processes.

One process and many share one code path: with one process, every function here is the identity. The networks have no
wrapper. Gradients are averaged after backward, so double backward through penalties, a frozen discriminator and clean
parameter names need no special case.
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
    """Join the processes that ``torchrun`` started until the block ends; do nothing for a single process."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not launched or torch_dist.is_initialized():
        yield
        return
    torch_dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch_dist.destroy_process_group()
        # Gloo's threads end with the group's last reference; any thread left at exit would abort the interpreter.
        gc.collect()


def rank() -> int:
    """Return this process's number, from 0."""
    return torch_dist.get_rank() if torch_dist.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes."""
    return torch_dist.get_world_size() if torch_dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this process is rank 0, which writes files and prints."""
    return rank() == 0


def local_share(batch_size: int) -> slice:
    """Return this rank's slice of a global batch.

    Raises:
        ConfigError: the batch size is not a multiple of the number of processes.
    """
    share, rest = divmod(batch_size, world_size())
    if rest:
        raise ConfigError(f"config.batch_size: {batch_size} is not a multiple of the {world_size()} processes")
    return slice(rank() * share, (rank() + 1) * share)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average ``.grad`` over all ranks in place, in a few large buffers of one dtype each."""
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
    """Return the sum over all ranks, equal on each; the argument is not changed."""
    total = values.clone()
    if world_size() > 1:
        torch_dist.all_reduce(total)
    return total


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all ranks concatenated in rank order, equal on each; ranks may have different numbers."""
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
    """Return the main process's seconds, and whether any rank wants to stop, so that all ranks decide alike.

    The numbers are exchanged between CPUs, without synchronising with a GPU.
    """
    if world_size() == 1:
        return seconds, stop
    numbers = torch.tensor([seconds if is_main() else 0.0, float(stop)], dtype=torch.float64)
    torch_dist.all_reduce(numbers)
    return numbers[0].item(), numbers[1].item() > 0


@contextmanager
def main_first() -> Iterator[None]:
    """Run the block in the main process first, so that the others find what it has written."""
    if not is_main():
        barrier()
    try:
        yield
    finally:  # also after an exception, or the other ranks would wait forever
        if is_main():
            barrier()


def from_main(make: Callable[[], T]) -> T:
    """Call ``make`` in the main process and return its result on every rank.

    Raises:
        Exception: any exception of ``make``, on every rank, so that the other ranks do not wait forever.
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
    """Wait until every rank gets here."""
    if world_size() > 1:
        torch_dist.barrier()
