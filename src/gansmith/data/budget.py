"""Memory that all threads which decode images share: each asks before it takes, and waits while too little is left."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

from gansmith.devices import free_bytes, return_freed_memory
from gansmith.errors import UnreadableImage

__all__ = ["DECODING", "DECODING_BYTES", "FILES", "FILES_BYTES", "Budget", "one_image"]

DECODING_BYTES = 2**30  # of images while they are decoded and converted, by all threads together
FILES_BYTES = 2**29  # of the files that they are decoded from
LARGE_BYTES = 2**25
LEAST_BYTES = 2**26  # whatever is free: an image of 8 million pixels can be decoded

_thread = threading.local()


class Budget:
    """Bytes that threads share.

    No two threads wait for each other: each asks for bytes of a lower order first, and for each order once.

    Args:
        order: among all budgets.
        most: bytes in all.
        share: of the memory that is free when the first thread asks, if that is less.
    """

    def __init__(self, order: int, most: int, share: float) -> None:
        self.order = order
        self.most = most
        self.share = share
        self.reset()

    def reset(self) -> None:
        """Forget who holds what, as after a fork, and measure free memory anew."""
        self.changed = threading.Condition()
        self.taken = 0
        self.measured: int | None = None

    @property
    def total(self) -> int:
        """Bytes in all."""
        if self.measured is None:
            free = free_bytes(torch.device("cpu"))
            self.measured = self.most if free is None else min(self.most, max(LEAST_BYTES, int(self.share * free)))
        return self.measured

    @contextlib.contextmanager
    def holding(self, num_bytes: int, what: str) -> Iterator[None]:
        """Hold some bytes for the block, or to the end of the surrounding ``one_image``; wait until they are free.

        Args:
            num_bytes: how many.
            what: needs them, for the message.

        Raises:
            UnreadableImage: more than the whole budget.
        """
        if num_bytes > self.total:
            needed, most = num_bytes / 2**20, self.total / 2**20
            limit = f"at most {most:,.0f} MiB of what is free are used"
            raise UnreadableImage(f"{what} need {needed:,.0f} MiB of memory, but {limit}; make the image smaller")
        held: dict[Budget, int] | None = getattr(_thread, "held", None)
        for budget in [budget for budget in held or () if budget.order >= self.order]:
            budget.give((held or {}).pop(budget))  # an image before this one, which is done with
        self._take(num_bytes)
        if held is not None:
            held[self] = num_bytes
            yield
            return
        try:
            yield
        finally:
            self.give(num_bytes)

    def _take(self, num_bytes: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.taken + num_bytes <= self.total)
            self.taken += num_bytes

    def give(self, num_bytes: int) -> None:
        """Give back what was held; much of it to the system too, or each thread would keep its own."""
        if num_bytes > LARGE_BYTES:
            return_freed_memory()
        with self.changed:
            self.taken -= num_bytes
            self.changed.notify_all()


FILES = Budget(0, FILES_BYTES, 1 / 8)
DECODING = Budget(1, DECODING_BYTES, 1 / 4)


@contextlib.contextmanager
def one_image() -> Iterator[None]:
    """Keep what reading an image takes until the block ends, for all that is done with it after it is decoded."""
    outer = getattr(_thread, "held", None)
    held: dict[Budget, int] = {}
    _thread.held = held
    try:
        yield
    finally:
        _thread.held = outer
        for budget, num_bytes in held.items():
            budget.give(num_bytes)


def _after_fork() -> None:
    _thread.__dict__.clear()
    FILES.reset()
    DECODING.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
