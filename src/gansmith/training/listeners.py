"""Listeners: what receives the events of a training. Progress bar, loggers and callbacks are listeners.

Listeners live in the main process only. An event that a class does not define does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Duration, Progress

if TYPE_CHECKING:
    from gansmith.training.state import TrainState

__all__ = ["Broadcast", "Listener", "Training"]


@dataclass(kw_only=True, eq=False)
class Training:
    """The running training, as a listener sees it.

    Args:
        state: networks, optimizers, statistics, counts.
        generator: draws samples with the current weights, averaged if the run averages them.
        run: the run folder.
        before: the progress before the last step.
        stop_reason: why a listener asked to stop; "" if none did.
    """

    state: TrainState
    generator: TrainedGenerator
    run: RunFolder
    before: Progress
    stop_reason: str = ""

    @property
    def progress(self) -> Progress:
        """Images seen, steps and seconds so far."""
        return self.state.progress

    @property
    def length(self) -> Duration:
        """How long to train."""
        return self.state.config.length

    @property
    def losses(self) -> Mapping[str, float]:
        """The mean statistics of the last step, by their names in stats.jsonl ("loss/generator", ...)."""
        return self.state.statistics.last_means()

    def echo(self, line: str) -> None:
        """Print a line for the user."""
        print(line, flush=True)

    def ask_to_stop(self, reason: str) -> None:
        """Stop after this step, as Ctrl-C does: a checkpoint is saved, and the run can be resumed.

        Args:
            reason: a clause for the user, such as "FID has not improved for 10 measurements".
        """
        self.stop_reason = reason


class Listener:
    """Receives the events of a training; each does nothing by default."""

    def step(self, training: Training) -> None:
        """A step has ended."""

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        """A line of stats.jsonl has been written."""

    def picture(self, training: Training, path: Path) -> None:
        """Samples have been written; ``path`` is one of their files."""

    def measurement(self, training: Training, measurement: Measurement) -> None:
        """The tracked metric has been measured."""

    def notice(self, training: Training, sentence: str) -> None:
        """Something has happened that the user should know."""

    def close(self) -> None:
        """The training has ended, one way or another."""


class Broadcast(Listener):
    """Passes each event to several listeners, in order."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners

    def step(self, training: Training) -> None:
        for listener in self.listeners:
            listener.step(training)

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        for listener in self.listeners:
            listener.statistics(training, record)

    def picture(self, training: Training, path: Path) -> None:
        for listener in self.listeners:
            listener.picture(training, path)

    def measurement(self, training: Training, measurement: Measurement) -> None:
        for listener in self.listeners:
            listener.measurement(training, measurement)

    def notice(self, training: Training, sentence: str) -> None:
        for listener in self.listeners:
            listener.notice(training, sentence)
