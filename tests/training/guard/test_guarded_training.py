"""Trainings that are made to fail: seen in time, mended or stopped, and never alarmed about when all is well."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import load_file

from gansmith import api
from gansmith.errors import ConfigError, RunError, TrainingDiverged
from gansmith.losses import RelativisticPairing
from gansmith.metrics import mirror_asymmetry
from gansmith.runs import RunFolder, write_json
from gansmith.training import session
from gansmith.training.guard.journal import Event
from gansmith.training.guard.probes import Probes
from gansmith.training.state import TrainState
from gansmith.types import Logits

OUTSIDE = {"loss": f"{__name__}:Poisoned"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark squares."""
    draw = np.random.default_rng(0)
    corners = draw.integers(0, 8, (80, 2))
    images = draw.integers(0, 60, (80, 16, 16, 1))
    for image, (x, y) in zip(images, corners, strict=True):
        image[y : y + 8, x : x + 8] += 180
    path = tmp_path_factory.mktemp("data") / "squares.npz"
    np.savez(path, images=images.astype(np.uint8))
    return path


@dataclass(frozen=True, kw_only=True)
class Poisoned(RelativisticPairing):
    """The discriminator's loss is no number at some of its steps, counted over a test."""

    steps: ClassVar[int] = 0
    bad: ClassVar[range] = range(0)

    def discriminator(self, real: Logits, fake: Logits) -> Logits:
        Poisoned.steps += real.requires_grad
        return super().discriminator(real, fake) * (math.nan if Poisoned.steps in Poisoned.bad else 1)


@pytest.fixture(autouse=True)
def _unpoisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poisoned, "steps", 0)
    monkeypatch.setattr(Poisoned, "bad", range(0))
    monkeypatch.setenv("GANSMITH_TRUST", __name__)


def train(pictures: Path, path: Path, steps: int, **changes: Any) -> api.Run:
    """A quick training, a line of statistics every two steps and a checkpoint every eight."""
    often = {"log_every": "2 steps", "checkpoint_every": "8 steps", "samples.every": "100 steps"}
    small = {"batch_size": 8, "model.width": 4, "tracking": None, "held_out": 0.3, "keep_checkpoints": 2}
    probes = {"guard.num": 2, "guard.every": "4 steps"}
    overrides = {**often, **small, **(probes if changes.get("guard", True) else {}), **changes}
    return api.train(pictures, preset="dcgan-r1", length=f"{steps} steps", run=path, overrides=overrides)


def events(folder: RunFolder) -> list[Event]:
    return [Event.from_plain(line) for line in folder.read_events()]


def story(folder: RunFolder) -> list[tuple[str, str]]:
    return [(event.what, event.kind) for event in events(folder)]


def weights(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.latest_checkpoint().glob("*.safetensors")}


def is_finite(folder: RunFolder) -> bool:
    files = folder.latest_checkpoint().glob("*.safetensors")
    return all(np.isfinite(each).all() for file in files for each in load_file(file).values())


# --- when all is well --------------------------------------------------------------------------------------


def test_the_guard_leaves_a_healthy_training_as_it_is(pictures: Path, tmp_path: Path) -> None:
    guarded = train(pictures, tmp_path / "guarded", 16)
    alone = train(pictures, tmp_path / "alone", 16, guard=None)
    assert weights(guarded.folder) == weights(alone.folder)
    assert guarded.folder.read_events() == [] and guarded.status()["rollbacks"] == 0
    looked_at = [line["progress/step"] for line in guarded.stats() if "guard/diversity" in line]
    assert looked_at == [8, 16]  # 32 images of training for each that is looked at, whatever was asked for


@pytest.mark.parametrize(
    "preset", ["dcgan-r1", "dense-mnist", "dcgan-mnist", "sndcgan-64", pytest.param("dcgan-64", marks=pytest.mark.slow)]
)
def test_no_alarm_is_raised_where_presets_begin(preset: str, tmp_path: Path) -> None:
    quick = {"batch_size": 16, "model.width": 8, "tracking": None, "samples.every": "100 steps", "log_every": "3 steps"}
    changes = {**quick, "guard.num": 8, "preparation.size": [16, 16]}
    run = api.train("digits", preset=preset, length="48 steps", run=tmp_path / "run", overrides=changes)
    assert run.folder.read_events() == []


