"""What a session prints: a finished run, few measurements, the training of the feature extractor."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gansmith import api
from gansmith.training import messages, progress_bar, session
from gansmith.training.presets import configure

SMALL: dict[str, Any] = {"batch_size": 4, "model.width": 4, "tracking": None, "guard": None}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Noise."""
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1), np.uint8))
    return tmp_path / "x.npz"


def test_a_finished_run_says_so_in_one_line_and_does_nothing(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.train(pictures, preset="dcgan-r1", length="2 steps", run=tmp_path / "run", overrides=SMALL)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"}
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(session, "_train", lambda *given, **named: pytest.fail("goes through everything"))
        api.resume(run.path)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        f"{run.path}: finished (length 2 steps, step 2); train longer with: gansmith resume {run.path} --length ..."
    )
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"} == before
    assert api.resume(run.path, length="3 steps").status()["step"] == 3


def test_a_short_run_has_50_lines_of_statistics(pictures: Path, tmp_path: Path) -> None:
    run = api.train(pictures, preset="dcgan-r1", length="100 steps", run=tmp_path / "run", overrides=SMALL)
    assert [line["progress/step"] for line in run.stats()] == list(range(2, 101, 2))


def test_fewer_measurements_than_planned_are_explained() -> None:
    config = configure("digits", overrides={"length": "100 steps"})
    progress = SimpleNamespace(step=100, nimg=3200, seconds=60.0, epoch=1.0)
    state: Any = SimpleNamespace(config=config, progress=progress, num_tracked=20, tracking_seconds=30.0)
    (line,) = messages._explain_few_measurements(state)
    assert line.startswith(
        "the metric was measured 20 times instead of 50: each takes 1.5 s, and tracking may take 5% of the time"
    )
    state.num_tracked = 49
    assert messages._explain_few_measurements(state) == []


def test_the_extractors_training_says_how_long_it_takes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(progress_bar.time, "perf_counter", lambda: 0.4 * next(clock))
    console = Console(record=True, width=200)
    with progress_bar.learning_progress(console) as tell:
        for done in range(10, 101, 10):
            tell(done, 100)
    lines = console.export_text().splitlines()
    assert lines[0] == "training the feature extractor ..."
    assert [line for line in lines if "--tracking none" in line] == [
        "     this takes about 4 s, once for these images; skip it with --tracking none"
    ]
    assert re.fullmatch(r"\d+ s", messages.describe_duration(35)) and messages.describe_duration(7300) == "2.0 h"
