"""Listeners: which events they receive, and that a callback may stop the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

import numpy as np
import pytest

from gansmith import api
from gansmith.component import override
from gansmith.metrics.measurement import Measurement
from gansmith.schedules import Duration
from gansmith.training.callbacks import Callback
from gansmith.training.config import Config
from gansmith.training.listeners import Broadcast, Listener, Training
from gansmith.training.presets import configure
from gansmith.training.state import TrainState


@dataclass(frozen=True, kw_only=True)
class Noting(Callback):
    """Notes all events."""

    events: ClassVar[list[tuple[Any, ...]]] = []

    def call(self, training: Training) -> None:
        self.events.append(("call", training.progress.step, training.losses["loss/generator"]))

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        self.events.append(("statistics", training.progress.step, record["progress/step"]))

    def picture(self, training: Training, path: Path) -> None:
        self.events.append(("picture", training.progress.step, path.exists()))

    def measurement(self, training: Training, measurement: Measurement) -> None:
        self.events.append(("measurement", training.progress.step, measurement.generated.step))

    def notice(self, training: Training, sentence: str) -> None:
        self.events.append(("notice", training.progress.step, sentence))


@dataclass(frozen=True, kw_only=True)
class StopAfter(Callback):
    """Asks to stop after so many steps, by what the state says."""

    every: Duration = Duration(1, "steps")
    steps: int = 3

    def call(self, training: Training) -> None:
        assert isinstance(training.state, TrainState)
        if training.state.step == self.steps:
            training.ask_to_stop("three are enough")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of a training of six steps."""
    monkeypatch.setenv("GANSMITH_TRUST", __name__)
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    changes = {
        "batch_size": 4, "model.width": 4, "held_out": 0, "guard": None, "log_every": "3 steps",
        "samples.every": "3 steps", "samples.at_start": False, "tracking.every": "3 steps", "tracking.num": 4,
        "tracking.extractor": {"name": "random-conv", "width": 2, "num_features": 4}, "tracking.max_share": 1,
    }  # fmt: skip
    return configure(tmp_path / "images.npz", preset="dcgan-r1", overrides={**changes, "length": "6 steps"})


def test_a_listener_sees_a_typed_state() -> None:
    assert get_type_hints(Training, localns={"TrainState": TrainState})["state"] is TrainState


def test_a_callback_receives_every_event_in_order(config: Config, tmp_path: Path) -> None:
    Noting.events.clear()
    api.train(override(config, {"callbacks": [Noting(every=Duration(2, "steps"))]}), run=tmp_path / "run")
    kinds = [(kind, step) for kind, step, _ in Noting.events]
    at_three = [("statistics", 3), ("picture", 3), ("measurement", 3)]
    at_six = [("call", 6), ("statistics", 6), ("picture", 6), ("measurement", 6)]
    assert kinds == [("call", 2), *at_three, ("call", 4), *at_six]
    assert all(what == step for kind, step, what in Noting.events if kind in ("statistics", "measurement"))
    assert all(what is True for kind, _, what in Noting.events if kind == "picture")


def test_a_callback_stops_the_training_as_ctrl_c_does(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = api.train(config, run=tmp_path / "whole")
    run = api.train(override(config, {"callbacks": [StopAfter()]}), run=tmp_path / "run")
    status = run.status()
    assert (status["state"], status["step"]) == ("stopped", 3)
    assert run.folder.latest_checkpoint().name == "000003"
    assert "stopped at step 3" in capsys.readouterr().out
    assert run.folder.environment.read_text().count("a callback stopped the training: three are enough") == 1
    resumed = api.resume(run.path)
    assert resumed.status()["state"] == "finished"
    for name in ("generator", "discriminator", "optimizers"):
        mine, theirs = (each.folder.latest_checkpoint() / f"{name}.safetensors" for each in (resumed, whole))
        assert mine.read_bytes() == theirs.read_bytes()


def test_a_listener_that_defines_nothing_receives_everything_quietly() -> None:
    training: Any = None
    for listener in (Listener(), Broadcast([Listener(), Listener()]), Callback):
        for event, arguments in (("statistics", ({},)), ("picture", (Path("x.png"),)), ("notice", ("",))):
            owner = listener if isinstance(listener, Listener) else listener(every=Duration(1, "steps"))
            assert getattr(owner, event)(training, *arguments) is None


def test_a_broadcast_passes_events_on_in_order() -> None:
    heard: list[tuple[str, str]] = []

    class Named(Listener):
        def __init__(self, name: str) -> None:
            self.name = name

        def notice(self, training: Training, sentence: str) -> None:
            heard.append((self.name, sentence))

    training: Any = None
    Broadcast([Named("one"), Named("two")]).notice(training, "low memory")
    assert heard == [("one", "low memory"), ("two", "low memory")]
