"""Ranks that are threads of one process, for tests of what they exchange."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gansmith.errors import GansmithError

__all__ = ["Ranks"]


class Ranks:
    """Stands in for ``torch.distributed``: threads that wait for each other and see what all have brought."""

    def __init__(self, size: int) -> None:
        self.size, self.here = size, threading.local()
        self.meet, self.brought = threading.Barrier(size, timeout=20), list[Any]([None] * size)

    def run(self, function: Callable[[int], Any]) -> list[Any]:
        """What the function returns, or raises, on each rank."""
        found: list[Any] = [None] * self.size

        def one(rank: int) -> None:
            self.here.rank = rank
            try:
                found[rank] = function(rank)
            except (GansmithError, KeyError) as error:
                found[rank] = error

        threads = [threading.Thread(target=one, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def exchange(self, brought: Any) -> list[Any]:
        self.brought[self.here.rank] = copy.deepcopy(brought)
        self.meet.wait()
        found = list(self.brought)
        self.meet.wait()
        return found

    def is_initialized(self) -> bool:
        return True

    def get_rank(self) -> int:
        return int(self.here.rank)

    def get_world_size(self) -> int:
        return self.size

    def all_reduce(self, values: Tensor) -> None:
        values.copy_(torch.stack(self.exchange(values)).sum(0))

    def all_gather(self, places: list[Tensor], values: Tensor) -> None:
        for place, brought in zip(places, self.exchange(values), strict=True):
            assert place.shape == brought.shape and place.dtype == brought.dtype
            place.copy_(brought)

    def broadcast_object_list(self, objects: list[Any]) -> None:
        objects[:] = self.exchange(objects)[0]

    def barrier(self) -> None:
        self.exchange(None)
