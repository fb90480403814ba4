"""Show the progress of a study: a bar for each running cell and one for all, or plain lines without a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress
from rich.console import Console

from gansmith.errors import GansmithError
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_lines
from gansmith.runs import RunFolder
from gansmith.schedules import Progress
from gansmith.study.plan import Cell
from gansmith.study.results import State

__all__ = ["StudyProgress", "read_progress", "show_progress"]


class StudyProgress:
    """Prints a line for each event; on a terminal, draws bars of the running cells and of all.

    Args:
        console: where to print.
        bars: None without a terminal.
        all_cells: of the study, done or not.
    """

    def __init__(self, console: Console, bars: progress.Progress | None, all_cells: Sequence[Cell]) -> None:
        self.console, self.bars = console, bars
        self.done, self.total = sum(cell.done for cell in all_cells), len(all_cells)
        self.tasks: dict[str, progress.TaskID] = {}
        if bars is not None:
            self.all = bars.add_task("all", total=self.total, completed=self.done, text=self._count())

    def begin(self, cell: Cell) -> None:
        """Show that a cell's process has started."""
        if self.bars is None:
            self._print(f"begins    {cell.title}")
        else:
            self.tasks[cell.title] = self.bars.add_task(cell.title, total=1.0, text="starting")

    def update(self, cell: Cell, run: Path) -> None:
        """Show how far a running cell is, from its folder."""
        if self.bars is not None:
            fraction, text = read_progress(cell, run)
            self.bars.update(self.tasks[cell.title], completed=fraction, text=text)

    def end(self, cell: Cell, state: State, reason: str) -> None:
        """Show that a cell's process has ended."""
        self.done += state in ("finished", "diverged")
        self._print(f"{state:9} {cell.title} ({self.done} of {self.total} done){': ' if reason else ''}{reason}")
        if self.bars is not None:
            self.bars.remove_task(self.tasks.pop(cell.title))
            self.bars.update(self.all, completed=self.done, text=self._count())

    def stopping(self, running: int) -> None:
        """Show that a stop was requested and how many cells are saving."""
        self._print(f"stopping: {running} running, saving first; press Ctrl-C again to end them at once")

    def _count(self) -> str:
        return f"{self.done} of {self.total} runs done"

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def show_progress(all_cells: Sequence[Cell], console: Console) -> Iterator[StudyProgress]:
    """Show progress while the block runs.

    Args:
        all_cells: of the study, done or not.
        console: where to print.
    """
    if not console.is_terminal:
        yield StudyProgress(console, None, all_cells)
        return
    columns = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[text]}", markup=False),
    ]
    with progress.Progress(*columns, console=console, transient=True) as bars:
        yield StudyProgress(console, bars, all_cells)


def read_progress(cell: Cell, run: Path) -> tuple[float, str]:
    """Return the share of a cell's training that is done, and a few words, from its folder."""
    try:
        folder = RunFolder.open(run)
        lines = list(read_lines(folder.stats, _progress))
        measurements = list(read_lines(folder.metrics, Measurement.from_plain))
    except (GansmithError, OSError):
        return 0.0, "starting"
    if not lines:
        return 0.0, "training"
    now = lines[-1]
    fraction = cell.config.length.fraction(now)
    doing = "evaluating" if fraction >= 1 else f"{now.nimg / 1000:.0f} kimg"
    return fraction, ", ".join([doing, *_newest_values(measurements)])


def _progress(record: dict[str, Any]) -> Progress:
    nimg, epoch = int(record["progress/nimg"]), float(record["progress/epoch"])
    return Progress(
        nimg=nimg,
        step=int(record["progress/step"]),
        seconds=float(record["progress/seconds"]),
        epoch_size=max(1, round(nimg / max(epoch, 1e-9))),
    )


def _newest_values(measurements: list[Measurement]) -> list[str]:
    tracked = [line for line in measurements if line.kind == "tracking"]
    values = tracked[-1].values if tracked else {}
    return [f"{name} {estimate.value:.3g}" for name, estimate in values.items()]
