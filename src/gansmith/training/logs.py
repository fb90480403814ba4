"""The logs of a run: checked before it begins, opened with it, and never the reason why it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gansmith.component import member_name
from gansmith.errors import ConfigError, GansmithError
from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.training.listeners import Listener, Training
from gansmith.training.loggers import Logger

__all__ = ["check_loggers", "open_logs"]


def check_loggers(loggers: Sequence[Logger], run: RunFolder | None = None) -> list[str]:
    """Check, before anything is made, that all loggers can be opened.

    Args:
        loggers: of the configuration.
        run: the run that is continued; None for a new one.

    Returns:
        Notes for the user.

    Raises:
        GansmithError: one cannot be opened.
    """
    notes: list[str] = []
    for logger in loggers:
        with _named(logger):
            notes += logger.check(run)
    return notes


@contextlib.contextmanager
def open_logs(
    loggers: Sequence[Logger], run: RunFolder, config: Mapping[str, Any], tell: Callable[[str], None], made: list[Path]
) -> Iterator[list[Listener]]:
    """Open the logs, and close them after the block. A log that fails while training is reported once and closed.

    Args:
        loggers: of the configuration.
        run: where they may write.
        config: the configuration, plain.
        tell: receives a sentence if a log fails.
        made: receives the paths that loggers add to the run folder.

    Raises:
        GansmithError: one cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        logs: list[Listener] = []
        for logger in loggers:
            before = set(run.path.iterdir())
            try:
                with _named(logger):
                    log = _Guarded(logger.open(run, config), member_name(logger), tell)
            finally:
                made += set(run.path.iterdir()) - before
            logs.append(log)
            stack.callback(log.close)
        yield logs


@contextlib.contextmanager
def _named(logger: Logger) -> Iterator[None]:
    """Turn whatever a logger raises into an error of one line."""
    try:
        yield
    except GansmithError:
        raise
    except Exception as error:
        name = member_name(logger)
        raise ConfigError(
            f"config.loggers: '{name}' cannot be opened ({_reason(error)}); mend this, or leave the logger out"
        ) from error


class _Guarded(Listener):
    """A log whose first failure is reported and ends the log, not the training.

    Args:
        log: the log.
        name: of its logger.
        tell: receives the sentence.
    """

    def __init__(self, log: Listener, name: str, tell: Callable[[str], None]) -> None:
        self.log, self.name, self.tell, self.failed = log, name, tell, False

    def step(self, training: Training) -> None:
        self._attempt(lambda log: log.step(training))

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        self._attempt(lambda log: log.statistics(training, record))

    def picture(self, training: Training, path: Path) -> None:
        self._attempt(lambda log: log.picture(training, path))

    def notice(self, training: Training, sentence: str) -> None:
        self._attempt(lambda log: log.notice(training, sentence))

    def measurement(self, training: Training, measurement: Measurement) -> None:
        self._attempt(lambda log: log.measurement(training, measurement))

    def close(self) -> None:
        if self.failed:
            with contextlib.suppress(Exception):  # the failure was reported
                self.log.close()
        self._attempt(lambda log: log.close())

    def _attempt(self, write: Callable[[Listener], None]) -> None:
        if self.failed:
            return
        try:
            write(self.log)
        except Exception as error:
            self.failed = True
            self.tell(f"the logger '{self.name}' failed and logs no more, but training goes on: {_reason(error)}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
