"""A limit on the memory of all threads that decode images: a thread waits until enough of it is free."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

from gansmith.devices import free_bytes, return_freed_memory
from gansmith.errors import UnreadableImage

__all__ = ["DECODING", "DECODING_BYTES", "FILES", "FILES_BYTES", "Budget", "hold_image_memory"]

DECODING_BYTES = 2**30  # for images while they are decoded and converted, all threads together
FILES_BYTES = 2**29  # for the files that they are decoded from
LARGE_BYTES = 2**25
LEAST_BYTES = 2**26  # however little memory is free: enough to decode an image of 8 million pixels

_thread = threading.local()


class Budget:
    """A number of bytes that threads share.

    Threads cannot deadlock: each takes from budgets of lower order first, and from each budget once.

    Args:
        order: position among all budgets.
        most: upper limit in bytes.
        share: upper limit as a share of the memory that is free at the first use.
    """

    def __init__(self, order: int, most: int, share: float) -> None:
        self.order = order
        self.most = most
        self.share = share
        self.reset()

    def reset(self) -> None:
        """Release everything, as after a fork, and measure free memory again at the next use."""
        self.changed = threading.Condition()
        self.taken = 0
        self.measured: int | None = None

    @property
    def total(self) -> int:
        """The limit in bytes."""
        if self.measured is None:
            free = free_bytes(torch.device("cpu"))
            self.measured = self.most if free is None else min(self.most, max(LEAST_BYTES, int(self.share * free)))
        return self.measured

    @contextlib.contextmanager
    def hold(self, num_bytes: int, what: str) -> Iterator[None]:
        """Reserve bytes until the block, or a surrounding ``hold_image_memory``, ends; wait until they are free.

        Args:
            num_bytes: number of bytes.
            what: what needs them, for the message.

        Raises:
            UnreadableImage: ``num_bytes`` exceeds the whole budget.
        """
        if num_bytes > self.total:
            needed, most = num_bytes / 2**20, self.total / 2**20
            limit = f"but the limit is {most:,.0f} MiB"
            raise UnreadableImage(f"{what} need {needed:,.0f} MiB of memory, {limit}; make the image smaller")
        held: dict[Budget, int] | None = getattr(_thread, "held", None)
        for budget in [budget for budget in held or () if budget.order >= self.order]:
            budget.release((held or {}).pop(budget))  # of the previous image in the same block
        self._take(num_bytes)
        if held is not None:
            held[self] = num_bytes
            yield
            return
        try:
            yield
        finally:
            self.release(num_bytes)

    def _take(self, num_bytes: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.taken + num_bytes <= self.total)
            self.taken += num_bytes

    def release(self, num_bytes: int) -> None:
        """Release bytes; return large amounts to the system too, since otherwise each thread's allocator keeps them."""
        if num_bytes > LARGE_BYTES:
            return_freed_memory()
        with self.changed:
            self.taken -= num_bytes
            self.changed.notify_all()


FILES = Budget(0, FILES_BYTES, 1 / 8)
DECODING = Budget(1, DECODING_BYTES, 1 / 4)


@contextlib.contextmanager
def hold_image_memory() -> Iterator[None]:
    """Keep the memory reserved for reading an image until the block ends, for whatever uses the decoded image."""
    outer = getattr(_thread, "held", None)
    held: dict[Budget, int] = {}
    _thread.held = held
    try:
        yield
    finally:
        _thread.held = outer
        for budget, num_bytes in held.items():
            budget.release(num_bytes)


def _after_fork() -> None:
    _thread.__dict__.clear()
    FILES.reset()
    DECODING.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
