"""Who is told the statistics, beside stats.jsonl: TensorBoard and Weights & Biases, both extras."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from gansmith.component import Component
from gansmith.errors import MissingExtra
from gansmith.files import replacing
from gansmith.runs import RunFolder

__all__ = ["LOGGERS", "LogWriter", "Logger", "TensorBoard", "WeightsAndBiases"]

NIMG = "progress/nimg"


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

    table: ClassVar[str] = "gansmith.loggers:LOGGERS"

    @abstractmethod
    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        """Open it; continues what an earlier sitting of the same run wrote.

        Raises:
            MissingExtra: the package is not installed.
        """


@dataclass(frozen=True, kw_only=True)
class TensorBoard(Logger):
    """Event files in the run's folder ``tensorboard/``; look with ``tensorboard --logdir RUN``."""

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        try:
            module = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise MissingExtra("tensorboard", "tensorboard", "by the logger 'tensorboard'") from error
        return _TensorBoardWriter(module.SummaryWriter(run.path / "tensorboard"))


class _TensorBoardWriter(LogWriter):
    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def statistics(self, record: Mapping[str, float]) -> None:
        for key, value in record.items():
            self.writer.add_scalar(key, value, record[NIMG])

    def picture(self, path: Path, nimg: int) -> None:
        sheet = np.asarray(Image.open(path).convert("RGB"))
        self.writer.add_image("samples", sheet, nimg, dataformats="HWC")

    def notice(self, sentence: str, nimg: int) -> None:
        self.writer.add_text("guard", sentence, nimg)

    def close(self) -> None:
        self.writer.close()


@dataclass(frozen=True, kw_only=True)
class WeightsAndBiases(Logger):
    """Weights & Biases: online if WANDB_API_KEY is set, else offline in the run's folder ``wandb/``.

    The key is read by wandb itself from the environment; gansmith neither keeps nor writes it.

    Args:
        project: under which the run appears.
    """

    project: str = "gansmith"

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> LogWriter:
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise MissingExtra("wandb", "wandb", "by the logger 'wandb'") from error
        session = wandb.init(
            project=self.project,
            name=run.path.name,
            id=_identifier(run),
            resume="allow",
            dir=str(run.path),
            config=dict(config),
            mode="online" if os.environ.get("WANDB_API_KEY") else "offline",
            settings=wandb.Settings(silent=True),
        )
        session.define_metric("*", step_metric=NIMG)  # its own steps may not go back, as those of a training can
        return _WandbWriter(session, wandb.Image)


class _WandbWriter(LogWriter):
    def __init__(self, session: Any, image: Any) -> None:
        self.session, self.image = session, image

    def statistics(self, record: Mapping[str, float]) -> None:
        self.session.log(dict(record))

    def picture(self, path: Path, nimg: int) -> None:
        self.session.log({"samples": self.image(str(path)), NIMG: nimg})

    def notice(self, sentence: str, nimg: int) -> None:
        self.session.log({"guard": sentence, NIMG: nimg})

    def close(self) -> None:
        self.session.finish()


def _identifier(run: RunFolder) -> str:
    """The same for every sitting of a run: kept in the run folder."""
    path = run.path / "wandb" / "run_id"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(os.urandom(4).hex(), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


LOGGERS: dict[str, type[Logger] | str] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
