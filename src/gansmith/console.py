"""Output to terminals and notebooks, and signals: progress bars, lines, images, Ctrl-C."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = [
    "make_console",
    "open_notebook_line",
    "print_lines",
    "print_plain",
    "show",
    "stop_on_signal",
    "work_progress",
]

UPDATE_SECONDS = 0.25  # between two updates of a line in a notebook


@contextmanager
def work_progress(what: str, console: Console | None = None) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that draws a progress bar, or a count in a notebook; elsewhere it prints one line.

    Args:
        what: the work, such as "preparing images".
        console: the console; None takes standard output.
    """
    console = console or make_console()
    columns = [TextColumn(what, markup=False), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn()]
    with open_notebook_line() as update:
        if update is not None:
            yield lambda done, total: update(f"{what} {done:,} of {total:,}")
            return
    if not console.is_terminal:
        calls = itertools.count()
        yield lambda done, total: None if next(calls) else print_plain(console, f"{what} ...")
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def make_console(*, quiet: bool = False) -> Console:
    """Return a console that prints plain text in notebooks too, where rich would need ipywidgets."""
    return Console(quiet=quiet, force_jupyter=False)


@contextmanager
def open_notebook_line() -> Iterator[Callable[[str], None] | None]:
    """Yield a function that shows a text in a notebook, in place of the one before; None outside of notebooks.

    It updates at most four times a second, so short work shows nothing. When the block ends, the line is empty.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if ipython is None or not hasattr(shell, "kernel"):
        yield None
        return
    handle: Any = None
    latest = time.monotonic()

    def update(text: str) -> None:
        nonlocal handle, latest
        if (now := time.monotonic()) - latest < UPDATE_SECONDS:
            return
        latest = now
        if handle is None:
            handle = ipython.display.display({"text/plain": text}, raw=True, display_id=True)
        else:
            handle.update({"text/plain": text}, raw=True)

    try:
        yield update
    finally:
        if handle is not None:
            handle.update({"text/plain": ""}, raw=True)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C, SIGTERM or SIGHUP was received; a second Ctrl-C interrupts at once.

    Outside the main thread, it always returns False.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ignored = [number for number in known if signal.getsignal(number) == signal.SIG_IGN]  # for example by nohup
    before = {number: signal.signal(number, ask) for number in known if number not in ignored}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(picture: Path) -> None:
    """Display an image in a notebook; elsewhere print its path."""
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display(ipython.display.Image(filename=str(picture)))
    else:
        print(picture, flush=True)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines without interpreting markup or wrapping."""
    for line in lines:
        print_plain(console, line)


def print_plain(console: Console, line: str) -> None:
    """Print a line without interpreting markup or wrapping."""
    console.print(line, highlight=False, soft_wrap=True, markup=False)
