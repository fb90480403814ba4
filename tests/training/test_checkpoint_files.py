"""Damage to any file of a checkpoint is noticed, and the newest whole one takes its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from gansmith import api
from gansmith.errors import DamagedCheckpoint, RunError
from gansmith.runs import RunFolder
from gansmith.training.checkpoint_files import newest_checkpoint, open_checkpoint, read_state
from gansmith.training.snapshots import find_snapshot

FILES = ("generator.safetensors", "generator_ema.safetensors", "discriminator.safetensors", "optimizers.safetensors")


def flip(position: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return damage


def flip_a_digit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"sign": 0', '"sign": 1'), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text


def rename_a_field(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace('"seal"', '"seam"'), encoding="utf-8")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "payload": flip(-1),
    "header": flip(20),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-7]) and None,
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b"") and None,
}
CASES = [
    (name, kind) for name in (*FILES, "state.json") for kind in DAMAGE if (name, kind) != ("state.json", "payload")
]


def change_all(path: Path) -> None:
    """Both at once, for a seal that has lost its name and a digit."""
    rename_a_field(path)
    flip_a_digit(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of six steps with checkpoints of the last three."""
    home = tmp_path_factory.mktemp("checkpoints")
    draw = np.random.default_rng(0)
    np.savez(home / "pictures.npz", images=draw.integers(0, 256, (24, 16, 16, 1), np.uint8))
    tracking = {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0}
    changes: dict[str, Any] = {"batch_size": 8, "model.width": 4, "log_every": "1 steps", "samples.every": "50 %"}
    changes |= {"checkpoint_every": "1 steps", "keep_checkpoints": 3, "tracking": tracking, "ema_halflife_kimg": 1}
    return api.train(home / "pictures.npz", length="6 steps", run=home / "run", overrides=changes).folder


@pytest.fixture
def run(whole: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(whole.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_damage_is_noticed_and_the_one_before_is_used(
    name: str, kind: str, run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    newest = run.latest_checkpoint()
    DAMAGE[kind](newest / name)
    with pytest.raises(DamagedCheckpoint) as caught:
        open_checkpoint(newest)
    assert str(newest) in str(caught.value) and "\n" not in str(caught.value)
    found, notes = newest_checkpoint(run)  # as resume
    assert found.path.name == "000005"
    assert len(notes) == 1 and str(newest / name) in notes[0] and notes[0].endswith("; step 5 is used instead")
    assert find_snapshot(run, "last").step == 5  # as sample, interpolate, evaluate and report
    assert caplog.messages == [f"note: {notes[0]}"]


@pytest.mark.parametrize("damage", [flip_a_digit, rename_a_field, change_all])
def test_a_changed_digit_or_name_in_the_state_is_noticed(damage: Callable[[Path], None], run: RunFolder) -> None:
    damage(run.latest_checkpoint() / "state.json")
    with pytest.raises(DamagedCheckpoint, match="digest"):
        read_state(run.latest_checkpoint())


def weights(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.latest_checkpoint().glob("*.safetensors")}


@pytest.mark.parametrize("name", ["optimizers.safetensors", "state.json"])
def test_resume_from_the_one_before_equals_a_training_that_was_never_damaged(
    name: str, whole: RunFolder, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = run.latest_checkpoint()
    DAMAGE["emptied"](newest / name)
    api.resume(run.path)
    assert f"{newest / name}: " in (said := capsys.readouterr().out) and "step 5 is used instead" in said
    assert weights(run) == weights(whole)
    losses = [[line["loss/generator"] for line in each.read_stats()] for each in (run, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    notes = json.loads(run.environment.read_text(encoding="utf-8"))["notes"]
    assert any("step 5 is used instead" in note for note in notes)
    assert (run.checkpoint_folder / "000006.damaged").is_dir()


def test_a_damaged_best_generator_is_told_and_the_last_is_used(
    run: RunFolder, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.best is not None
    (path,) = run.best.glob("*.safetensors")
    DAMAGE["payload"](path)
    assert find_snapshot(run).which == "last"
    assert "the newest checkpoint is used instead of the best generator" in caplog.text
    api.resume(run.path, length="8 steps")
    assert "it is set aside" in capsys.readouterr().out
    assert run.best is not None and open_checkpoint(run.best).state["step"] > 6


def test_without_a_whole_checkpoint_there_is_one_line(run: RunFolder) -> None:
    for folder in run.checkpoints():
        DAMAGE["payload"](folder / FILES[0])
    for use in (lambda: api.resume(run.path), lambda: find_snapshot(run, "last")):
        with pytest.raises(RunError, match=r"no other checkpoint is whole: bring one back") as caught:
            use()
        assert str(run.path) in str(caught.value) and "\n" not in str(caught.value)


def unseal(folder: Path) -> None:
    """Make a checkpoint one of an earlier version."""
    plain = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    (folder / "state.json").write_text(json.dumps({k: v for k, v in plain.items() if k not in ("seal", "files")}))


def test_a_checkpoint_of_an_earlier_version_is_read(run: RunFolder) -> None:
    for folder in run.checkpoints():
        unseal(folder)
    assert api.resume(run.path, length="7 steps").status()["step"] == 7


def test_an_earlier_version_without_its_averaged_generator_is_damaged(run: RunFolder) -> None:
    unseal(run.latest_checkpoint())
    (run.latest_checkpoint() / "generator_ema.safetensors").unlink()
    assert newest_checkpoint(run)[0].state["step"] == 5


@pytest.mark.parametrize("change", ["missing", "extra", "dtype"])
def test_the_tensors_of_an_optimizer_are_complete(change: str, run: RunFolder) -> None:
    newest = run.latest_checkpoint()
    unseal(newest)
    tensors = load_file(newest / "optimizers.safetensors")
    name = next(name for name in tensors if ".exp_avg." in name)
    value = tensors.pop(name)
    if change == "extra":
        tensors |= {name: value, "generator.exp_avg.nothing": value.clone()}
    if change == "dtype":
        tensors[name] = value.double()
    save_file(tensors, newest / "optimizers.safetensors")
    with pytest.raises(RunError, match=r"optimizers\.safetensors: (has no tensor|holds)"):
        api.resume(run.path, length="7 steps")


def test_a_pointer_of_git_lfs_is_told_apart_from_damage(run: RunFolder) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (run.latest_checkpoint() / FILES[0]).write_text(pointer)
    with pytest.raises(RunError, match="git lfs pull"):
        newest_checkpoint(run)


def test_a_checkpoint_that_a_training_removes_meanwhile_is_not_damage(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lists = RunFolder.checkpoints, [[run.checkpoint_folder / "000003"]]

    def listed(self: RunFolder, *, damaged: bool = False) -> list[Path]:
        return lists.pop() if lists else real(self, damaged=damaged)

    monkeypatch.setattr(RunFolder, "checkpoints", listed)
    found, notes = newest_checkpoint(run)
    assert found.path.name == "000006" and not notes


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_checkpoints_have_the_permissions_of_the_umask(whole: RunFolder) -> None:
    before = os.umask(0)
    os.umask(before)
    assert whole.best is not None
    for folder in (whole.latest_checkpoint(), whole.best):
        assert folder.stat().st_mode & 0o777 == 0o777 & ~before
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o666 & ~before}


def test_an_older_checkpoint_without_its_state_is_set_aside(run: RunFolder) -> None:
    oldest = run.checkpoints()[0]
    (oldest / "state.json").unlink()
    api.resume(run.path, length="8 steps")
    left = [path.name for path in run.checkpoint_folder.iterdir()]
    assert oldest.name not in left and any(name.startswith(oldest.name) for name in left)
