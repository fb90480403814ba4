"""Loggers, with the real packages: what is logged can be read back, and no key is ever written."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gansmith.component import from_plain, member, to_plain
from gansmith.errors import MissingExtra
from gansmith.images import save_png
from gansmith.loggers import LOGGERS, Logger, TensorBoard, WeightsAndBiases
from gansmith.runs import RunFolder

KEY = "0123456789abcdef0123456789abcdef01234567"  # as long as a real one
RECORDS = [{"progress/nimg": 64, "loss/generator": 1.5}, {"progress/nimg": 128, "loss/generator": 0.25}]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run, in an environment where wandb finds neither a key nor a home of the user's."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return RunFolder.create(tmp_path / "run")


def log_everything(logger: Logger, run: RunFolder) -> None:
    picture = save_png(np.full((8, 8, 3), 7, np.uint8), run.images / "x.png")
    log = logger.open(run, {"seed": 5})
    log.statistics(RECORDS[0])
    log.picture(picture, nimg=64)
    log.statistics(RECORDS[1])
    log.notice("the discriminator has won", nimg=128)
    log.close()


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_names_the_command_if_its_package_is_missing(
    name: str, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(module: str) -> None:
        raise ImportError(f"No module named '{module}'")

    logger = member(Logger, name, "loggers")()
    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(MissingExtra) as caught:
        logger.open(run, {})
    assert str(caught.value) == (
        f"{name} is needed by the logger '{name}'; install it with: pip install 'gansmith[{name}]'"
    )
    assert list(run.path.iterdir()) == []


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_survives_plain_data(name: str) -> None:
    logger = member(Logger, name, "loggers")()
    assert from_plain(Logger, to_plain(logger), "logger") == logger


def test_tensorboard_reads_back_what_was_logged_in_two_sittings(run: RunFolder) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log_everything(TensorBoard(), run)
    again = TensorBoard().open(run, {})
    again.statistics({"progress/nimg": 192, "loss/generator": 2.0})
    again.close()
    events = accumulators.EventAccumulator(str(run.path / "tensorboard")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss/generator")]
    assert found == [(64, 1.5), (128, 0.25), (192, 2.0)]
    (picture,) = events.Images("samples")
    assert (picture.step, picture.width, picture.height) == (64, 8, 8)
    assert [event.step for event in events.Tensors("guard/text_summary")] == [128]


class RecordedInit:
    """wandb.init, remembering its arguments and never online."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wandb = pytest.importorskip("wandb")
        self.init, self.arguments = self.wandb.init, list[Mapping[str, Any]]()
        monkeypatch.setattr(self.wandb, "init", self)

    def __call__(self, **arguments: Any) -> Any:
        self.arguments.append(arguments)
        return self.init(**{**arguments, "mode": "offline"})

    def log(self, logger: Logger, run: RunFolder) -> None:
        """Log everything, and wait for wandb's own process, which goes on writing after the session's end."""
        log_everything(logger, run)
        self.wandb.teardown()


def test_wandb_stays_offline_and_inside_the_run_without_a_key(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    init = RecordedInit(monkeypatch)
    init.log(WeightsAndBiases(project="signs"), run)
    (arguments,) = init.arguments
    assert (arguments["mode"], arguments["project"], arguments["config"]) == ("offline", "signs", {"seed": 5})
    (written,) = (run.path / "wandb").glob(f"offline-run-*-{arguments['id']}/run-{arguments['id']}.wandb")
    data = written.read_bytes()
    assert b"loss/generator" in data and b"samples" in data and b"the discriminator has won" in data
    assert not (run.path.parent / "wandb").exists()


def test_wandb_goes_online_with_a_key_which_is_never_written(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    init = RecordedInit(monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    init.log(WeightsAndBiases(), run)
    assert [arguments["mode"] for arguments in init.arguments] == ["online"]
    assert KEY not in repr(init.arguments)
    files = [path for path in run.path.parent.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [path for path in files if KEY.encode() in path.read_bytes()]


def test_every_sitting_of_a_run_has_the_same_identity(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, arguments = pytest.importorskip("wandb"), []
    monkeypatch.setattr(wandb, "init", lambda **given: arguments.append(given) or mock.MagicMock())
    for folder in (run, run, RunFolder.create(run.path.with_name("other"))):
        WeightsAndBiases().open(folder, {})
    first, second, other = (given["id"] for given in arguments)
    assert first == second != other and all(given["resume"] == "allow" for given in arguments)
