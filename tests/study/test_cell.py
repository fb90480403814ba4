"""The process of one cell, without the process: begun, gone on with, skipped, diverged, failed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from gansmith.errors import MetricError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.runs import RunFolder
from gansmith.study import cell
from gansmith.study.cell import Job, carry_out
from gansmith.training import session
from gansmith.training.config import Config
from gansmith.training.presets import configure

JUDGED = {"metrics": "kid", "extractor": "random-conv", "num": 8}


@pytest.fixture
def config(noise: Path) -> Config:
    changes = {"length": "6 steps", "batch_size": 4, "model.width": 4, "preparation.size": [8, 8], "device": "cpu"}
    quick = {"precision": "float32", "tracking": "none", "held_out": 0, "samples.every": "6 steps"}
    return configure(noise, preset="dcgan-64", overrides=changes | quick)


@pytest.fixture
def job(config: Config, tmp_path: Path) -> Job:
    return Job(config=config, run=tmp_path / "run", log=tmp_path / "log", evaluation=None, device=None, threads=1)


@contextmanager
def stopping_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Training is asked to stop after so many steps, as SIGTERM would."""

    @contextmanager
    def asked() -> Iterator[object]:
        calls = count(1)
        yield lambda: next(calls) >= steps

    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", asked)
        yield


def status(run: Path) -> tuple[str, int]:
    told = json.loads(RunFolder.open(run).status.read_text(encoding="utf-8"))
    return told["state"], told["step"]


def test_a_cell_is_trained_once(job: Job) -> None:
    assert carry_out(job) == ("finished", "")
    assert status(job.run) == ("finished", 6)
    written = (job.run / "stats.jsonl").stat().st_mtime_ns
    assert carry_out(job) == ("finished", "")
    assert (job.run / "stats.jsonl").stat().st_mtime_ns == written


def test_an_interrupted_cell_goes_on_from_its_checkpoint(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopping_after(2, monkeypatch):
        assert carry_out(job) == ("unfinished", "stopped")
    assert status(job.run) == ("stopped", 2)
    assert carry_out(job) == ("finished", "")
    assert status(job.run) == ("finished", 6)
    assert [path.name for path in RunFolder.open(job.run).checkpoints()] == ["000002", "000006"]


def test_going_on_may_be_on_another_device(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopping_after(2, monkeypatch):
        carry_out(replace(job, config=replace(job.config, device="auto")))
    assert carry_out(replace(job, device="cpu")) == ("finished", "")


def test_what_was_ended_before_anything_was_saved_begins_anew(job: Job) -> None:
    carry_out(job)
    folder = RunFolder.open(job.run)
    shutil.rmtree(folder.checkpoint_folder)
    folder.status.unlink()
    assert carry_out(job) == ("finished", "")
    assert status(job.run) == ("finished", 6)


def test_a_cell_that_diverges_says_so(job: Job) -> None:
    wild = replace(job.config, discriminator_optimizer=replace(job.config.discriminator_optimizer, lr=1e30))  # type: ignore[call-arg]
    state, reason = carry_out(replace(job, config=wild))
    assert state == "diverged"
    assert "training stopped at step" in reason


def test_a_cell_that_cannot_begin_has_failed(job: Job, noise: Path) -> None:
    noise.unlink()
    state, reason = carry_out(job)
    assert state == "failed"
    assert "noise.npz" in reason


def test_the_last_and_the_best_generator_are_judged_once(job: Job) -> None:
    asked = replace(job, evaluation=EvaluationOptions.of(overrides=JUDGED))
    assert carry_out(asked) == ("finished", "")
    assert carry_out(asked) == ("finished", "")
    lines = RunFolder.open(job.run).read_measurements()  # without tracking, the last generator is the best there is
    assert [(line["kind"], line["generated"]["snapshot"]) for line in lines] == [("evaluation", "last")]
    assert set(lines[0]["values"]) == {"kid"}


def test_a_training_stands_though_it_could_not_be_judged(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = replace(job, evaluation=EvaluationOptions.of(overrides=JUDGED))

    def refuse(*_: object) -> None:
        raise MetricError("too few images")

    with monkeypatch.context() as patch:
        patch.setattr(cell, "evaluate_run", refuse)
        assert carry_out(asked) == ("finished", "not evaluated: too few images")
    assert carry_out(asked) == ("finished", "")
