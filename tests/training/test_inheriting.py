"""Training from a trained model: the first image, what freezing keeps, exact resuming, and what is recorded."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import gansmith
from gansmith import api, runs
from gansmith.component import override_as_user
from gansmith.data.npz import Npz
from gansmith.errors import ConfigError, RunError
from gansmith.numerals import kimg
from gansmith.report.run_page import gather_run_page
from gansmith.run_list import summarize_run
from gansmith.runs import RunFolder
from gansmith.training import auto, session, stages
from gansmith.training.config import load_config
from gansmith.training.inheriting import start_from
from gansmith.training.parent import open_parent
from gansmith.training.presets import preset

TRACKING = {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0}
SMALL: dict[str, Any] = {"batch_size": 8, "tracking": TRACKING, "keep_checkpoints": 10, "checkpoint_every": "1 steps"}
SMALL |= {"log_every": "2 steps", "samples.every": "100 steps"}
SPECTRAL = {"model.spectral_norm": True, "model.discriminator_norm": "none"}


def write_images(path: Path, shape: tuple[int, ...], names: int, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    labels = {"labels": np.arange(40) % names} if names else {}
    np.savez(path, images=draw.integers(0, 256, (40, *shape), np.uint8), **labels)
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, and data sets for others."""
    path = tmp_path_factory.mktemp("inheriting")
    write_images(path / "four.npz", (16, 16, 3), 4)
    write_images(path / "six.npz", (16, 16, 3), 6, seed=1)
    write_images(path / "gray.npz", (16, 16, 1), 0, seed=2)
    api.train(
        path / "four.npz", length="5 steps", run=path / "parent", overrides={**SMALL, "model.width": 4, **SPECTRAL}
    )
    return path


def train(home: Path, data: str, run: Path, steps: int = 4, **changes: Any) -> api.Run:
    given = {**SMALL, "init": str(home / "parent"), **changes}
    given = {name: value for name, value in given.items() if (name, value) != ("init", False)}  # left to auto
    return api.train(home / data, length=f"{steps} steps", run=run, overrides=given)


def weights(run: RunFolder, step: int, name: str) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint_folder / f"{step:06d}" / f"{name}.safetensors")


def share_taken(run: api.Run, name: str) -> str:
    """The share of the weights that belong to no class, as text."""
    tensors = weights(run.folder, 0, name)
    statistics = ("running_mean", "running_var", "num_batches_tracked", "_u", "_v")
    sizes = {key: tensor.numel() for key, tensor in tensors.items() if not key.endswith(statistics)}
    of_classes = sum(
        size for key, size in sizes.items() if any(word in key for word in ("scale", "shift", "embedding"))
    )
    return f"{100 * (1 - of_classes / sum(sizes.values())):.1f} %"


def test_the_first_images_are_the_parents_bit_for_bit(home: Path, tmp_path: Path) -> None:
    child = train(home, "four.npz", tmp_path / "run")
    parent = gansmith.open_run(home / "parent")
    best = {name: load_file(path) for path in (home / "parent" / "best").glob("*.safetensors") for name in [path.stem]}
    for name in ("generator", "generator_ema"):
        taken = weights(child.folder, 0, name)
        assert taken.keys() == best["generator_ema"].keys()
        assert all(torch.equal(taken[each], value) for each, value in best["generator_ema"].items())
    last = weights(RunFolder(home / "parent"), 5, "discriminator")
    assert all(torch.equal(value, last[each]) for each, value in weights(child.folder, 0, "discriminator").items())
    shutil.rmtree(child.path / "best")
    for folder in child.folder.checkpoints()[1:]:
        shutil.rmtree(folder)
    images = [each.generator().sample(12, seed=3).images for each in (child, parent)]
    assert np.array_equal(*images)


