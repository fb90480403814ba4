"""A trained model to start from is checked before anything is taken from it, and decides the architecture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from gansmith import api
from gansmith.component import override
from gansmith.errors import ConfigError, GansmithError, RunError
from gansmith.models.dcgan import DCGAN
from gansmith.models.r3 import R3
from gansmith.training.checkpoint_files import open_checkpoint, write_files
from gansmith.training.config import Config
from gansmith.training.parent import follow_parent, open_parent
from gansmith.training.presets import build_config

TRACKING = {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0}
SMALL: dict[str, Any] = {"batch_size": 8, "model.width": 4, "tracking": TRACKING, "keep_checkpoints": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("parents")
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (40, 16, 24, 3), np.uint8)
    np.savez(home / "pictures.npz", images=images, labels=np.arange(40) % 4)
    return api.train(home / "pictures.npz", length="4 steps", run=home / "run", overrides=SMALL).path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def replace_weights(folder: Path, change: Any, stem: str = "generator_ema") -> None:
    """Write a checkpoint anew, with digests that are right, and one network's tensors changed."""
    saved = open_checkpoint(folder)
    files = {name: dict(tensors) for name, tensors in saved.tensors.items()}
    change(files[stem])
    plain = {key: value for key, value in saved.state.items() if key not in ("files", "seal")}
    write_files(folder, files, plain)


def test_the_best_generator_is_read_and_the_last_discriminator(trained: Path) -> None:
    parent = open_parent(str(trained))
    best = load_file(trained / "best" / "generator_ema.safetensors")
    last = load_file(trained / "training_checkpoints" / "000004" / "discriminator.safetensors")
    for name, expected in (("generator", best), ("discriminator", last)):
        assert parent.tensors[name].keys() == expected.keys()
        assert all(torch.equal(parent.tensors[name][each], expected[each]) for each in expected)
    state = json.loads((trained / "best" / "state.json").read_text(encoding="utf-8"))
    assert (parent.snapshot.which, parent.snapshot.nimg) == ("best", state["nimg"])
    assert parent.class_names == ("0", "1", "2", "3") and parent.spec.num_classes == 4
    assert parent.digest == open_parent(str(trained)).digest and len(parent.digest) == 64


def test_without_checkpoints_there_is_no_discriminator_but_one_beside_the_generator_is_read(run: Path) -> None:
    content = (run / "training_checkpoints" / "000004" / "discriminator.safetensors").read_bytes()
    shutil.rmtree(run / "training_checkpoints")
    before = open_parent(str(run))
    assert before.tensors.keys() == before.structures.keys() == {"generator"}
    saved = open_checkpoint(run / "best")
    (run / "discriminator.safetensors").write_bytes(content)
    tensors = load_file(run / "discriminator.safetensors")
    plain = {key: value for key, value in saved.state.items() if key not in ("files", "seal")}
    write_files(run / "best", {**saved.tensors, "discriminator": tensors}, plain)
    after = open_parent(str(run))
    assert after.tensors.keys() == {"generator", "discriminator"} and after.digest != before.digest


def test_half_precision_is_read_as_float32(run: Path) -> None:
    whole = open_parent(str(run)).tensors["generator"]

    def halve(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {name: each.half() for name, each in tensors.items() if each.is_floating_point()}

    replace_weights(run / "best", halve)
    read = open_parent(str(run)).tensors["generator"]
    assert all(each.dtype == whole[name].dtype for name, each in read.items())
    assert torch.equal(read["stem.weight"], whole["stem.weight"].half().float())


def spoil(name: str, value: float) -> Any:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name].flatten()[3] = value

    return change


def swap(tensors: dict[str, torch.Tensor]) -> None:
    tensors["stem.weight"] = tensors["stem.weight"][:-1].clone()


def extra(tensors: dict[str, torch.Tensor]) -> None:
    tensors["another.weight"] = torch.zeros(2)


