"""A training that was stopped and resumed equals one that never stopped, bit for bit."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forks import Forked
from gansmith import api
from gansmith.data.folder import Folder
from gansmith.data.store import Preparation, prepare
from gansmith.errors import RunError
from gansmith.runs import RunFolder
from gansmith.training import checkpoint_files, session
from gansmith.training.checkpoint_files import never_saved
from gansmith.training.data_facts import DataFacts, match_trained_data
from gansmith.training.presets import PRESETS

TIMES = ("progress/seconds", "speed/images_per_second")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty random RGB images of four classes."""
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, images=draw.integers(0, 256, (40, 24, 24, 3), np.uint8), labels=np.arange(40) % 4)
    return path


def small(**more: Any) -> dict[str, Any]:
    """A preset's habits at a fraction of its cost."""
    often = {"log_every": "2 steps", "samples.every": "3 steps", "checkpoint_every": "100 steps"}
    tracking = {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0}
    return {"batch_size": 8, "model.width": 4, **often, "tracking": tracking, **more}


def stop_after(steps: int) -> Callable[[], Any]:
    """What ``stop_on_signal`` would be if Ctrl-C came after so many steps."""

    @contextmanager
    def asked() -> Iterator[Callable[[], bool]]:
        polls = iter(range(1, 10**6))
        yield lambda: next(polls) >= steps

    return asked


def record(run: RunFolder) -> dict[str, Any]:
    """All that a run leaves behind, but for times."""
    checkpoint = run.latest_checkpoint()
    assert run.best is not None
    states = [json.loads((folder / "state.json").read_text()) for folder in (checkpoint, run.best)]
    measurements = [(line["generated"]["step"], line["values"]) for line in run.read_measurements()]
    stats = [{key: value for key, value in line.items() if key not in TIMES} for line in run.read_stats()]
    pictures = {path.name: path.read_bytes() for path in run.path.rglob("*.png") if path != run.curves}
    weights = {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}
    best = {path.name: path.read_bytes() for path in run.best.glob("*.safetensors")}
    return {
        "states": [{**state, "seconds": 0, "tracking_seconds": 0, "seal": ""} for state in states],
        "stats": stats,
        "measurements": measurements,
        "pictures": pictures,
        "weights": weights,
        "best": best,
    }


def preset_options(name: str) -> dict[str, Any]:
    changes = small(**{"samples.num": 2} if name == "dcgan-folder-128" else {})
    if name.endswith(("-64", "-128")):  # the mechanics are the same at any size
        changes["preparation.size"] = [32, 32]
    if name == "projected":
        changes |= {"model.feature_size": 32, "model.mixing_width": 4, "model.head_width": 8}
    return {"preset": name, "length": "5 steps", "overrides": changes}