def test_what_was_taken_is_printed_and_recorded(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = train(home, "six.npz", tmp_path / "run", init_classes="mean")
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("init ")]
    origin = child.config.origin
    assert origin is not None and [f"init    {line}" for line in origin.lines()] == printed and len(printed) == 3
    parent = open_parent(str(home / "parent"))
    assert (origin.run, origin.digest) == (str(home / "parent"), parent.digest)
    assert (origin.snapshot, origin.nimg) == ("best", parent.snapshot.nimg)
    shares = [f"{name} {share_taken(child, name)}" for name in ("generator", "discriminator")]
    assert origin.taken == ", ".join(shares)
    assert origin.adapted.startswith("6 of 4 classes: 4 by name, 2 from the mean; generator ")
    assert origin.new == "nothing"
    plain = json.loads((child.path / "config.json").read_text(encoding="utf-8"))
    assert plain["origin"]["digest"] == parent.digest and plain["init_classes"] == "mean"
    assert load_config(child.folder.config) == child.config
    page = gather_run_page(child.folder)
    assert dict(page.summary)["Started from"] == f"{home / 'parent'}, best generator, {kimg(origin.nimg)}"
    assert summarize_run(child.path).init == str(home / "parent")
    assert summarize_run(home / "parent").init is None


def test_new_classes_are_said(home: Path, tmp_path: Path) -> None:
    origin = train(home, "six.npz", tmp_path / "run", init_classes="new").config.origin
    assert origin is not None and origin.new.startswith("2 classes (4, 5)")
    images, _ = (load_file(home / "parent" / "best" / "generator_ema.safetensors"), None)
    rows = weights(RunFolder(tmp_path / "run"), 0, "generator")["stages.0.scale.weight"]
    assert torch.equal(rows[:4], images["stages.0.scale.weight"]) and torch.equal(
        rows[4:], torch.ones(2, rows.shape[1])
    )


def test_nearest_classes_are_found_through_the_data(home: Path, tmp_path: Path) -> None:
    child = train(home, "six.npz", tmp_path / "run", steps=1, init_classes="nearest")
    rows = weights(child.folder, 0, "generator")["stages.0.scale.weight"]
    assert all(any(torch.equal(row, old) for old in rows[:4]) for row in rows[4:])
    assert child.config.origin is not None and "2 from the nearest (4 from " in child.config.origin.adapted


def test_other_channels_and_no_classes(home: Path, tmp_path: Path) -> None:
    child = train(home, "gray.npz", tmp_path / "run", freeze_discriminator=1)
    origin = child.config.origin
    assert origin is not None and origin.adapted.startswith("gray from RGB; no classes, from the mean of 4; ")
    old = load_file(home / "parent" / "best" / "generator_ema.safetensors")
    new = weights(child.folder, 0, "generator")
    last = max(int(name.split(".")[1]) for name in old if name.endswith("weight") and old[name].dim() == 4)
    name = f"stages.{last}.weight"
    axis = next(i for i in range(4) if old[name].shape[i] != new[name].shape[i])
    assert torch.allclose(new[name], old[name].mean(dim=axis, keepdim=True), atol=1e-7)
    assert torch.allclose(new["stages.0.weight"], old["stages.0.scale.weight"].mean(0), atol=1e-7)
    before = weights(RunFolder(home / "parent"), 5, "discriminator")
    key = "stages.0.parametrizations.weight.original"
    sums = before[key].sum(dim=1, keepdim=True)
    assert torch.allclose(weights(child.folder, 0, "discriminator")[key], sums, atol=1e-6)


def test_another_size_keeps_the_blocks_that_correspond(home: Path, tmp_path: Path) -> None:
    child = train(home, "four.npz", tmp_path / "run", steps=1, **{"preparation.size": [32, 32]})
    assert child.config.origin is not None and child.config.origin.new.startswith("generator stem, stages.0")
    old = load_file(home / "parent" / "best" / "generator_ema.safetensors")
    new = weights(child.folder, 0, "generator_ema")
    assert torch.equal(new["stages.6.weight"], old["stages.2.weight"])
    assert new["stem.weight"].shape != old["stem.weight"].shape


# --- frozen blocks -------------------------------------------------------------------------------------------


def test_frozen_blocks_keep_their_weights_and_the_others_learn(home: Path, tmp_path: Path) -> None:
    child = train(home, "four.npz", tmp_path / "run", freeze_discriminator=1)
    first, last = (weights(child.folder, step, "discriminator") for step in (0, 4))
    frozen = {name for name in first if name.startswith("stages.0.") and not name.endswith(("_u", "_v"))}
    assert frozen == {"stages.0.bias", "stages.0.parametrizations.weight.original"}
    for name in first:
        if not name.endswith(("_u", "_v", "head.linear.bias")):  # a pairing loss does not depend on this bias
            assert torch.equal(first[name], last[name]) == (name in frozen), name
    moments = load_file(child.folder.latest_checkpoint() / "optimizers.safetensors")
    assert not [name for name in moments if name.endswith(tuple(frozen)) and "discriminator" in name]
    assert any("discriminator" in name and "stages.4" in name for name in moments)