HOSTILE: dict[str, tuple[str, str, Any, str]] = {
    "NaN in G": ("best", "generator_ema", spoil("stem.weight", float("nan")), "its generator contain NaN or infinity"),
    "infinity in D": (
        "training_checkpoints/000004",
        "discriminator",
        spoil("head.linear.weight", float("inf")),
        "its discriminator contain NaN or infinity",
    ),
    "shape": ("best", "generator_ema", swap, "another network than config.json describes"),
    "name": ("best", "generator_ema", extra, "another network than config.json describes"),
    "D of another network": ("training_checkpoints/000004", "discriminator", extra, "another network"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_weights_that_cannot_be_used_are_refused_in_a_line(case: str, run: Path) -> None:
    folder, stem, change, message = HOSTILE[case]
    replace_weights(run / folder, change, stem)
    with pytest.raises(RunError, match=message) as caught:
        open_parent(str(run))
    assert str(run) in str(caught.value) and "\n" not in str(caught.value)


def test_hostile_folders_are_refused_in_a_line(run: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(GansmithError, match=message) as caught:
            open_parent(str(run))
        assert "\n" not in str(caught.value)

    config = run / "config.json"
    text = config.read_text(encoding="utf-8")
    plain = {key: value for key, value in json.loads(text).items() if key != "seal"}
    config.write_text(json.dumps({**plain, "model": {"name": "os:system"}}), encoding="utf-8")
    refused("GANSMITH_TRUST=os")
    config.write_text(json.dumps({**plain, "model": {**plain["model"], "width": 4096}}), encoding="utf-8")
    refused("another network than config.json describes")
    config.write_text(text[:200], encoding="utf-8")
    refused("cannot read the configuration")
    config.write_text(text, encoding="utf-8")
    (run / "best" / "generator_ema.safetensors").write_bytes(save({"stem.weight": torch.zeros(2)}))
    shutil.rmtree(run / "training_checkpoints")
    refused("no checkpoint yet")  # as the best generator differs from its digest
    (run / "link").symlink_to(tmp_path)
    refused("link")
    shutil.rmtree(run)
    refused("not a run")


# --- the configuration ---------------------------------------------------------------------------------------


def test_the_architecture_and_the_size_are_the_parents(trained: Path) -> None:
    parent = open_parent(str(trained))
    config = follow_parent(build_config("digits"), parent)
    assert config.model == parent.config.model and isinstance(config.model, DCGAN) and config.model.width == 4
    assert config.preparation.size == (16, 24)
    other = follow_parent(build_config("digits", overrides={"preparation.size": [32, 32]}), parent)
    assert other.preparation.size == (32, 32) and other.model == config.model
    assert other.loss == build_config("digits").loss


def test_fields_that_change_no_shape_are_kept(trained: Path) -> None:
    config = follow_parent(build_config("digits", overrides={"model.leak": 0.1}), open_parent(str(trained)))
    assert isinstance(config.model, DCGAN) and (config.model.leak, config.model.width) == (0.1, 4)


def test_a_whole_configuration_keeps_its_model(trained: Path) -> None:
    parent = open_parent(str(trained))
    kept = override(Config(model=parent.config.model), {"preparation.size": [16, 24]})
    assert follow_parent(kept, parent).model == parent.config.model
    with pytest.raises(ConfigError, match=r"^config.model.width: 5, but .* was trained with 4"):
        follow_parent(Config(model=DCGAN(width=5)), parent)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.width": 8}, r"^config.model.width: 8, but .* trained with 4, so .*; choose --model.width 4, or leave"),
        ({"model.z_dim": 7, "model.width": 8}, r"^config.model.width: 8"),
        ({"model.z_dim": 7}, r"^config.model.z_dim: 7, but .* with 64, .* choose --model.z_dim 64"),
        ({"model": "r3"}, r"^config.model: r3, but .* is a dcgan; choose --model dcgan, or leave --model out"),
        ({"model.kernel": 1, "model.width": 8}, r"config.model"),
    ],
)
def test_another_architecture_is_refused(changes: dict[str, Any], message: str, trained: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        follow_parent(build_config("digits", overrides=changes), open_parent(str(trained)))
    assert "\n" not in str(caught.value)


def test_another_model_class_is_named(trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.model: r3"):
        follow_parent(Config(model=R3(width=4)), open_parent(str(trained)))
