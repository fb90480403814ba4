"""Loggers: copies of the statistics elsewhere than in stats.jsonl. TensorBoard and Weights & Biases, both extras."""

from __future__ import annotations

import importlib
import os
import shlex
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gansmith.component import Component
from gansmith.errors import MissingExtra, RunError, explain
from gansmith.files import replace_file
from gansmith.metrics.measurement import Measurement
from gansmith.runs import RunFolder
from gansmith.training.listeners import Listener, Training
from gansmith.training.wandb_key import ONLINE, try_key, wandb_mode, within

__all__ = ["LOGGERS", "Logger", "TensorBoard", "WeightsAndBiases"]

NIMG = "progress/nimg"
FINISH_SECONDS = 60  # in which what is left has to be uploaded when training ends


@dataclass(frozen=True, kw_only=True)
class Logger(Component):
    """Opens a log, a listener, for a run."""

    table: ClassVar[str] = "gansmith.training.loggers:LOGGERS"

    def check(self, run: RunFolder | None) -> Sequence[str]:
        """Check, before anything is made or trained, that the log can be opened; by default it can.

        Args:
            run: the run that is continued; None for a new one.

        Returns:
            Notes for the user.

        Raises:
            GansmithError: it cannot be opened.
        """
        return ()

    @abstractmethod
    def open(self, run: RunFolder, config: Mapping[str, Any]) -> Listener:
        """Open the log; continue what earlier sessions of the same run wrote.

        Raises:
            MissingExtra: the package is not installed.
        """


class _Log(Listener):
    """A log to which measurements are statistics too."""

    def measurement(self, training: Training, measurement: Measurement) -> None:
        self.statistics(training, {NIMG: training.progress.nimg, **measurement.named_values()})


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

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> Listener:
        module = _import("torch.utils.tensorboard", "tensorboard")
        return _TensorBoardWriter(module.SummaryWriter(run.path / "tensorboard"))


class _TensorBoardWriter(_Log):
    def __init__(self, writer: Any) -> None:
        self.writer, self.excepthook = writer, threading.excepthook
        threading.excepthook = self._report

    def _report(self, failure: threading.ExceptHookArgs) -> None:
        """Print failures of threads, except of the event files' own, which the next call raises."""
        if not type(failure.thread).__module__.startswith("tensorboard"):
            self.excepthook(failure)

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        for key, value in record.items():
            self.writer.add_scalar(key, value, record[NIMG])

    def picture(self, training: Training, path: Path) -> None:
        sheet = np.asarray(Image.open(path).convert("RGB"))
        self.writer.add_image("samples", sheet, training.progress.nimg, dataformats="HWC")

    def notice(self, training: Training, sentence: str) -> None:
        self.writer.add_text("notice", sentence, training.progress.nimg)

    def close(self) -> None:
        try:
            self.writer.close()
        finally:
            threading.excepthook = self.excepthook


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(Logger):
    """Weights & Biases: online if there is a key, else offline in the run's folder ``wandb/``.

    wandb itself reads the key, from WANDB_API_KEY or ``wandb login``; gansmith neither stores nor writes it. WANDB_MODE
    (online, offline or disabled) has priority if it is set. The key is tried before anything is made.

    Args:
        project: the W&B project of the run.
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

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> Listener:
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
        session.define_metric("*", step_metric=NIMG)  # W&B's own steps cannot decrease, as ours do at a rollback
        return _WandbWriter(session, wandb.Image, run.path / "wandb")


class _WandbWriter(_Log):
    def __init__(self, session: Any, image: Any, folder: Path) -> None:
        self.session, self.image, self.folder = session, image, folder

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        self.session.log(dict(record))

    def picture(self, training: Training, path: Path) -> None:
        self.session.log({"samples": self.image(str(path)), NIMG: training.progress.nimg})

    def notice(self, training: Training, sentence: str) -> None:
        self.session.log({"notice": sentence, NIMG: training.progress.nimg})

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
    """Return the command that uploads what was logged offline, before there was a key."""
    left = sorted((run.path / "wandb").glob("offline-run-*")) if run else []
    sync = shlex.join(["wandb", "sync", *(str(path) for path in left)])
    return (f"wandb logged offline before; upload that with: {sync}",) if left else ()


def _identifier(run: RunFolder) -> str:
    """Return the run's W&B id, the same in every session; it is kept in the run folder."""
    path = run.path / "wandb" / "run_id"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with replace_file(path) as unfinished:
            unfinished.write_text(os.urandom(4).hex(), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


LOGGERS: dict[str, type[Logger] | str] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