def stop_after(steps: int) -> Callable[[], Any]:
    @contextmanager
    def asked() -> Iterator[Callable[[], bool]]:
        polls = iter(range(1, 10**6))
        yield lambda: next(polls) >= steps

    return asked


def test_resume_is_exact_and_does_not_read_the_parent_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"freeze_discriminator": 1, "init_classes": "new", "init": str(tmp_path / "parent")}
    shutil.copytree(home / "parent", tmp_path / "parent")
    whole = train(home, "six.npz", tmp_path / "whole", steps=6, **changes)
    with monkeypatch.context() as patch:
        patch.setattr(session, "stop_on_signal", stop_after(3))
        stopped = train(home, "six.npz", tmp_path / "stopped", steps=6, **changes)
    assert stopped.status() | {"pid": 0} == {"state": "stopped", "pid": 0, "step": 3, "nimg": 24, "rollbacks": 0}
    shutil.rmtree(tmp_path / "parent")
    api.resume(stopped.path)
    for name in ("generator", "generator_ema", "discriminator", "optimizers"):
        files = [run.folder.checkpoint_folder / "000006" / f"{name}.safetensors" for run in (whole, stopped)]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert api.open_run(stopped.path).config == whole.config


def test_what_a_run_started_from_cannot_be_changed_later(home: Path, tmp_path: Path) -> None:
    child = train(home, "four.npz", tmp_path / "run", steps=2)
    for name, value in (("init", "elsewhere"), ("init_classes", "new"), ("origin.run", "elsewhere")):
        with pytest.raises(RunError, match=f"--{name} is read only when a run begins"):
            api.resume(child.path, overrides={name: value})
    first = weights(child.folder, 2, "discriminator")
    api.resume(child.path, length="4 steps", overrides={"freeze_discriminator": 2})  # which blocks learn may change
    last = weights(child.folder, 4, "discriminator")
    key, head = (f"{layer}.parametrizations.weight.original" for layer in ("stages.4", "head.linear"))
    assert torch.equal(first[key], last[key]) and not torch.equal(first[head], last[head])


def lose_the_beginning(run: api.Run) -> None:
    """Leave a run as a kill between its first file and its first checkpoint does."""
    shutil.rmtree(run.folder.checkpoint_folder)
    shutil.rmtree(run.path / "best")
    for path in (run.folder.stats, run.folder.metrics, run.folder.status):
        path.unlink()


def test_a_run_that_ended_before_its_first_checkpoint_reads_the_same_parent(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "parent", tmp_path / "parent")
    whole = train(home, "six.npz", tmp_path / "whole", steps=2, init=str(tmp_path / "parent"))
    again = shutil.copytree(whole.path, tmp_path / "again")
    run = api.open_run(again)
    lose_the_beginning(run)
    api.resume(again)
    assert all(
        torch.equal(value, weights(whole.folder, 2, "generator")[name])
        for name, value in weights(run.folder, 2, "generator").items()
    )
    lose_the_beginning(run)
    shutil.rmtree(tmp_path / "parent")
    shutil.copytree(whole.path, tmp_path / "parent")
    with pytest.raises(RunError, match="its weights have changed since this run began"):
        api.resume(again)


