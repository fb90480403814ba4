"""Callbacks: listeners that the configuration names, built in or written by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gansmith.component import Component
from gansmith.schedules import Duration
from gansmith.training.listeners import Listener, Training

__all__ = ["CALLBACKS", "Callback", "LossLine"]


@dataclass(frozen=True, kw_only=True)
class Callback(Component, Listener):
    """A listener with settings. Define ``call`` for something to do at intervals, or any event of ``Listener``.

    A callback keeps nothing in memory, so that a resumed run behaves like an uninterrupted one: what it needs of the
    past is in the run folder. It may stop the training with ``Training.ask_to_stop``.

    Args:
        every: how often ``call`` is called.
    """

    table: ClassVar[str] = "gansmith.training.callbacks:CALLBACKS"

    every: Duration = Duration(5, "%")

    def step(self, training: Training) -> None:
        """Call ``call`` if the interval has elapsed."""
        if self.every.due(training.before, training.progress, training.length):
            self.call(training)

    def call(self, training: Training) -> None:
        """Act; only the main process does."""


@dataclass(frozen=True, kw_only=True)
class LossLine(Callback):
    """Print both losses in one line; its "Epoch" counts generator updates."""

    every: Duration = Duration(2000, "steps")

    def call(self, training: Training) -> None:
        generator, discriminator = training.losses["loss/generator"], training.losses["loss/discriminator"]
        epoch = training.progress.step
        training.echo(f"Epoch: {epoch}, Generator Loss: {generator:.4f}, Discriminator Loss: {discriminator:.4f}")


CALLBACKS: dict[str, type[Callback] | str] = {"loss-line": LossLine}
