"""A block in which nothing may wait for the GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["unwaited"]


@contextmanager
def unwaited() -> Iterator[None]:
    """Raise where the program waits for the GPU, as far as PyTorch notices it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that it does not notice every wait
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