# --- poisoned batches --------------------------------------------------------------------------------------


def test_a_poisoned_batch_is_left_out_and_said(pictures: Path, tmp_path: Path) -> None:
    Poisoned.bad = range(5, 6)
    run = train(pictures, tmp_path / "run", 12, **OUTSIDE, log_every="4 steps")
    assert story(run.folder) == [("began", "not-finite"), ("over", "not-finite")]
    began, over = events(run.folder)
    assert (began.nimg, over.nimg, began.severity) == (64, 96, "warning")  # at the end of the interval that it fell in
    assert "25.00% of the discriminator's updates were skipped" in began.sentence
    assert run.status()["state"] == "finished" and is_finite(run.folder)
    assert all(math.isfinite(value) for line in run.stats() for value in line.values())


def test_a_step_that_is_left_out_leaves_everything_as_it_was(pictures: Path, tmp_path: Path) -> None:
    """With the last step's D poisoned, D and its optimizer are those of the step before."""
    before = train(pictures, tmp_path / "before", 3, **OUTSIDE, log_every="8 steps")
    Poisoned.steps, Poisoned.bad = 0, range(4, 5)
    after = train(pictures, tmp_path / "after", 4, **OUTSIDE, log_every="8 steps")
    kept = [load_file(run.folder.latest_checkpoint() / "discriminator.safetensors") for run in (before, after)]
    assert all(np.array_equal(kept[0][name], kept[1][name]) for name in kept[0])
    moments = [load_file(run.folder.latest_checkpoint() / "optimizers.safetensors") for run in (before, after)]
    of_discriminator = [name for name in moments[0] if name.startswith("discriminator")]
    assert of_discriminator and all(np.array_equal(moments[0][name], moments[1][name]) for name in of_discriminator)


@pytest.mark.parametrize(("action", "rollbacks"), [("rollback", 3), ("stop", 0), ("warn", 0)])
def test_poison_without_end_stops_whatever_was_tried(
    action: str, rollbacks: int, pictures: Path, tmp_path: Path
) -> None:
    Poisoned.bad = range(13, 10**6)
    with pytest.raises(TrainingDiverged, match=r"100\.00% of the discriminator's updates were skipped") as caught:
        train(pictures, tmp_path / "run", 40, **OUTSIDE, **{"guard.action": action})
    said, run = str(caught.value), api.open_run(tmp_path / "run")
    assert "\n" not in said and f"the last good checkpoint is {run.folder.latest_checkpoint()}" in said
    assert [what for what, _ in story(run.folder)] == ["began", "rollback"] * rollbacks + ["began", "stopped"]
    assert run.status()["state"] == "failed" and run.status()["rollbacks"] == rollbacks
    tried = [f"both learning rates are divided by {2**i}" for i in range(1, rollbacks + 1)]
    assert all(sentence in said for sentence in tried) and ("tried without success" in said) is bool(tried)
    assert is_finite(run.folder)


def test_without_a_guard_the_first_poison_stops(pictures: Path, tmp_path: Path) -> None:
    Poisoned.bad = range(5, 6)
    with pytest.raises(TrainingDiverged, match="diverged by step 6: a gradient contains NaN or infinity"):
        train(pictures, tmp_path / "run", 12, **OUTSIDE, guard=None)


# --- divergence --------------------------------------------------------------------------------------------

TOO_FAST = {"generator_optimizer.lr": 0.5, "discriminator_optimizer.lr": 0.5}


