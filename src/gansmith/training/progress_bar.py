"""The progress of a training: a bar on a terminal or in a notebook, lines at intervals elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gansmith import dist, schedules
from gansmith.console import make_console, open_notebook_line, print_plain, work_progress
from gansmith.metrics.measurement import Measurement
from gansmith.schedules import Duration
from gansmith.training.listeners import Listener, Training

__all__ = ["learning_progress", "open_console", "open_progress"]

BAR_WIDTH = 24  # characters
WORTH_SAYING = 1.0  # seconds of learning after which its expected length is printed


def open_console() -> Console:
    """Return a console that prints in the main process only."""
    return make_console(quiet=not dist.is_main())


@contextmanager
def open_progress(length: Duration, console: Console | None = None) -> Iterator[Listener]:
    """Yield a listener that shows the progress of a training until the block ends."""
    console = console or make_console()
    with open_notebook_line() as update:
        if update is not None:
            yield _NotebookBar(update, length, console)
            return
    if not console.is_terminal:
        yield _Lines(console, length)
        return
    columns = [
        BarColumn(bar_width=BAR_WIDTH),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        yield _Bar(bar, length)


@contextmanager
def learning_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback (done, total) for the training of a feature extractor; print its expected length once."""
    calls: list[tuple[float, int]] = []  # the first one, and the one after which the length was printed

    with work_progress("training the feature extractor", console) as show:

        def tell(done: int, total: int) -> None:
            show(done, total)
            now = time.perf_counter()
            if not calls:
                calls.append((now, done))
            elif len(calls) == 1 and now - calls[0][0] >= WORTH_SAYING:
                calls.append((now, done))
                seconds = (now - calls[0][0]) * total / (done - calls[0][1])
                skip = "skip it with --tracking none"
                print_plain(console, f"     this takes about {seconds:.0f} s, once for these images; {skip}")

        yield tell


class _Summary(Listener):
    """Keeps what was reported last, for one line."""

    def __init__(self, length: Duration, console: Console) -> None:
        self.length, self.console = length, console
        self.losses = self.values = self.last_picture = ""

    def describe(self, progress: schedules.Progress) -> str:
        """Return counts, losses, metric values and the path of the last picture."""
        return f"step {progress.step}, {progress.nimg / 1000:.0f} kimg{self.losses}{self.values}{self.last_picture}"

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        self.losses = f" · {_losses(record)}"

    def picture(self, training: Training, path: Path) -> None:
        self.last_picture = f" · {path}"

    def measurement(self, training: Training, measurement: Measurement) -> None:
        self.values = f" · {_values(measurement)}"

    def notice(self, training: Training, sentence: str) -> None:
        print_plain(self.console, sentence)


class _Bar(_Summary):
    def __init__(self, bar: Progress, length: Duration) -> None:
        super().__init__(length, bar.console)
        self.bar = bar
        self.task: TaskID = bar.add_task("starting", total=1.0)

    def step(self, training: Training) -> None:
        fraction = self.length.fraction(training.progress)
        self.bar.update(self.task, completed=fraction, description=self.describe(training.progress))


class _NotebookBar(_Summary):
    def __init__(self, update: Callable[[str], None], length: Duration, console: Console) -> None:
        super().__init__(length, console)
        self.update = update

    def step(self, training: Training) -> None:
        fraction, left = _fraction_and_left(self.length, training.progress)
        done = round(BAR_WIDTH * fraction)
        bar = "━" * done + "╌" * (BAR_WIDTH - done)
        self.update(f"{bar} {fraction:4.0%} {left} left · {self.describe(training.progress)}")


class _Lines(Listener):
    def __init__(self, console: Console, length: Duration) -> None:
        self.console, self.length = console, length

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        progress = training.progress
        fraction, left = _fraction_and_left(self.length, progress)
        done = f"{fraction:4.0%} step {progress.step}, {progress.nimg / 1000:.0f} kimg"
        line = f"{done}, {_losses(record)}, {left} left"
        print_plain(self.console, line)

    def picture(self, training: Training, path: Path) -> None:
        print_plain(self.console, f"     {path}")

    def measurement(self, training: Training, measurement: Measurement) -> None:
        print_plain(self.console, f"     {_values(measurement)}")

    def notice(self, training: Training, sentence: str) -> None:
        print_plain(self.console, f"     {sentence}")


def _fraction_and_left(length: Duration, progress: schedules.Progress) -> tuple[float, str]:
    """Return the share of the training that is done, and the time left."""
    fraction = length.fraction(progress)
    return fraction, _clock(progress.seconds * (1 - fraction) / max(fraction, 1e-9))


def _losses(record: Mapping[str, float]) -> str:
    generator, discriminator = (record.get(f"loss/{network}", math.nan) for network in ("generator", "discriminator"))
    return f"G {generator:.3f} D {discriminator:.3f}, {record['speed/images_per_second']:.0f} img/s"


def _values(measurement: Measurement) -> str:
    failures = [f"{metric} cannot be measured: {why}" for metric, why in measurement.failures.items()]
    return ", ".join([*(f"{name} {estimate.value:.4g}" for name, estimate in measurement.values.items()), *failures])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
