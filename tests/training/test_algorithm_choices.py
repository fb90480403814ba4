"""Measured choices of algorithms are kept for the machine and for the run, which makes them again when it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansmith import api
from gansmith.devices import Compute
from gansmith.models import algorithms
from gansmith.models.algorithms import AlgorithmTable
from gansmith.runs import RunFolder
from gansmith.training import algorithm_choices
from gansmith.training.algorithm_choices import keep_choices, open_choices, repeat_choices

CPU = Compute(device=torch.device("cpu"), precision="float32")
PROBLEM = "forward float32 8x3x16x16 to 32 kernel 4x4 stride 2 padding 1 groups 1"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    environment = algorithm_choices._machine(CPU)
    folder.environment.write_text(json.dumps({**environment, "convolutions": {}, "notes": []}))
    return folder


def plain(table: AlgorithmTable | None) -> dict[str, str]:
    assert table is not None
    return table.to_plain()


def test_choices_are_kept_for_the_run_and_for_the_next_run(folder: RunFolder) -> None:
    assert plain(open_choices(CPU, None)) == {}
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    assert json.loads(folder.environment.read_text())["convolutions"] == {PROBLEM: "winograd"}
    assert plain(open_choices(CPU, None)) == plain(open_choices(CPU, folder)) == {PROBLEM: "winograd"}


def test_a_new_run_repeats_the_choices_of_an_earlier_one(folder: RunFolder) -> None:
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    earlier = json.loads(folder.environment.read_text()) | {"convolutions": {PROBLEM: "matmul"}}
    earlier.pop("seal")
    folder.environment.write_text(json.dumps(earlier))
    assert repeat_choices(CPU, folder.environment)
    assert plain(open_choices(CPU, None)) == {PROBLEM: "matmul"}


@pytest.mark.parametrize("field", ["processor", "torch", "threads", "convolutions"])
def test_choices_of_another_machine_are_not_repeated(folder: RunFolder, field: str) -> None:
    other = json.loads(folder.environment.read_text()) | {"convolutions": {PROBLEM: "matmul"}}
    del other[field]
    folder.environment.write_text(json.dumps(other))
    assert not repeat_choices(CPU, folder.environment)
    assert not repeat_choices(CPU, folder.path / "missing.json")
    assert plain(open_choices(CPU, None)) == {}


def test_the_first_choice_stays_in_the_cache_and_a_run_keeps_its_own(folder: RunFolder, tmp_path: Path) -> None:
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    (tmp_path / "other").mkdir()
    other = RunFolder(tmp_path / "other")
    other.environment.write_text(folder.environment.read_text())
    keep_choices(AlgorithmTable({PROBLEM: "matmul"}), CPU, other)
    assert plain(open_choices(CPU, None)) == {PROBLEM: "winograd"}
    assert plain(open_choices(CPU, other)) == {PROBLEM: "matmul"}


def test_on_another_machine_a_run_gets_that_machine_s_choices(folder: RunFolder, tmp_path: Path) -> None:
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    (tmp_path / "moved").mkdir()
    moved = RunFolder(tmp_path / "moved")
    environment = json.loads(folder.environment.read_text())
    del environment["seal"]
    moved.environment.write_text(
        json.dumps({**environment, "processor": "abacus", "convolutions": {PROBLEM: "matmul"}})
    )
    assert plain(open_choices(CPU, moved)) == {PROBLEM: "winograd"}


def test_a_run_from_before_choices_stays_with_the_rule_and_other_devices_have_none(folder: RunFolder) -> None:
    folder.environment.write_text(json.dumps(algorithm_choices._machine(CPU)))
    assert open_choices(CPU, folder) is None
    assert open_choices(Compute(device=torch.device("meta"), precision="float32"), None) is None


@pytest.mark.parametrize("content", ["", "[]", '{"convolutions": 7}', '{"convolutions": {"x": "direct"}, "seal": "0"}'])
def test_a_damaged_cache_is_measured_again(content: str, folder: RunFolder, tmp_path: Path) -> None:
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    (cached,) = (tmp_path / "cache" / "convolutions").iterdir()
    cached.write_text(content)
    assert plain(open_choices(CPU, None)) == {}


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "file"))
    keep_choices(AlgorithmTable({PROBLEM: "winograd"}), CPU, folder)
    assert plain(open_choices(CPU, folder)) == {PROBLEM: "winograd"}


def test_a_resumed_run_makes_the_same_choices_and_ends_bit_for_bit_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "images.npz", images=np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8))
    small = {"batch_size": 8, "model.width": 8, "checkpoint_every": "3 steps", "tracking": None, "guard": None}
    favourite = "winograd"

    def fastest(problem: Any, compute: Any) -> str:
        return favourite if favourite in problem.algorithms else "direct"

    def train(name: str, length: str) -> Path:
        run = tmp_path / name
        return api.train(tmp_path / "images.npz", preset="dcgan-r1", run=run, length=length, overrides=small).path

    def weights(run: Path) -> bytes:
        return (run / "training_checkpoints" / "000006" / "generator.safetensors").read_bytes()

    monkeypatch.setattr(algorithms, "_measure", fastest)
    whole, stopped = train("whole", "6 steps"), train("stopped", "3 steps")
    favourite = "contiguous"
    api.resume(stopped, length="6 steps")
    assert weights(whole) == weights(stopped)
    chosen = json.loads((stopped / "environment.json").read_text())["convolutions"]
    assert set(chosen.values()) == {"winograd"}
    for file in (tmp_path / "cache" / "convolutions").iterdir():
        file.unlink()
    assert weights(train("other", "6 steps")) != weights(whole), "the choice matters, or this test would show nothing"


def test_choices_are_recorded_before_anything_that_a_run_resumes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "images.npz", images=np.zeros((40, 8, 8, 3), np.uint8))
    recorded: dict[int, bool] = {}
    add = RunFolder.add_checkpoint

    def noting(self: RunFolder, step: int, *others: Any) -> Any:
        recorded[step] = bool(json.loads(self.environment.read_text())["convolutions"])
        return add(self, step, *others)

    monkeypatch.setattr(RunFolder, "add_checkpoint", noting)
    small = {"batch_size": 8, "model.width": 4, "model.depth": 1, "tracking": None}
    api.train(tmp_path / "images.npz", preset="dcgan-r1", run=tmp_path / "run", length="1 steps", overrides=small)
    assert recorded == {0: False, 1: True}