def test_a_rate_far_too_high_is_seen_lowered_and_survived(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", 60, **TOO_FAST)
    first, *_ = events(run.folder)
    assert first.severity == "failure" and first.nimg <= 8 * 6  # within three lines of statistics
    rollbacks = [event for event in events(run.folder) if event.what == "rollback"]
    assert rollbacks and {event.remedy for event in rollbacks} == {"rates"}
    rate = 0.5 / math.prod(2 ** (i + 1) for i in range(len(rollbacks)))
    assert run.config.generator_optimizer.lr == run.config.discriminator_optimizer.lr == rate
    assert rollbacks[-1].changes["generator_optimizer.lr"][1] == rate
    assert run.status()["state"] == "finished" and run.status()["rollbacks"] == len(rollbacks)
    assert is_finite(run.folder) and run.stats()[-1]["loss/discriminator"] < 2
    images = [line["progress/nimg"] for line in run.stats()]
    assert images == sorted(set(images)) and images[-1] == 60 * 8  # what was abandoned is not among it


def test_with_warn_it_is_only_said(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", 12, **TOO_FAST, **{"guard.action": "warn"})
    assert run.config.generator_optimizer.lr == 0.5
    assert "rollback" not in {event.what for event in events(run.folder)} and events(run.folder)


def stop_after(steps: int) -> Callable[[], Any]:
    """What ``stop_on_signal`` would be if Ctrl-C came after so many steps."""

    @contextmanager
    def asked() -> Iterator[Callable[[], bool]]:
        polls = iter(range(1, 10**6))
        yield lambda: next(polls) >= steps

    return asked


TIMES = ("progress/seconds", "speed/images_per_second")


def record(run: api.Run) -> dict[str, Any]:
    """All that a guarded run leaves behind, but for times and the seal of state.json, which covers them."""
    state = json.loads((run.folder.latest_checkpoint() / "state.json").read_text())
    return {
        "events": run.folder.read_events(),
        "stats": [{key: value for key, value in line.items() if key not in TIMES} for line in run.stats()],
        "weights": weights(run.folder),
        "state": {key: value for key, value in state.items() if key not in ("seconds", "seal")},
        "config": run.folder.config.read_text(),
    }


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """A training of 24 steps that was never stopped, and went back twice."""
    run = train(pictures, tmp_path_factory.mktemp("runs") / "whole", 24, **TOO_FAST)
    assert run.status()["rollbacks"] > 1
    return run


@pytest.mark.parametrize("stop", [3, 6, 9, 20])
def test_a_training_that_went_back_resumes_exactly(
    stop: int, whole: api.Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(stop))
        halved = train(pictures, tmp_path / "halved", 24, **TOO_FAST)
    assert halved.status()["state"] == "stopped"
    assert record(api.resume(halved.path)) == record(whole)


def test_a_kill_before_the_configuration_is_written_does_no_harm(
    whole: api.Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*arguments: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("gansmith.training.guard.guardian.write_json", killed)
        train(pictures, tmp_path / "killed", 24, **TOO_FAST)
    folder = RunFolder.open(tmp_path / "killed")
    assert json.loads(folder.config.read_text())["generator_optimizer"]["lr"] == 0.5
    assert record(api.resume(folder.path)) == record(whole)


def test_what_the_user_changes_after_a_rollback_is_the_users(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", 24, **TOO_FAST)
    again = api.resume(run.path, length="26 steps", overrides={"generator_optimizer.lr": 1e-3})
    assert again.config.generator_optimizer.lr == 1e-3
    config = json.loads(run.folder.config.read_text())
    config["discriminator_optimizer"]["lr"] = 0.5
    write_json(run.folder.config, config)
    with pytest.raises(RunError, match=r"discriminator_optimizer\.lr is 0\.5, but the run was trained with"):
        api.resume(run.path, length="28 steps")


# --- collapse ----------------------------------------------------------------------------------------------


def scripted(monkeypatch: pytest.MonkeyPatch, **figures: Callable[[TrainState], float]) -> None:
    """Let the probes find what a test writes down."""
    found = {f"guard/{name}": figure for name, figure in figures.items()}
    monkeypatch.setattr(Probes, "measure", lambda self, state: {key: of(state) for key, of in found.items()})


def test_a_collapse_goes_back_to_before_it_began_and_changes_gamma(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Good until 192 images, then slowly worse; other checkpoints are dropped on the way, but not the good one."""

    def diversity(state: TrainState) -> float:
        mended = state.config.penalties[0].gamma > 1
        return 0.8 if mended or state.nimg <= 192 else 0.2 if state.nimg <= 500 else 0.01

    scripted(monkeypatch, diversity=diversity)
    run = train(
        pictures, tmp_path / "run", 90, **{"guard.max_rollbacks": 1, "guard.patience": 2, "guard.action": "rollback"}
    )
    began, *worse, rollback = events(run.folder)
    assert (began.what, began.severity, rollback.what) == ("began", "warning", "rollback")
    assert [(event.what, event.severity) for event in worse] == [("worse", "warning"), ("worse", "failure")]
    assert {event.since for event in (began, *worse)} == {rollback.back_to} == {192}
    assert rollback.changes == {"penalties.0.gamma": [1.0, 2.0], "penalties.1.gamma": [1.0, 2.0]}


def test_a_rollback_does_not_mirror_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(
        monkeypatch,
        diversity=lambda state: 0.8 if state.nimg <= 192 else 0.01,
        overfitting=lambda state: 0.9,
    )
    images = np.zeros((400, 8, 8, 1), np.uint8)
    shades = np.random.default_rng(0).integers(100, 256, (400, 1, 1), np.uint8)
    images[:, 1:7, 2], images[:, 6, 2:6] = shades, shades  # the letter L
    np.savez(tmp_path / "letters.npz", images=images)
    monkeypatch.setattr(mirror_asymmetry, "KIMG", 3.0)
    monkeypatch.setattr(mirror_asymmetry, "WIDTH", 12)
    with pytest.raises(TrainingDiverged):
        train(tmp_path / "letters.npz", tmp_path / "run", 90, **{"guard.max_rollbacks": 1, "guard.patience": 2})
    augment = api.open_run(tmp_path / "run").config.augment
    assert augment is not None and augment.operations == ("translation", "cutout", "brightness", "contrast")


def test_a_collapse_of_what_is_known_by_heart_turns_augmentation_on(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(
        monkeypatch,
        diversity=lambda state: 0.8 if state.nimg <= 192 else 0.01,
        overfitting=lambda state: 0.9,
    )
    with pytest.raises(TrainingDiverged, match="tried without success: back to step"):
        train(pictures, tmp_path / "run", 90, **{"guard.max_rollbacks": 2, "guard.patience": 2})
    run = api.open_run(tmp_path / "run")
    assert [event.remedy for event in events(run.folder) if event.what == "rollback"] == ["augment", "augment"]
    assert run.config.augment is not None and run.config.augment.operations == (
        "mirror",
        "translation",
        "cutout",
        "brightness",
        "contrast",
    )


# --- augmentation by unseen images -------------------------------------------------------------------------

UNSEEN = {"augment": {"name": "adaptive", "by": "held-out", "kimg": 1, "operations": ["translation"]}}


def test_augmentation_rises_with_what_the_guard_finds_and_resumes_exactly(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, overfitting=lambda state: 0.6 if state.nimg < 150 else 0.4)
    run = train(pictures, tmp_path / "whole", 24, **UNSEEN)
    found = {line["progress/nimg"]: line["augment/p"] for line in run.stats()}
    assert found[64] < found[96] < found[128] and found[192] < found[160]
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(13))
        halved = train(pictures, tmp_path / "halved", 24, **UNSEEN)
    assert record(api.resume(halved.path)) == record(run)


@pytest.mark.parametrize(
    ("changes", "why"), [({"guard": None}, "there is no guard"), ({"held_out": 0.0}, "0 images are held out")]
)
def test_augmentation_by_unseen_images_is_refused_where_nobody_looks_at_any(
    changes: dict[str, Any], why: str, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"config.augment.by: held-out needs a guard .* and {why}"):
        train(pictures, tmp_path / "run", 2, **UNSEEN, **changes)
    with pytest.raises(ConfigError, match=f"config.penalties: noise-consistency needs a guard .* and {why}; leave it"):
        train(pictures, tmp_path / "run", 2, **{**UNSEEN, "augment": None}, **changes, penalties="noise-consistency")


# --- runs of earlier versions ------------------------------------------------------------------------------


def test_a_run_whose_guard_looked_for_leaks_is_resumed(pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", 8)
    for path in (run.folder.config, run.folder.latest_checkpoint() / "state.json"):
        plain = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("seal", "files")}
        plain.get("config", plain)["guard"]["leaked"] = 0.25
        plain |= {"num_events": 1} if "num_events" in plain else {}
        path.write_text(json.dumps(plain))
    old = {"what": "began", "kind": "augmentation-leak", "severity": "warning", "sentence": "it shows", "figure": 0.4}
    run.folder.append_event({**old, "excess": 1.6, "nimg": 64, "since": 0})
    again = api.resume(run.path, length="10 steps")
    assert again.status()["state"] == "finished" and "leaked" not in json.loads(run.folder.config.read_text())["guard"]
    assert story(run.folder)[0] == ("began", "augmentation-leak") and events(run.folder)[0].value == 0.4
