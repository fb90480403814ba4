"""A run that failed before its first step leaves nothing, and one that failed later everything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith import api
from gansmith.component import override
from gansmith.errors import ConfigError, GansmithError
from gansmith.runs import RunFolder
from gansmith.training import loop, session, stages
from gansmith.training.callbacks import Callback
from gansmith.training.config import Config
from gansmith.training.listeners import Listener, Training
from gansmith.training.loggers import Logger
from gansmith.training.presets import configure


@dataclass(frozen=True, kw_only=True)
class Unwilling(Logger):
    """Writes something of its own and cannot be opened."""

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> Listener:
        (run.path / "log").mkdir()
        (run.path / "log" / "first").touch()
        (run.path / "log.txt").touch()
        raise RuntimeError("no such\nhost")


@dataclass(frozen=True, kw_only=True)
class Raising(Callback):
    """Raises when it is called."""

    def call(self, training: Training) -> None:
        raise KeyError("mine")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a training that takes no time."""
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    small = {"batch_size": 4, "model.width": 4, "tracking": None, "held_out": 0, "samples.every": "1 steps"}
    return configure(tmp_path / "images.npz", preset="dcgan-mnist", overrides={**small, "length": "2 steps"})


def fail(*arguments: Any, **options: Any) -> Any:
    raise MemoryError("out of memory")


@pytest.mark.parametrize("where", ["logger", "guard", "networks", "step", "pictures"])
@pytest.mark.parametrize("samples", ["grid", {"name": "files", "num": 2}])
def test_nothing_is_left_and_the_same_command_works_then(
    where: str, samples: Any, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = override(config, {"samples": samples}), tmp_path / "new" / "run"
    failing = override(config, {"loggers": [Unwilling()]}) if where == "logger" else config
    with monkeypatch.context() as patch:
        place = {"guard": (session, "open_guardian"), "step": (loop, "train_step"), "networks": (stages, "split")}
        if where == "pictures":  # the first is written, and then the disk is full
            patch.setattr(loop._Loop, "save", fail)
        elif where in place:
            patch.setattr(*place[where], fail)
        with pytest.raises((MemoryError, ConfigError)) as caught:
            api.train(failing, run=path)
    if where == "logger":
        named = f"'{__name__}:Unwilling' cannot be opened (no such host)"
        assert str(caught.value) == f"config.loggers: {named}; mend this, or leave the logger out"
    assert not path.parent.exists()
    assert api.train(config, run=path).status()["state"] == "finished"


def test_what_was_there_before_and_what_others_put_there_stays(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", fail)
        with pytest.raises(MemoryError):
            api.train(config, run=run)
    assert list(run.iterdir()) == []

    def fail_beside_a_user(*arguments: Any, **options: Any) -> Any:
        (run / "notes.txt").touch()
        (run / "images" / "mine.png").touch()
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", fail_beside_a_user)
        with pytest.raises(MemoryError):
            api.train(config, run=run)
    left = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.name != ".lock"}
    assert left == {"notes.txt", "images", "images/mine.png"}


def test_after_the_first_step_all_is_kept_and_can_be_resumed(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANSMITH_TRUST", __name__)
    failing = override(config, {"callbacks": [Raising(every="1 steps")], "samples.at_start": True})  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        api.train(failing, run=tmp_path / "run")
    run = api.open_run(tmp_path / "run")
    assert run.status()["state"] == "failed" and run.status()["step"] == 1
    assert api.resume(run.path, overrides={"callbacks": []}).status()["state"] == "finished"


def test_a_run_whose_guard_went_back_to_its_start_is_kept(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_back_and_fail(state: Any, *arguments: Any) -> Any:
        RunFolder(tmp_path / "run").append_event({"what": "rollback"})
        raise MemoryError

    monkeypatch.setattr(loop, "train_step", go_back_and_fail)
    with pytest.raises(MemoryError):
        api.train(config, run=tmp_path / "run")
    assert api.open_run(tmp_path / "run").status()["state"] == "failed"


def test_a_resume_that_fails_before_its_first_step_removes_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.train(config, run=tmp_path / "run")
    files = {path for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(GansmithError, match="cannot be opened"), monkeypatch.context() as patch:
        patch.setenv("GANSMITH_TRUST", __name__)
        api.resume(run.path, length="3 steps", overrides={"loggers": [Unwilling()]})
    assert {path for path in run.path.rglob("*") if path.is_file()} >= files
    assert run.status()["state"] == "failed"
