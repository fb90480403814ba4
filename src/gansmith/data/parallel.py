"""Runs a function over items in threads, in order and with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["map_in_order"]

MAX_THREADS = 8  # Pillow releases the interpreter's lock while it decodes, but the code around it holds it

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Compute results in threads and yield them in the order of the items, with few results waiting at a time.

    An exception in the function is raised here. Closing the iterator early stops the threads.
    """
    threads = min(os.cpu_count() or 1, MAX_THREADS)
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
