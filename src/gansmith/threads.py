"""Lets threads that wait sleep instead of spinning, while other programs need the processor cores."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import torch

__all__ = ["hold_teams", "share_cores"]

_TASKS = Path("/proc/self/task")
OWN_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # of the user, who then decides how threads wait
INTERVAL = 0.5  # seconds between two looks
SCARCE, PLENTY = 0.3, 0.1  # seconds per second that this process's threads waited for a core, all together
CALM = 4  # looks in a row that find plenty of cores before threads spin again
MOST_TEAMS = 4
PARALLEL = 2**18  # elements; torch computes an operation on so many with several threads


@contextmanager
def share_cores() -> Iterator[None]:
    """In this block, let waiting threads sleep for as long as other programs need the cores; on Linux only.

    PyTorch's threads (GNU's OpenMP) spin for milliseconds when they wait for each other. Alone, that is fastest. Beside
    other programs, a thread spins while the thread that it waits for has no core, and a step can take fifty times as
    long. GNU's OpenMP hardly spins if a process has more OpenMP threads than it has cores. So while threads have to
    wait for cores, some idle ones are added. The number of threads that compute, and all results, stay the same.

    Nothing is done with one thread, or if OMP_WAIT_POLICY or GOMP_SPINCOUNT is set.
    """
    num = _num_teams(torch.get_num_threads())
    if not num or _waited() is None or any(name in os.environ for name in OWN_SETTINGS):
        yield
        return
    ended = threading.Event()
    watch = threading.Thread(target=_watch, args=(num, ended), name="share-cores", daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()


@contextmanager
def hold_teams(num: int) -> Iterator[None]:
    """In this block, keep ``num`` idle teams of OpenMP threads."""
    ended = threading.Event()
    ready = threading.Barrier(num + 1)
    teams = [threading.Thread(target=_idle, args=(ready, ended), daemon=True) for _ in range(num)]
    for team in teams:
        team.start()
    ready.wait()
    try:
        yield
    finally:
        ended.set()
        for team in teams:
            team.join()


def _idle(ready: threading.Barrier, ended: threading.Event) -> None:
    """Start a team: OpenMP gives each thread that computes in parallel its own, which ends with it."""
    torch.zeros(PARALLEL).add_(1)
    ready.wait()
    ended.wait()


def _watch(num: int, ended: threading.Event) -> None:
    """Hold idle teams while cores are scarce."""
    with ExitStack() as stack:
        calm, holding = 0, False
        for share in _shares(ended):
            calm = calm + 1 if share < PLENTY else 0
            if share > SCARCE and not holding:
                stack.enter_context(hold_teams(num))
                holding = True
            elif calm >= CALM and holding:
                stack.close()
                holding = False


def _shares(ended: threading.Event) -> Iterator[float]:
    """Yield at each look the seconds per second that threads have waited for a core since the last."""
    waited, seen = _waited() or 0.0, time.perf_counter()
    while not ended.wait(INTERVAL):
        now, at = _waited() or 0.0, time.perf_counter()
        yield (now - waited) / (at - seen)
        waited, seen = now, at


def _waited() -> float | None:
    """Return the seconds that this process's threads have been ready to run without a core; None if unknown."""
    nanoseconds = []
    for task in _TASKS.glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):  # the thread has ended
            nanoseconds.append(int(task.read_text("utf-8").split()[1]))
    return sum(nanoseconds) / 1e9 if nanoseconds else None


def _num_teams(threads: int) -> int:
    """Return how many idle teams make more OpenMP threads than cores; 0 if threads do not compete for cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    if threads < 2 or not cores:
        return 0
    needed = max(1, math.ceil((cores - threads + 1) / (threads - 1)))
    return needed if needed <= MOST_TEAMS else 0
