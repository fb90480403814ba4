"""What else happens on the way, at intervals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gansmith.component import Component
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Duration, Progress

__all__ = ["CALLBACKS", "Callback", "LossLine", "Moment"]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a callback is told.

    Args:
        progress: how far training has come.
        losses: the last step's mean statistics, as in stats.jsonl ("loss/generator", ...).
        generator: the networks of now, to sample from.
        run: the files.
    """

    progress: Progress
    losses: Mapping[str, float]
    generator: TrainedGenerator
    run: RunFolder

    def echo(self, line: str) -> None:
        """Say a line to the user."""
        print(line, flush=True)


@dataclass(frozen=True, kw_only=True)
class Callback(Component):
    """Something that happens at intervals.

    Args:
        every: how often.
    """

    table: ClassVar[str] = "gansmith.training.callbacks:CALLBACKS"

    every: Duration = Duration(5, "%")

    @abstractmethod
    def call(self, moment: Moment) -> None:
        """Do it; only the main process does."""


@dataclass(frozen=True, kw_only=True)
class LossLine(Callback):
    """Print both losses, as document 001 words it: its "epochs" are generator updates."""

    every: Duration = Duration(2000, "steps")

    def call(self, moment: Moment) -> None:
        generator, discriminator = moment.losses["loss/generator"], moment.losses["loss/discriminator"]
        epoch = moment.progress.step
        moment.echo(f"Epoch: {epoch}, Generator Loss: {generator:.4f}, Discriminator Loss: {discriminator:.4f}")


CALLBACKS: dict[str, type[Callback] | str] = {"loss-line": LossLine}
