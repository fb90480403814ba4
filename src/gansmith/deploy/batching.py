"""Requests of several clients in one pass of the generator, with results that do not depend on who asked beside.

The last digits of a convolution depend on the batch size, but not on the place in a batch. So every pass has the same
number of images: a pass with fewer is filled with copies, which are thrown away.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gansmith.errors import GansmithError
from gansmith.types import Labels, Latents, PixelArray

__all__ = ["Batcher", "QueueFull", "find_fixed_size"]

Compute: TypeAlias = Callable[[Latents, Labels | None], PixelArray]
Network: TypeAlias = Callable[[Latents, Labels | None], Tensor]

MEMORY = 0.9  # weight of the past in the average of a pass's duration


class QueueFull(GansmithError):
    """The service cannot accept a request now.

    Args:
        message: why.
        retry_seconds: after which the client may try again.
    """

    def __init__(self, message: str, retry_seconds: int) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


@dataclass(eq=False)
class _Job:
    """A request: its latents and labels, and the images so far."""

    z: Latents
    labels: Labels | None
    future: Future[PixelArray] = field(default_factory=Future)
    images: dict[int, PixelArray] = field(default_factory=dict)

    def add(self, row: int, image: PixelArray) -> None:
        """Store the image of a row; after the last one, the job is done."""
        self.images[row] = image
        if len(self.images) == len(self.z):
            with suppress(InvalidStateError):  # the client no longer waits
                self.future.set_result(np.stack([self.images[i] for i in range(len(self.z))]))

    def fail(self, error: Exception) -> None:
        """Pass an error to who waits."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Batcher:
    """One queue of images, and one thread that generates them.

    Args:
        compute: generates images, uint8 [n h w c], from latents [n z] and labels [n].
        batch_size: number of images of every pass.
        wait_seconds: how long a pass with free places waits for further requests.
        most_waiting: limit of images in the queue.

    Attributes:
        report: is called after each pass with its number of images, without copies, and its seconds.
    """

    def __init__(self, compute: Compute, *, batch_size: int, wait_seconds: float, most_waiting: int) -> None:
        self._compute = compute
        self.report: Callable[[int, float], object] = lambda num, seconds: None
        self.batch_size, self.wait_seconds, self.most_waiting = batch_size, wait_seconds, most_waiting
        self._rows: deque[tuple[_Job, int]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._pass_seconds = 0.0

    @property
    def num_waiting(self) -> int:
        """Number of images in the queue."""
        return len(self._rows)

    @property
    def is_alive(self) -> bool:
        """Whether requests are accepted and answered."""
        return not self._closed and (self._thread is None or self._thread.is_alive())

    def submit(self, z: Latents, labels: Labels | None) -> Future[PixelArray]:
        """Queue latents [n z] with labels [n]; the future's result is uint8 [n h w c]. Cancel it to leave the queue.

        Raises:
            QueueFull: too many images wait, or the batcher is closed.
        """
        job = _Job(z, labels)
        with self._changed:
            if self._closed:
                raise QueueFull("the service is shutting down", 1)
            if self._rows and len(self._rows) + len(z) > self.most_waiting:
                raise QueueFull(f"{len(self._rows)} images are waiting; try again later", self._retry_seconds())
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gansmith-batcher", daemon=True)
                self._thread.start()
            self._rows.extend((job, row) for row in range(len(z)))
            self._changed.notify()
        return job.future

    def close(self, timeout: float | None = None) -> None:
        """Accept no further requests, and return when those in the queue are done, or after ``timeout`` seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _retry_seconds(self) -> int:
        return max(1, math.ceil(len(self._rows) / self.batch_size * self._pass_seconds))

    def _work(self) -> None:
        while True:
            rows = self._take()
            if rows:
                self._generate(rows)
            elif self._closed:
                return

    def _take(self) -> list[tuple[_Job, int]]:
        """Wait for images, then for a full batch or the end of the wait; return those of clients that still wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._closed)
            end = time.monotonic() + self.wait_seconds
            while len(self._rows) < self.batch_size and not self._closed and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            taken: list[tuple[_Job, int]] = []
            while self._rows and len(taken) < self.batch_size:
                job, row = self._rows.popleft()
                if not job.future.done():
                    taken.append((job, row))
            return taken

    def _generate(self, rows: list[tuple[_Job, int]]) -> None:
        began = time.perf_counter()
        filled = [*rows, *[rows[0]] * (self.batch_size - len(rows))]
        try:
            z = torch.stack([job.z[row] for job, row in filled])
            labels = [job.labels[row] for job, row in filled if job.labels is not None]
            images = self._compute(z, torch.stack(labels) if labels else None)
        except Exception as error:
            for job, _ in rows:
                job.fail(error)
            return
        seconds = time.perf_counter() - began
        self._pass_seconds = MEMORY * self._pass_seconds + (1 - MEMORY) * seconds if self._pass_seconds else seconds
        self.report(len(rows), seconds)
        for (job, row), image in zip(rows, images, strict=False):
            job.add(row, image)


def find_fixed_size(network: Network, z: Latents, labels: Labels | None) -> int:
    """Return the batch size at which an image does not depend on its place and neighbours: that of z, else 1.

    Args:
        network: computes images, before they are rounded to pixels.
        z: different latents to try, [n z].
        labels: their labels, [n].
    """
    images = network(z, labels)
    for shift in {1, len(z) // 2, len(z) - 1} & set(range(1, len(z))):
        order = (torch.arange(len(z)) + shift) % len(z)
        copies = order[:1].repeat(len(z))
        for rows in (order, copies):
            if not torch.equal(network(z[rows], None if labels is None else labels[rows]), images[rows]):
                return 1
    return len(z)
