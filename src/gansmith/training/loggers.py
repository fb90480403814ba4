"""Who is told the statistics, beside stats.jsonl: TensorBoard and Weights & Biases, both extras."""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gansmith.component import Component, member_name
from gansmith.errors import ConfigError, GansmithError, MissingExtra, RunError, explain
from gansmith.files import replacing
from gansmith.runs import RunFolder
from gansmith.training.wandb_key import ONLINE, try_key, wandb_mode, within

__all__ = ["LOGGERS", "LogWriter", "Logger", "TensorBoard", "WeightsAndBiases", "check_loggers", "open_logs"]

NIMG = "progress/nimg"
FINISH_SECONDS = 60  # in which what is left has to be uploaded when training ends


class LogWriter(ABC):
    """An open log."""

    @abstractmethod
    def statistics(self, record: Mapping[str, float]) -> None:
        """Add one line of stats.jsonl."""

    @abstractmethod
    def picture(self, path: Path, nimg: int) -> None:
        """Add a sheet of samples."""

    @abstractmethod
    def notice(self, sentence: str, nimg: int) -> None:
        """Add something that a person should know."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left and let go."""


@dataclass(frozen=True, kw_only=True)
class Logger(Component):
    """A log that can be opened for a run."""

    table: ClassVar[str] = "gansmith.training.loggers:LOGGERS"

    def check(self, run: RunFolder | None) -> Sequence[str]:
        """Find out, before anything is made or trained, whether the log can be opened; by default it can.

        Args:
            run: the run that is continued; None for a new one.

        Returns:
            notes for the user.

        Raises:
            GansmithError: it cannot be opened.
        """
        return ()

    @abstractmethod
    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        """Open it; continues what an earlier sitting of the same run wrote.

        Raises:
            MissingExtra: the package is not installed.
        """


@dataclass(frozen=True, kw_only=True)
class TensorBoard(Logger):
    """Event files in the run's folder ``tensorboard/``; look with ``tensorboard --logdir RUN``."""

    def check(self, run: RunFolder | None) -> Sequence[str]:
        _import("torch.utils.tensorboard", "tensorboard")
        folder = run.path / "tensorboard" if run else None
        if folder and folder.exists():
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                raise RunError(f"the logger 'tensorboard' cannot write: {explain(error)}") from error
        return ()

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        module = _import("torch.utils.tensorboard", "tensorboard")
        return _TensorBoardWriter(module.SummaryWriter(run.path / "tensorboard"))


class _TensorBoardWriter(LogWriter):
    def __init__(self, writer: Any) -> None:
        self.writer, self.excepthook = writer, threading.excepthook
        threading.excepthook = self._report

    def _report(self, failure: threading.ExceptHookArgs) -> None:
        """Print what fails in a thread, but that of the event files, whose failure comes with the next call."""
        if not type(failure.thread).__module__.startswith("tensorboard"):
            self.excepthook(failure)

    def statistics(self, record: Mapping[str, float]) -> None:
        for key, value in record.items():
            self.writer.add_scalar(key, value, record[NIMG])

    def picture(self, path: Path, nimg: int) -> None:
        sheet = np.asarray(Image.open(path).convert("RGB"))
        self.writer.add_image("samples", sheet, nimg, dataformats="HWC")

    def notice(self, sentence: str, nimg: int) -> None:
        self.writer.add_text("guard", sentence, nimg)

    def close(self) -> None:
        try:
            self.writer.close()
        finally:
            threading.excepthook = self.excepthook


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(Logger):
    """Weights & Biases: online if there is a key, else offline in the run's folder ``wandb/``.

    The key is that of WANDB_API_KEY or of ``wandb login``, and is read by wandb itself; gansmith neither keeps nor
    writes it. WANDB_MODE (online, offline or disabled) decides if it is set. The key is tried before anything is made.

    Args:
        project: under which the run appears.
    """

    project: str = "gansmith"

    def check(self, run: RunFolder | None) -> Sequence[str]:
        wandb = _import("wandb", "wandb")
        if wandb_mode() in ONLINE:
            try_key(wandb)
            return _offline_before(run)
        if "WANDB_MODE" in os.environ:
            return ()
        folder = run.path if run else "the run's folder"
        return (f"wandb has no key (WANDB_API_KEY, or wandb login): it logs offline, in {folder}/wandb",)

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        wandb = _import("wandb", "wandb")
        session = wandb.init(
            project=self.project,
            name=run.path.name,
            id=_identifier(run),
            resume="allow",
            dir=str(run.path),
            config=dict(config),
            mode=wandb_mode(),
            settings=wandb.Settings(silent=True),
        )
        session.define_metric("*", step_metric=NIMG)  # its own steps may not go back, as those of a training can
        return _WandbWriter(session, wandb.Image, run.path / "wandb")


