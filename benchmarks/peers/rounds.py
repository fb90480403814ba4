"""Rounds of a speed measurement: a process prepares itself, then works for some seconds on each request.

It answers in lines of JSON: first a line with "ready", then one line for each request, a number of seconds. Several
processes can thus take turns, and none is measured while another works. Needs only Python, because every contender has
its own environment.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["peak_memory_mib", "serve", "timed"]


def serve(measure: Callable[[float], dict[str, Any]], **about: Any) -> None:
    """Say that this process is ready, and work when told to.

    Args:
        measure: given seconds, works for about as long and says what it found.
        about: what else is to be known of this process.
    """
    print(json.dumps({"ready": True, **about}), flush=True)
    for line in sys.stdin:
        print(json.dumps({**measure(float(line)), "peak_memory_mib": peak_memory_mib()}), flush=True)


def timed(
    step: Callable[[], object], images: int, *, wait: Callable[[], object] = lambda: None
) -> Callable[[float], dict[str, Any]]:
    """A measurement of a training step, by the clock and by the processor's time, which other work disturbs less.

    Args:
        step: one step, or as many as there are before the work repeats.
        images: that it trains on.
        wait: until the device has done what it was given.
    """

    def measure(seconds: float) -> dict[str, Any]:
        wait()
        steps, began, worked = 0, time.perf_counter(), time.process_time()
        while steps == 0 or time.perf_counter() - began < seconds:
            step()
            steps += 1
        wait()
        passed, worked = time.perf_counter() - began, time.process_time() - worked
        return {
            "steps": steps,
            "seconds": round(passed, 3),
            "images_per_second": round(steps * images / passed, 2),
            "images_per_cpu_second": round(steps * images / worked, 2),
        }

    return measure


def peak_memory_mib() -> int:
    """Return the largest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
