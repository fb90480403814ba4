"""What a person sees while training: a progress bar, or a plain line an interval when not on a terminal."""

from __future__ import annotations

import itertools
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gansmith import schedules
from gansmith.metrics.judgement import Judgement
from gansmith.schedules import Duration
from gansmith.training import Watcher

__all__ = ["show", "stop_on_signal", "watching", "work_progress"]


@contextmanager
def watching(length: Duration, console: Console | None = None) -> Iterator[Watcher]:
    """A watcher that tells the user how training goes, for as long as the block lasts."""
    console = console or Console()
    if not (console.is_terminal or console.is_jupyter):
        yield _Lines(console, length)
        return
    columns = [
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, length)


@contextmanager
def work_progress(what: str, console: Console | None = None) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) that draws a bar while work is done; elsewhere than on a terminal, one line.

    Args:
        what: the work: "preparing images".
        console: where to draw.
    """
    console = console or Console()
    columns = [TextColumn(what, markup=False), BarColumn(bar_width=24), TaskProgressColumn(), TimeRemainingColumn()]
    if not console.is_terminal:
        calls = itertools.count()
        yield lambda done, total: None if next(calls) else _print_plain(console, f"{what} ...")
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C, SIGTERM or SIGHUP came; a second Ctrl-C interrupts at once. Outside the main thread, never."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ignored = [number for number in known if signal.getsignal(number) == signal.SIG_IGN]  # by nohup, for one
    before = {number: signal.signal(number, ask) for number in known if number not in ignored}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def show(picture: Path) -> None:
    """Display a picture in a notebook; elsewhere say where it is."""
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display(ipython.display.Image(filename=str(picture)))
    else:
        print(picture, flush=True)


class _Bar(Watcher):
    def __init__(self, bar: Progress, length: Duration) -> None:
        self.bar, self.length = bar, length
        self.task: TaskID = bar.add_task("starting", total=1.0)
        self.losses = self.figures = self.last_picture = ""

    def step(self, progress: schedules.Progress) -> None:
        text = f"step {progress.step}, {progress.nimg / 1000:.0f} kimg{self.losses}{self.figures}{self.last_picture}"
        self.bar.update(self.task, completed=self.length.fraction(progress), description=text)

    def interval(self, progress: schedules.Progress, record: dict[str, float]) -> None:
        self.losses = f" · {_losses(record)}"

    def picture(self, path: str) -> None:
        self.last_picture = f" · {path}"

    def judgement(self, judgement: Judgement) -> None:
        self.figures = f" · {_figures(judgement)}"

    def notice(self, sentence: str) -> None:
        _print_plain(self.bar.console, sentence)


class _Lines(Watcher):
    def __init__(self, console: Console, length: Duration) -> None:
        self.console, self.length = console, length

    def step(self, progress: schedules.Progress) -> None:
        pass

    def interval(self, progress: schedules.Progress, record: dict[str, float]) -> None:
        fraction = self.length.fraction(progress)
        left = progress.seconds * (1 - fraction) / max(fraction, 1e-9)
        done = f"{fraction:4.0%} step {progress.step}, {progress.nimg / 1000:.0f} kimg"
        line = f"{done}, {_losses(record)}, {_clock(left)} left"
        _print_plain(self.console, line)

    def picture(self, path: str) -> None:
        _print_plain(self.console, f"     {path}")

    def judgement(self, judgement: Judgement) -> None:
        _print_plain(self.console, f"     {_figures(judgement)}")

    def notice(self, sentence: str) -> None:
        _print_plain(self.console, f"     {sentence}")


def _print_plain(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)


def _losses(record: dict[str, float]) -> str:
    generator, discriminator = (record.get(f"loss/{network}", math.nan) for network in ("generator", "discriminator"))
    return f"G {generator:.3f} D {discriminator:.3f}, {record['speed/images_per_second']:.0f} img/s"


def _figures(judgement: Judgement) -> str:
    failures = [f"{metric} cannot be measured: {why}" for metric, why in judgement.failures.items()]
    return ", ".join([*(f"{name} {estimate.value:.4g}" for name, estimate in judgement.figures.items()), *failures])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