class _WandbWriter(LogWriter):
    def __init__(self, session: Any, image: Any, folder: Path) -> None:
        self.session, self.image, self.folder = session, image, folder

    def statistics(self, record: Mapping[str, float]) -> None:
        self.session.log(dict(record))

    def picture(self, path: Path, nimg: int) -> None:
        self.session.log({"samples": self.image(str(path)), NIMG: nimg})

    def notice(self, sentence: str, nimg: int) -> None:
        self.session.log({"guard": sentence, NIMG: nimg})

    def close(self) -> None:
        """Upload what is left.

        Raises:
            TimeoutError: the network has gone.
        """
        local = max(self.folder.glob("run-*"), default=self.folder)  # named by their time
        remedy = f"; complete the upload with: {shlex.join(['wandb', 'sync', str(local)])}"
        within(FINISH_SECONDS, self.session.finish, remedy)


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(extra, extra, f"by the logger '{extra}'") from error


def _offline_before(run: RunFolder | None) -> Sequence[str]:
    """What to do with what was logged offline before there was a key."""
    left = sorted((run.path / "wandb").glob("offline-run-*")) if run else []
    sync = shlex.join(["wandb", "sync", *(str(path) for path in left)])
    return (f"wandb logged offline before; upload that with: {sync}",) if left else ()


def _identifier(run: RunFolder) -> str:
    """The same for every sitting of a run: kept in the run folder."""
    path = run.path / "wandb" / "run_id"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(os.urandom(4).hex(), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


# --- those of a configuration ------------------------------------------------------------------------------


def check_loggers(loggers: Sequence[Logger], run: RunFolder | None = None) -> list[str]:
    """Find out whether all can be opened, before anything is made.

    Args:
        loggers: of the configuration.
        run: the run that is continued; None for a new one.

    Returns:
        notes for the user.

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
) -> Iterator[list[LogWriter]]:
    """Open the logs; one that fails later, while training, is told and left alone, and training goes on.

    Args:
        loggers: of the configuration.
        run: where they may write.
        config: the configuration, plain.
        tell: is given a sentence where a log fails.
        made: is given what they add to the run's folder.

    Raises:
        GansmithError: one cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        logs: list[LogWriter] = []
        for logger in loggers:
            before = set(run.path.iterdir())
            try:
                with _named(logger):
                    log = _PatientWriter(logger.open(run, config), member_name(logger), tell)
            finally:
                made += set(run.path.iterdir()) - before
            logs.append(log)
            stack.callback(log.close)
        yield logs


@contextlib.contextmanager
def _named(logger: Logger) -> Iterator[None]:
    """Make one line of whatever a logger raises."""
    try:
        yield
    except GansmithError:
        raise
    except Exception as error:
        name = member_name(logger)
        raise ConfigError(
            f"config.loggers: '{name}' cannot be opened ({_reason(error)}); mend this, or leave the logger out"
        ) from error


class _PatientWriter(LogWriter):
    """A log whose failures are told once and then end it, not the training.

    Args:
        log: the log.
        name: of its logger.
        tell: is given the sentence.
    """

    def __init__(self, log: LogWriter, name: str, tell: Callable[[str], None]) -> None:
        self.log, self.name, self.tell, self.failed = log, name, tell, False

    def statistics(self, record: Mapping[str, float]) -> None:
        self._attempt(lambda log: log.statistics(record))

    def picture(self, path: Path, nimg: int) -> None:
        self._attempt(lambda log: log.picture(path, nimg))

    def notice(self, sentence: str, nimg: int) -> None:
        self._attempt(lambda log: log.notice(sentence, nimg))

    def close(self) -> None:
        if self.failed:
            with contextlib.suppress(Exception):  # the failure was told
                self.log.close()
        self._attempt(lambda log: log.close())

    def _attempt(self, write: Callable[[LogWriter], None]) -> None:
        if self.failed:
            return
        try:
            write(self.log)
        except Exception as error:
            self.failed = True
            self.tell(f"the logger '{self.name}' failed and logs no more, but training goes on: {_reason(error)}")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


LOGGERS: dict[str, type[Logger] | str] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