def test_a_mistake_leaves_no_run_and_names_the_remedy(home: Path, tmp_path: Path) -> None:
    def refused(message: str, **changes: Any) -> None:
        with pytest.raises((ConfigError, RunError), match=message) as caught:
            train(home, "four.npz", tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists() and "\n" not in str(caught.value)

    refused("not a run", init=str(tmp_path / "nothing"))
    refused(
        r"config.freeze_discriminator: 2, but no trained model is given; add --init RUN",
        init=None,
        freeze_discriminator=2,
    )
    refused("the discriminator has 2 blocks; choose 0 to 2", freeze_discriminator=3)
    big = {"preparation.size": [32, 32]}
    refused("block 3 of the discriminator was made anew; choose at most 2", freeze_discriminator=3, **big)
    shutil.copytree(home / "parent", tmp_path / "only-best")
    shutil.rmtree(tmp_path / "only-best" / "training_checkpoints")
    refused("block 1 .* made anew; leave it at 0", init=str(tmp_path / "only-best"), freeze_discriminator=1)


def test_without_a_discriminator_a_new_one_is_made(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "parent", tmp_path / "parent")
    shutil.rmtree(tmp_path / "parent" / "training_checkpoints")
    child = train(home, "four.npz", tmp_path / "run", steps=1, init=str(tmp_path / "parent"))
    origin = child.config.origin
    assert origin is not None and origin.taken == "generator 100 %, discriminator 0 %"
    assert origin.new == "discriminator all" and origin.adapted == "nothing"


def test_a_model_of_the_zoo_is_a_parent_too(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(typed: Path) -> Path:
        return home / "parent" if str(typed) == "zoo:parent" else Path(typed)

    monkeypatch.setattr(runs, "find_run", find)
    child = train(home, "four.npz", tmp_path / "run", steps=1, init="zoo:parent")
    assert child.config.init == "zoo:parent" and child.config.origin is not None
    assert child.config.origin.lines()[0].startswith("taken from zoo:parent (best generator, ")


def test_a_dry_run_reads_the_parent(home: Path) -> None:
    preview = api.preview(home / "gray.npz", length="4 steps", overrides={**SMALL, "init": str(home / "parent")})
    assert preview.chosen.config.model == gansmith.open_run(home / "parent").config.model
    assert f"network  that of {home / 'parent'}" in preview.chosen.reasons
    said = [line.removeprefix("init    ") for line in preview.lines() if line.startswith("init")]
    assert [line.partition(":")[0].split()[0] for line in said] == ["taken", "adapted", "made"]
    assert "generator 99" in said[0] and "gray from RGB" in said[1]
    with pytest.raises(RunError, match="not a run"):
        api.preview(home / "gray.npz", overrides={"init": "nowhere"})


def test_keywords_and_whole_configurations(home: Path, tmp_path: Path) -> None:
    run = gansmith.train(
        home / "four.npz",
        init=str(home / "parent"),
        freeze_discriminator=1,
        run=tmp_path / "a",
        steps=1,
        overrides=SMALL,
    )
    again = gansmith.train(run.config, run=tmp_path / "b")
    assert again.config == run.config and start_from.__doc__


def test_a_short_training_on_photographs_starts_from_the_model_that_auto_knows(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaging = {"model.upsampling": "nearest", "model.downsampling": "pooled"}
    api.train(
        home / "four.npz", length="2 steps", run=home / "start", overrides={**SMALL, "model.width": 4, **averaging}
    )
    monkeypatch.setattr(auto, "START", str(home / "start"))
    monkeypatch.setattr(auto, "START_SIZE", (16, 16))
    monkeypatch.setattr(auto, "START_WIDTH", 16)
    monkeypatch.setattr(stages, "is_here", lambda name: name == str(home / "start"))
    with pytest.raises(ConfigError, match=r"config.model.width: 16, but .* was trained with 4"):
        train(home, "six.npz", tmp_path / "run", init=False)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(auto, "START_WIDTH", 4)
    monkeypatch.setattr(auto, "WIDTHS", ((0, 4),))
    child, other = (train(home, "six.npz", tmp_path / f"{init}", init=init) for init in (False, "none"))
    assert child.config.init == str(home / "start") and child.config.origin is not None
    taken, given = weights(child.folder, 0, "generator"), weights(RunFolder(home / "start"), 2, "generator_ema")
    same = [name for name, value in given.items() if taken[name].shape == value.shape]
    assert len(same) > len(given) / 2 and all(torch.equal(taken[name], given[name]) for name in same)
    assert other.config.init is None and other.config.origin is None
    planned = session.preview_training(
        override_as_user(dataclasses.replace(preset("auto"), data=Npz(path=home / "six.npz")), SMALL)
    )
    assert planned.chosen.config.init == str(home / "start")
    assert planned.chosen.config.origin == child.config.origin
