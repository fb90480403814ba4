"""The comparison with diffusion models, without their environments: options, equal time, the shared loop, tables."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "benchmarks"
SIZE, BATCH, RATE = 8, 20, 0.5


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks import each other as scripts do."""
    monkeypatch.syspath_prepend(FOLDER / "peers")
    monkeypatch.syspath_prepend(FOLDER)
    yield


@pytest.fixture
def benchmark() -> ModuleType:
    return importlib.import_module("diffusion")


@pytest.fixture
def loop() -> ModuleType:
    return importlib.import_module("fixed_steps")


def environment(folder: Path, tool: str) -> None:
    """What looks like the environment of a tool."""
    (folder / tool / "bin").mkdir(parents=True)
    (folder / tool / "bin" / "python").touch()


def images(num: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (num, SIZE, SIZE, 3), np.uint8)


# --- options -----------------------------------------------------------------------------------------------


def test_names_are_checked_and_environments_must_be_there(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data-root", "data", "--environments", str(tmp_path)]
    environment(tmp_path, "diffusers")
    chosen = benchmark.parse([*words, "--tools", "gansmith,diffusers", "--only", "dogs", "--extractors", "a,b"])
    assert (chosen.tools, chosen.only, chosen.extractors) == (("gansmith", "diffusers"), ("dogs",), ("a", "b"))
    assert benchmark.parse(["--data-root", "data", "--stages", "evaluate"]).tools == tuple(benchmark.TOOLS)
    for wrong, message in (
        (["--tools", "stylegan"], "--tools: 'stylegan' is not one of gansmith, diffusers"),
        (["--tools", "torchcfm"], "--environments: holds no environment torchcfm; peers/README.md"),
        (["--stages", "speed,sample"], "--stages: 'sample' is not one of speed, train, evaluate"),
    ):
        with pytest.raises(SystemExit):
            benchmark.parse([*words, *wrong])
        assert message in capsys.readouterr().err


def test_as_many_steps_are_made_as_fit_into_the_time(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = argparse.Namespace(minutes=10, samples=32)
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(benchmark, "peer", lambda *words: calls.append(words))
    monkeypatch.setattr(benchmark, "train_ours", lambda *words: calls.append(words))
    with pytest.raises(SystemExit, match=r"has no speed\.json"):
        benchmark.train("cifar10", "diffusers", tmp_path, options)
    (tmp_path / "speed.json").write_text(json.dumps({"batch": 175, "images_per_second": 700}))
    benchmark.train("cifar10", "diffusers", tmp_path, options)
    benchmark.train("cifar10", "gansmith", tmp_path, options)
    named = ("cifar10", "diffusers", options)
    assert calls[0] == (*named, "--out", tmp_path, "--steps", 2400, "--samples", 32)
    assert calls[1] == (tmp_path, 420.0, options)


def test_speeds_of_all_tools_are_in_one_table(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seconds of samplers are multiples of those of one evaluation."""
    monkeypatch.setattr(importlib.import_module("record"), "RESULTS", tmp_path)
    ours = {"about": "gansmith 1", "parameters": 200_000, "images_per_second": 700, "evaluation_seconds": 0.0002}
    other = {"about": "diffusers 2", "parameters": 114_000_000, "images_per_second": 4, "evaluation_seconds": 0.06}
    monkeypatch.setattr(benchmark, "our_speed", lambda *_: {**ours, "samplers": {"one pass": 1}})
    monkeypatch.setattr(benchmark, "peer", lambda *_: {**other, "samplers": {"DDPM": 1000, "DDIM": 50}})
    options = argparse.Namespace(minutes=10, threads=1)
    for tool in ("diffusers", "gansmith"):
        benchmark.measure_speed("cifar10", tool, tmp_path, options)
    page = capsys.readouterr().out
    assert "| cifar10 32 px | gansmith 1 | 0.2 | 700 | 840,000 | 2,520,000 | one pass | 0.2 | 1 |" in page
    assert "| cifar10 32 px | diffusers 2 | 114 | 4 | 4,800 | 14,400 | DDPM | 60,000 | 300,000 |" in page
    assert "| diffusers 2 | 114 | 4 | 4,800 | 14,400 | DDIM | 3,000 | 15,000 |" in page


# --- the loop that the peers share -------------------------------------------------------------------------


def peer(loop: ModuleType, seen: list[Tensor]) -> Any:
    """A tool that makes images of one colour in [-1, 1], and more of it than fits at the end."""

    def step(batch: Tensor) -> float:
        seen.append(batch)
        return 1 / len(seen)

    return loop.Peer(
        tool="colours 1.0",
        parameters=3,
        batch=BATCH,
        step=step,
        samplers={"slow": 1000, "quick": 5},
        drawn_by="quick",
        sample=lambda num, evaluations: torch.full((num, 3, SIZE, SIZE), evaluations / 10).index_fill_(
            1, torch.tensor([2]), 7.0
        ),
    )


def test_a_peer_trains_on_random_images_half_of_them_mirrored_and_draws(
    loop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None] * 30, (40, SIZE, SIZE, 3))
    np.savez(tmp_path / "x.npz", images=ramp)
    monkeypatch.setattr("sys.argv", ["peer", str(tmp_path / "x.npz"), "--out", str(tmp_path / "out"), "--steps", "30"])
    monkeypatch.setattr(torch, "set_num_threads", lambda num: None)
    seen: list[Tensor] = []
    with torch.random.fork_rng():
        loop.run(lambda size, steps: peer(loop, seen), "about")
    values = torch.arange(SIZE) * 30 / 127.5 - 1
    plain = [torch.equal(image[0, 0], values) for batch in seen for image in batch]
    mirrored = [torch.equal(image[2, 5], values.flip(0)) for batch in seen for image in batch]
    assert all(one != other for one, other in zip(plain, mirrored, strict=True)) and 240 < sum(mirrored) < 360
    made = np.load(tmp_path / "out" / "samples.npz")["images"]
    assert made.shape == (16, SIZE, SIZE, 3) and made.dtype == np.uint8
    assert set(made[..., 0].flat) == {191} and set(made[..., 2].flat) == {255}  # 0.5 and 7
    facts = json.loads((tmp_path / "out" / "facts.json").read_text())
    assert (facts["about"], facts["steps"], facts["images_seen"], facts["samples"]) == ("colours 1.0", 30, 600, 16)
    assert facts["losses"][-1] == round(1 / 30, 4)


@pytest.mark.parametrize(("an_image", "timed"), [(0.25, BATCH), (1.5, 10)])
def test_a_step_that_takes_too_long_is_extrapolated_from_fewer_images(
    loop: ModuleType, monkeypatch: pytest.MonkeyPatch, an_image: float, timed: int
) -> None:
    seen: list[Tensor] = []

    def seconds(work: Any) -> float:
        """Of a step 2 s, and some for each image; of sampling 8 s."""
        before = len(seen)
        work()
        return 2 + an_image * len(seen[-1]) if len(seen) > before else 8.0

    monkeypatch.setattr(loop, "_seconds", seconds)
    with torch.random.fork_rng():
        found = loop.measure_speed(peer(loop, seen), torch.from_numpy(images(30)))
    assert [len(batch) for batch in seen] == [1, 4, timed]
    assert found == {"images_per_second": round(BATCH / (2 + an_image * BATCH), 3), "evaluation_seconds": 0.5}


@pytest.mark.parametrize(("warm_up", "steps", "expected"), [(500, 10_000, 500), (500, 148, 14), (5000, 3, 1)])
def test_a_warm_up_takes_a_tenth_of_a_short_training(loop: ModuleType, warm_up: int, steps: int, expected: int) -> None:
    assert loop.shorten_warm_up(warm_up, steps) == expected


# --- results -----------------------------------------------------------------------------------------------


def test_samples_of_any_tool_are_measured_and_shown(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = importlib.import_module("record")
    monkeypatch.setattr(record, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(benchmark.DATA, "noise", benchmark.Data("sets/noise.npz", SIZE, "random-conv"))
    for folder in ("results", "sets"):
        (tmp_path / folder).mkdir()
    np.savez(tmp_path / "sets" / "noise.npz", images=images(60))
    words = ["--data-root", str(tmp_path), "--only", "noise", "--extractors", "learnt", "--stages", "evaluate"]
    for tool, made in (("diffusers", images(12, seed=1)), ("torchcfm", np.full_like(images(12), 255))):
        options = benchmark.parse([*words, "--tools", tool, "--work", str(tmp_path / "work"), "--threads", "1"])
        place = benchmark.place_of("noise", tool, options)
        place.mkdir(parents=True)
        np.savez(place / "samples.npz", images=made)
        facts = {"about": f"{tool} 1.0", "steps": 9, "images_seen": 1440, "samples": 12, "drawn_by": "DDIM"}
        (place / "facts.json").write_text(json.dumps(facts))
        benchmark.evaluate("noise", tool, place, options)
    page = capsys.readouterr().out
    assert "| noise 8 px | diffusers 1.0 | 10 | 0 | 1,440 | 9 | 12 | DDIM |" in page
    assert "| noise 8 px | torchcfm 1.0 | 10 | 12 | " in page and "too few images" in page
    (written,) = (tmp_path / "results").glob("*.json")
    noise, white = json.loads(written.read_text())["results"]
    assert noise["values"]["learnt"]["kid"][0] < white["values"]["learnt"]["kid"][0]
    assert white["values"]["learnt"]["precision"][0] == 0
    (picture,) = (tmp_path / "results").glob("*.png")
    assert picture.stat().st_size > 1000