@pytest.fixture(scope="module")
def wholes(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What is left by a training with a preset that was never stopped."""
    folder = tmp_path_factory.mktemp("wholes")
    return functools.cache(lambda name: record(api.train(pictures, run=folder / name, **preset_options(name)).folder))


@pytest.mark.parametrize(
    ("name", "stop"),
    [  # before the first measurement and after it, in turn
        pytest.param(name, stop, marks=[pytest.mark.slow] if (i + stop // 2) % 2 else [])
        for i, name in enumerate(PRESETS)
        for stop in (1, 3)
    ],
)
def test_every_preset_resumes_exactly(
    name: str,
    stop: int,
    pictures: Path,
    wholes: Callable[[str], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options, whole = preset_options(name), wholes(name)
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(stop))
        halved = api.train(pictures, run=tmp_path / "halved", **options)
    assert halved.status()["state"] == "stopped"
    assert halved.status()["step"] == stop
    resumed = api.resume(halved.path)
    assert resumed.status()["state"] == "finished"
    assert record(resumed.folder) == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"discriminator_steps": 3, "reuse_fakes": False},
        {"model.dropout": 0.5, "model.spectral_norm": True, "model.discriminator_norm": "none"},
        {"generator_optimizer.schedule": "linear", "discriminator_optimizer": "adamw", "balance": 0.5},
        {"ema_halflife_kimg": 0, "loss": "hinge", "penalties": "r2", "precision": "float32"},
        {"ema_factors": [0.5, 3.0], "ema_halflife_kimg": 0.02},
        {"penalties": "fake-contrast,noise-consistency", "held_out": 0.4, "model.discriminator_norm": "none"},
        {"penalties": "lecam,dragan,consistency", "micro_batch": 3, "model.discriminator_norm": "none"},
        {"augment": {"name": "adaptive", "kimg": 0.1, "operations": ["translation"]}, "penalties": "wgan-gp"},
        {"augment": {"name": "fixed", "p": 0.5, "schedule": "linear"}, "generator_optimizer.beta2_end": 0.9},
    ],
)
def test_every_way_of_training_resumes_exactly(
    changes: dict[str, Any], pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"length": "6 steps", "overrides": small(**changes)}
    whole = api.train(pictures, run=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(3))
        halved = api.train(pictures, run=tmp_path / "halved", **options)
    assert record(api.resume(halved.path).folder) == record(whole.folder)


def test_a_longer_length_goes_on_as_if_it_had_been_meant_from_the_start(pictures: Path, tmp_path: Path) -> None:
    changes = small(**{"samples.every": "2 steps"})
    long = api.train(pictures, length="4 steps", run=tmp_path / "long", overrides=changes)
    short = api.train(pictures, length="2 steps", run=tmp_path / "short", overrides=changes)
    api.resume(short.path, length="4 steps")
    assert record(short.folder)["weights"] == record(long.folder)["weights"]


def test_a_changed_configuration_is_refused_unless_the_field_is_named(pictures: Path, tmp_path: Path) -> None:
    run = api.train(pictures, length="2 steps", run=tmp_path / "run", overrides=small())
    config = json.loads(run.folder.config.read_text())
    rate, config["generator_optimizer"]["lr"] = config["generator_optimizer"]["lr"], 0.5
    run.folder.config.write_text(json.dumps(config))
    with pytest.raises(RunError, match=rf"generator_optimizer\.lr is 0\.5, but the run was trained with {rate}"):
        api.resume(run.path, length="4 steps")
    assert api.resume(run.path, length="4 steps", overrides={"generator_optimizer.lr": 0.5}).status()["step"] == 4


def test_changed_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    np.savez(path, images=np.zeros((16, 8, 8, 1), np.uint8))
    run = api.train(path, length="2 steps", run=tmp_path / "run", overrides=small())
    np.savez(path, images=np.ones((16, 8, 8, 1), np.uint8))
    with pytest.raises(RunError, match="digest differs"):
        api.resume(run.path, length="4 steps")


@pytest.mark.parametrize("deep", [None, "12 bits", "float", "stated"])
def test_labels_that_came_later_do_not_change_what_is_known_of_the_images(deep: str | None, tmp_path: Path) -> None:
    photos, draw = tmp_path / "photos", np.random.default_rng(0)
    photos.mkdir()
    for i in range(8):
        if deep is None:
            Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(photos / f"{i}.png")
        elif deep == "float":
            Image.fromarray(draw.random((8, 8), np.float32)).save(photos / f"{i}.tif")
        else:
            Image.fromarray(draw.integers(0, 4096, (8, 8), np.uint16)).save(photos / f"{i}.png")
    preparation = Preparation(levels=(0, 2000) if deep == "stated" else None)
    facts = DataFacts.of(prepare(Folder(path=photos), preparation))
    names = sorted(path.name for path in photos.iterdir())
    rows = [f"{name},{'cat' if i % 3 else 'dog'}" for i, name in enumerate(names)]
    (photos / "labels.csv").write_text("\n".join(["file,label", *rows]))
    labelled = prepare(Folder(path=photos), preparation)
    assert labelled.class_names == ("cat", "dog") and labelled.digest != facts.digest
    assert DataFacts.of(match_trained_data(labelled, facts)) == facts


def test_labels_that_came_later_do_not_change_an_unlabelled_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, draw = tmp_path / "photos", np.random.default_rng(0)
    photos.mkdir()
    for i in range(24):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(photos / f"{i:02}.png")
    options = small(held_out=0.25)
    whole = api.train(photos, length="4 steps", run=tmp_path / "whole", overrides=options)
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(2))
        half = api.train(photos, length="4 steps", run=tmp_path / "half", overrides=options)
    rows = [f"{i:02}.png,{'cat' if i % 3 else 'dog'}" for i in range(24)]
    (photos / "labels.csv").write_text("\n".join(["file,label", *rows]))
    assert prepare(Folder(path=photos)).class_names == ("cat", "dog")
    api.resume(half.path)
    assert "its labels are not used, for this run began without labels" in capsys.readouterr().out
    assert record(half.folder) == record(whole.folder)
    measured = half.evaluate(num=8, overrides={"metrics": "kid", "extractor": "random-conv"})
    assert measured.reference.split == "training" and "kid" in measured.values
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(photos / "00.png")
    with pytest.raises(RunError, match="digest differs"):
        api.resume(half.path, length="6 steps")


def test_other_labels_are_refused(tmp_path: Path) -> None:
    path, images = tmp_path / "pictures.npz", np.zeros((16, 8, 8, 1), np.uint8)
    np.savez(path, images=images, labels=np.arange(16) % 2)
    run = api.train(path, length="2 steps", run=tmp_path / "run", overrides=small(use_labels=False))
    np.savez(path, images=images, labels=np.arange(16) // 8)
    with pytest.raises(RunError, match="digest differs"):
        api.resume(run.path, length="4 steps")


LIGHT = {"tracking.extractor": "random-conv", "tracking.num": 8, "tracking.num_real": 8}


def start(data: Path, run: Path, *more: str) -> Forked:
    """A training in a process of its own, long enough to be stopped."""
    words = ["train", str(data), "--run", str(run), "--length", "1000000 steps", "--batch_size", "8", *more]
    words += ["--model.width", "4", "--samples.every", "50 %"]
    words += [word for name, value in LIGHT.items() for word in (f"--{name}", str(value))]
    return Forked(["-m", "gansmith", *words], run.with_suffix(".log"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the training did not begin"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_resume(number: int, pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(pictures, run, "--checkpoint_every", "50 %", "--log_every", "3 steps")
    wait_for(lambda: (run / "stats.jsonl").exists() and (run / "stats.jsonl").stat().st_size > 0)
    process.send_signal(number)
    assert process.wait() == 0
    assert f"gansmith resume {run}" in process.read()
    saved = RunFolder.open(run)
    assert json.loads(saved.status.read_text())["state"] == "stopped"
    step = int(saved.latest_checkpoint().name)
    resumed = api.resume(run, length=f"{step + 2} steps")
    assert resumed.status()["step"] == step + 2


def test_a_kill_at_any_moment_leaves_a_run_that_can_be_resumed(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(pictures, run, "--preset", "dcgan-r1", "--checkpoint_every", "1 steps", "--log_every", "2 steps")
    wait_for(lambda: len(RunFolder(run).checkpoints()) >= 2)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    step = int(RunFolder.open(run).latest_checkpoint().name)
    resumed = api.resume(run, length=f"{step + 4} steps")
    whole = api.train(
        pictures,
        preset="dcgan-r1",
        length=f"{step + 4} steps",
        run=tmp_path / "whole",
        overrides={"batch_size": 8, "model.width": 4, "samples.every": "50 %", "log_every": "2 steps", **LIGHT},
    )
    assert record(resumed.folder)["weights"] == record(whole.folder)["weights"]
    assert record(resumed.folder)["stats"] == record(whole.folder)["stats"]


# --- before the first checkpoint, and two at once ----------------------------------------------------------


def test_a_run_killed_before_its_first_checkpoint_begins_again_and_ends_the_same(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = small(guard=None, seed=3, length="6 steps")
    whole = api.train(pictures, preset="dcgan-r1", run=tmp_path / "whole", overrides=changes)
    killed = tmp_path / "killed"

    def kill(*_: object, **__: object) -> None:
        shutil.copytree(tmp_path / "now", killed)  # what a SIGKILL leaves: the status is "running"
        raise RunError("killed")

    monkeypatch.setattr(RunFolder, "add_checkpoint", kill)
    with pytest.raises(RunError, match="killed"):
        api.train(pictures, preset="dcgan-r1", run=tmp_path / "now", overrides=changes)
    monkeypatch.undo()
    assert json.loads((killed / "status.json").read_text())["state"] == "running"
    assert record(api.resume(killed).folder) == record(whole.folder)
    assert record(api.resume(tmp_path / "now").folder) == record(whole.folder)  # the one that failed


def test_a_run_whose_checkpoints_were_removed_does_not_begin_again(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    assert never_saved(run)
    for state, details in (("finished", {}), ("stopped", {}), ("running", {"step": 4})):
        run.set_status(state, **details)
        assert not never_saved(run)
    run.set_status("failed", step=4)
    assert never_saved(run)
    (run.checkpoint_folder / "000004.damaged").mkdir(parents=True)
    assert not never_saved(run)


def test_of_many_that_begin_at_once_each_gets_a_name_or_exactly_one_the_folder(tmp_path: Path) -> None:
    names = [tmp_path / "runs" / f"run-{i}" for i in range(20)]
    ready, done = threading.Barrier(8), threading.Barrier(8)

    def take(paths: Sequence[Path]) -> Path | None:
        ready.wait()
        try:
            with RunFolder.begin(*paths) as run:
                (run.path / "mine").touch()
                done.wait()
                return run.path
        except RunError:
            done.wait()
            return None

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(take, [names] * 8)) - {None}) == 8
        won = list(pool.map(take, [[tmp_path / "one"]] * 8))
    assert [path for path in won if path] == [tmp_path / "one"]
    assert (tmp_path / "one" / "mine").exists()


def test_a_folder_that_nothing_came_of_is_removed_and_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RunFolder.begin(tmp_path / "run"):
        raise KeyError
    assert not (tmp_path / "run").exists()
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match=r"\.lock cannot be opened"), RunFolder.begin(tmp_path / "run"):
        pass


def test_a_disk_that_is_full_at_a_checkpoint_is_one_line_that_names_the_run(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = api.train(pictures, length="4 steps", run=tmp_path / "whole", overrides=small())
    run, write = tmp_path / "run", checkpoint_files.save

    def full(tensors: Any, **options: Any) -> Any:
        if (run / "stats.jsonl").exists() and run.joinpath("training_checkpoints").exists():
            raise OSError(28, "No space left on device")
        return write(tensors, **options)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "save", full)
        with pytest.raises(RunError, match=rf"^{run}: no space left on device; .*: gansmith resume {run}$"):
            api.train(pictures, length="4 steps", run=run, overrides=small())
    assert api.open_run(run).status()["state"] == "failed"
    assert all(path.name.isdecimal() for path in (run / "training_checkpoints").iterdir())  # no half of one
    assert record(api.resume(run).folder) == record(whole.folder)
