"""Studies in processes: done, diverged, crashed, stopped and gone on with."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from forks import adopt, open_context
from gansmith.cli import main
from gansmith.component import to_plain
from gansmith.runs import RunFolder
from gansmith.schedules import Duration
from gansmith.study import queue
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import Cell, read_study
from gansmith.study.progress import read_progress, show_progress
from gansmith.study.queue import run_cells
from gansmith.study.record import Record, prepare_record, read_record
from gansmith.study.results import read_results
from gansmith.training.callbacks import Callback
from gansmith.training.listeners import Training

PLAN = """
title = "Noise"
length = "6 steps"
seeds = 1
evaluation = "none"
[overrides]
batch_size = 4
precision = "float32"
device = "cpu"
held_out = 0
tracking = "none"
log_every = "1 steps"
samples.every = "6 steps"
model.width = 4
[[variants]]
title = "Steady"
preset = "dcgan-64"
[[variants]]
title = "Wild"
preset = "dcgan-64"
overrides = { discriminator_optimizer.lr = 1e30 }
[[data]]
title = "Noise"
source = "NOISE"
size = 8
"""


@pytest.fixture
def file(noise: Path, tmp_path: Path) -> Path:
    path = tmp_path / "noise.toml"
    path.write_text(PLAN.replace("NOISE", noise.as_posix()), encoding="utf-8")
    return path


@pytest.fixture
def begun(file: Path, tmp_path: Path) -> tuple[Record, StudyFolder]:
    folder = StudyFolder(tmp_path / "out")
    folder.runs.mkdir(parents=True)
    return prepare_record(read_study(file), (), folder), folder


def run(record: Record, folder: StudyFolder, **options: int) -> tuple[Record, str]:
    """Run the cells, and what was said meanwhile."""
    text = io.StringIO()
    with show_progress(record.cells, Console(file=text, width=200)) as display:
        return run_cells(record, folder, display, **options), text.getvalue()  # type: ignore[arg-type]


def fork_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each cell be a fork of a process that has imported torch, in place of a new one."""
    context = open_context()
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)
    monkeypatch.setattr(queue, "work", partial(adopt, dict(os.environ), list(sys.path), queue.work))


def test_a_study_is_one_command(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = iter([multiprocessing.get_context("spawn")])  # the first cell begins as for a user, others as forks
    fork_cells(monkeypatch)
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: next(contexts, fork))
    out = file.parent / "out"
    assert main(["study", str(file), "--out", str(out), "--workers", "2", "--length", "5 steps"]) == 0
    said = capsys.readouterr().out
    assert "finished  noise-steady-seed0" in said
    assert "diverged  noise-wild-seed0" in said
    assert f"next: gansmith report {out}" in said
    assert "finished at step 5" in StudyFolder(out).log("noise-steady-seed0").read_text(encoding="utf-8")
    results = read_results(out / "results.json")
    assert results.shortened == ("trainings of 5 steps instead of 6 steps",)
    assert [entry.state for entry in results.settings[0].runs] == ["finished", "diverged"]
    assert (out / "results.csv").exists()

    assert main(["study", str(out), "--json"]) == 0  # nothing is left to do, and the folder knows what it was
    again = capsys.readouterr()
    assert "begins" not in again.err
    assert "2 of 2 runs done" in again.err
    assert json.loads(again.out) == to_plain(read_results(out / "results.json"))


@dataclass(frozen=True, kw_only=True)
class Crash(Callback):
    """Ends the process without a word, as the system does when there is no memory left."""

    every: Duration = Duration(1, "steps")

    def call(self, training: Training) -> None:
        """Do it."""
        os._exit(3)


def changed(cell: Cell, title: str, **fields: Any) -> Cell:
    """The cell under another name with other fields of its configuration."""
    return replace(cell, title=title, config=replace(cell.config, **fields))


def test_a_crash_stops_nothing_and_a_stop_lets_everything_be_saved(
    begun: tuple[Record, StudyFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = begun
    steady = record.cells[0]
    endless = changed(steady, "endless", length=Duration(900, "h"))
    record = replace(record, cells=(changed(steady, "crashing", callbacks=(Crash(),)), endless))

    def ask() -> bool:  # study.json is written when the first cell has ended
        return (folder.run("endless") / "stats.jsonl").exists() and folder.plan.exists()

    monkeypatch.setattr(queue, "stop_on_signal", lambda: nullcontext(ask))
    monkeypatch.setenv("GANSMITH_TRUST", __name__)
    fork_cells(monkeypatch)
    found, said = run(record, folder, workers=2)
    assert [(cell.state, cell.done) for cell in found.cells] == [("failed", False), ("unfinished", False)]
    assert "its process ended with exit code 3; see" in found.cells[0].reason
    assert read_record(folder).cells[1].reason == "stopped"
    assert "failed    crashing (0 of 2 done): its process ended" in said
    assert "stopping: 1 running" in said
    stopped = RunFolder.open(folder.run("endless"))
    assert json.loads(stopped.status.read_text(encoding="utf-8"))["state"] == "stopped"
    assert stopped.checkpoints()
    fraction, text = read_progress(found.cells[1], stopped.path)
    assert 0 < fraction < 0.01
    assert "kimg" in text


def test_a_stop_begins_nothing_more(begun: tuple[Record, StudyFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "stop_on_signal", lambda: nullcontext(lambda: True))
    found, said = run(*begun)
    assert {cell.state for cell in found.cells} == {"unfinished"}
    assert "begins" not in said


def test_a_second_ctrl_c_ends_everything_at_once(
    begun: tuple[Record, StudyFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = begun
    asked = iter([False])

    def ask() -> bool:
        try:
            return next(asked)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(queue, "stop_on_signal", lambda: nullcontext(ask))
    fork_cells(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(record, folder, workers=2)
    assert multiprocessing.active_children() == []


def test_a_second_command_is_kept_out(begun: tuple[Record, StudyFolder], file: Path) -> None:
    _, folder = begun
    with folder.claim():
        assert main(["study", str(file), "--out", str(folder.path)]) == 2


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["study", "nothing.toml"], "nothing.toml: cannot read the study"),
        (["study", "."], "no study is there"),
        (["study", "FILE", "--seeds", "2"], "--seeds: expected 1 to 1"),
        (["study", "FILE", "--length", "long"], "--length: 'long' is not a duration"),
        (["study", "FILE", "--workers", "0"], "--workers: expected at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], error: str, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(file.parent)
    assert main([str(file) if word == "FILE" else word for word in words]) == 2
    said = capsys.readouterr().err
    assert error in said
    assert said.count("\n") == 1
    assert not (file.parent / "runs").exists()
