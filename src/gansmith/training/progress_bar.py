"""How training goes, told to a person: its beginning and end, a progress bar, or a line an interval off a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gansmith import schedules
from gansmith.console import print_lines, print_plain
from gansmith.data.class_names import describe_classes
from gansmith.data.store import Store
from gansmith.errors import command
from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.schedules import Duration
from gansmith.training.loop import Watcher
from gansmith.training.state import TrainState
from gansmith.training.tracker import Tracker
from gansmith.types import ImageSpec

__all__ = ["introduce", "say_goodbye", "watching"]


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


def introduce(
    console: Console,
    folder: RunFolder,
    state: TrainState,
    store: Store,
    tracker: Tracker | None,
    reasons: Sequence[str],
    notes: Sequence[str],
) -> None:
    """Print what is trained on, with what and where.

    Args:
        console: where to print.
        folder: the run.
        state: the networks.
        store: the images.
        tracker: what measures on the way.
        reasons: of the automatic choices.
        notes: what the user should know.
    """
    config = state.config
    labels = "no labels"
    if store.labels is not None and config.use_labels:
        counts = np.bincount(store.labels, minlength=len(store.class_names)).tolist()
        there = [name for name, count in zip(store.class_names, counts, strict=True) if count]
        labels = f"{describe_classes(counts)} ({', '.join(there[:3])}{', ...' if len(there) > 3 else ''})"
    elif store.labels is not None:
        labels = f"its {len(store.class_names)} classes unused (--use_labels true trains with them)"
    spec = ImageSpec(height=state.spec.height, width=state.spec.width, channels=state.spec.channels)
    skipped = f", {len(store.skipped)} files skipped" if store.skipped else ""
    kept = f", {held_out:,} of them held out" if (held_out := len(store) - state.epoch_size) else ""
    judge = tracker.summary() if tracker else "nothing is measured on the way"
    lines = [
        f"data    {store.title}: {len(store):,} images{kept}, {spec}, {labels}{skipped}",
        *(f"auto    {reason}" for reason in reasons),
        f"model   {config.preset}: G {_millions(state.generator)}, D {_millions(state.discriminator)} weights",
        f"judge   {judge}",
        f"device  {state.compute.name}, {state.compute.precision}, {torch.get_num_threads()} threads",
        *(f"note    {note}" for note in notes),
        f"run     {folder.path}, {'from step ' + str(state.step) + ' ' if state.step else ''}for {config.length}",
    ]
    print_lines(console, lines)


def say_goodbye(console: Console, folder: RunFolder, state: TrainState, finished: bool) -> None:
    """Print how far training came, and what can be done next."""
    speed = state.nimg / max(state.seconds, 1e-9)
    verb = "finished" if finished else "stopped"
    again = "train on" if finished else "resume"
    longer = ' --length "..."' if finished else ""
    lines = [
        f"{verb} at step {state.step}, {state.nimg / 1000:.0f} kimg, {speed:.0f} img/s",
        f"look at    {folder.images}, {folder.animation('gif')}",
        f"sample     {command('sample', folder.path)}",
        f"{again:10} {command('resume', folder.path)}{longer}",
    ]
    print_lines(console, lines)


def _millions(network: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} M"


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

    def measurement(self, measurement: Measurement) -> None:
        self.figures = f" · {_figures(measurement)}"

    def notice(self, sentence: str) -> None:
        print_plain(self.bar.console, sentence)


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
        print_plain(self.console, line)

    def picture(self, path: str) -> None:
        print_plain(self.console, f"     {path}")

    def measurement(self, measurement: Measurement) -> None:
        print_plain(self.console, f"     {_figures(measurement)}")

    def notice(self, sentence: str) -> None:
        print_plain(self.console, f"     {sentence}")


def _losses(record: dict[str, float]) -> str:
    generator, discriminator = (record.get(f"loss/{network}", math.nan) for network in ("generator", "discriminator"))
    return f"G {generator:.3f} D {discriminator:.3f}, {record['speed/images_per_second']:.0f} img/s"


def _figures(measurement: Measurement) -> str:
    failures = [f"{metric} cannot be measured: {why}" for metric, why in measurement.failures.items()]
    return ", ".join([*(f"{name} {estimate.value:.4g}" for name, estimate in measurement.values.items()), *failures])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
