"""Recipes from outside the tree: an encoder beside G and D, and two generators, with no file of ours touched."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import gansmith
from gansmith import api, dist
from gansmith.component import override_as_user
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.errors import ConfigError
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import draw_latents, train_step
from gansmith.types import Batch, ImageSpec
from thread_ranks import Ranks

EXAMPLES = Path(__file__).parents[2] / "examples"
CPU = Compute(device=torch.device("cpu"), precision="float32")
SPEC = ImageSpec(height=16, width=16, channels=3, num_classes=2)
BIGAN, TWO = "bigan:BiGAN", "two_generators:TwoGenerators"
NETWORKS = {
    BIGAN: {"generator", "generator_ema", "encoder", "discriminator"},
    TWO: {"generator", "second_generator", "generator_ema", "second_generator_ema", "discriminator"},
}
SMALL: dict[str, Any] = {
    "model.width": 4, "model.z_dim": 6, "batch_size": 8, "precision": "float32", "held_out": 0.0,
    "ema_halflife_kimg": 0.05, "log_every": "2 steps", "samples.every": "3 steps", "checkpoint_every": "100 steps",
    "tracking": {"extractor": "random-conv", "every": "2 steps", "num": 8, "num_real": 8, "max_share": 1.0},
}  # fmt: skip


@pytest.fixture(autouse=True)
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("GANSMITH_TRUST", "bigan,two_generators")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    path = tmp_path / "pictures.npz"
    np.savez(path, images=draw.integers(0, 256, (32, 16, 16, 3), np.uint8), labels=np.arange(32) % 2)
    return path


def train(pictures: Path, run: Path, recipe: str, steps: int) -> api.Run:
    return gansmith.train(
        pictures, run=run, preset="dcgan-64", length=f"{steps} steps", overrides={**SMALL, "recipe": recipe}
    )


def weights(run: api.Run) -> dict[str, bytes]:
    saved = run.folder.latest_checkpoint()
    return {path.stem: path.read_bytes() for path in saved.glob("*.safetensors")}


def whole_batch() -> Batch:
    stream = torch.Generator().manual_seed(0)
    return Batch(torch.randint(0, 256, (8, 3, 16, 16), generator=stream).to(torch.uint8), torch.arange(8) % 2)


def make_state(recipe: str, **changes: Any) -> TrainState:
    config = Config(data=Npz(path=Path("nowhere.npz")), seed=3)
    fields = {"model.width": 4, "model.z_dim": 6, "model.generator_norm": "none", "model.discriminator_norm": "none"}
    config = override_as_user(config, {**fields, "batch_size": 8, "recipe": recipe, **changes})
    return TrainState.create(config, SPEC, CPU, epoch_size=8)


@pytest.mark.parametrize("recipe", NETWORKS)
def test_a_recipe_from_outside_trains_resumes_bit_for_bit_samples_and_reports(
    recipe: str, pictures: Path, tmp_path: Path
) -> None:
    whole = train(pictures, tmp_path / "whole", recipe, 6)
    train(pictures, tmp_path / "parts", recipe, 3)
    parts = api.resume(tmp_path / "parts", length="6 steps")
    assert weights(whole).keys() == {*NETWORKS[recipe], "optimizers"}
    assert weights(parts) == weights(whole)
    line = whole.stats()[-1]
    assert {f"gradient/{name}" for name in NETWORKS[recipe] if not name.endswith("_ema")} <= line.keys()
    assert whole.measurements()[-1].generated.step == 6
    one, four = whole.generator().sample(1, seed=3), whole.generator().sample(4, seed=0)
    assert (one.images[0] == four.images[3]).all()
    assert whole.report().read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("recipe", NETWORKS)
def test_the_best_generator_is_all_that_makes_images(recipe: str, pictures: Path, tmp_path: Path) -> None:
    run = train(pictures, tmp_path / "run", recipe, 4)
    assert run.folder.best is not None
    kept = {path.stem for path in run.folder.best.glob("*.safetensors")}
    assert kept == {name for name in NETWORKS[recipe] if name.endswith("_ema")}


def test_averages_follow_every_network_that_is_averaged(pictures: Path, tmp_path: Path) -> None:
    saved = train(pictures, tmp_path / "run", TWO, 4).folder.latest_checkpoint()
    for name in ("generator", "second_generator"):
        plain, averaged = (load_file(saved / f"{stem}.safetensors") for stem in (name, f"{name}_ema"))
        assert any((plain[key] != averaged[key]).any() for key in plain)
    first, second = (load_file(saved / f"{name}.safetensors") for name in ("generator", "second_generator"))
    assert any((first[key] != second[key]).any() for key in first)


@pytest.mark.parametrize("recipe", NETWORKS)
def test_two_ranks_make_the_step_of_one(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def batch_at(nimg: int, rank: int, world_size: int) -> Batch:
        batch, share = whole_batch(), 8 // world_size
        rows = slice(rank * share, (rank + 1) * share)
        assert batch.labels is not None
        return Batch(batch.images[rows], batch.labels[rows])

    one, two = make_state(recipe), [make_state(recipe) for _ in range(2)]
    train_step(one, batch_at)
    ranks = Ranks(2)
    monkeypatch.setattr(dist, "torch_dist", ranks)
    ranks.run(lambda rank: train_step(two[rank], batch_at))
    for name, network in one.networks.items():
        for key, wanted in network.state_dict().items():
            found = [each.networks[name].state_dict()[key] for each in two]
            assert torch.equal(*found)
            torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5, msg=f"{name}.{key}")


def first_step_of_adam(network: nn.Module, loss: Tensor, lr: float) -> list[tuple[Tensor, Tensor]]:
    """Each weight after Adam's first step, and where rounding does not decide the direction of it."""
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    pairs = zip(parameters, gradients, strict=True)
    return [((weight - lr * gradient.sign()).detach(), gradient.abs() > 1e-6) for weight, gradient in pairs]


def test_bigans_step_is_that_of_its_paper() -> None:
    """Equation 3 by hand: D on pairs, then G and E together through the new D."""
    adam = {"name": "adam", "lr": 0.01, "betas": [0.0, 0.9], "eps": 1e-12}
    optimizers = {"generator_optimizer": adam, "discriminator_optimizer": adam, "recipe.encoder_optimizer": adam}
    state, batch = make_state(BIGAN, **optimizers), whole_batch()
    g, e, d = (copy.deepcopy(state.networks[name]) for name in ("generator", "encoder", "discriminator"))
    z, real = draw_latents(state, salt=0), batch.images.float() / 127.5 - 1
    train_step(state, lambda *_: batch)
    fake, codes = g(z, batch.labels), e(real)
    on_real, on_fake = d(real, codes.detach(), batch.labels), d(fake.detach(), z, batch.labels)
    wanted = {"discriminator": first_step_of_adam(d, (F.softplus(-on_real) + F.softplus(on_fake)).mean(), 0.01)}
    d.load_state_dict(state.networks["discriminator"].state_dict())
    loss = (F.softplus(-d(fake, z, batch.labels)) + F.softplus(d(real, codes, batch.labels))).mean()
    wanted |= {name: first_step_of_adam(each, loss, 0.01) for name, each in (("generator", g), ("encoder", e))}
    for name, weights in wanted.items():
        for found, (weight, is_clear) in zip(state.networks[name].parameters(), weights, strict=True):
            torch.testing.assert_close(found[is_clear], weight[is_clear], rtol=1e-4, atol=1e-6, msg=name)


def test_settings_that_a_recipe_does_not_read_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.penalties: the recipe bigan:BiGAN does not read it"):
        make_state(BIGAN, penalties="r1")
    make_state(TWO, penalties="r1")


def test_a_run_of_a_recipe_that_is_not_trusted_is_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(pictures, tmp_path / "run", BIGAN, 1)
    assert json.loads(run.folder.config.read_text())["recipe"]["name"] == BIGAN
    monkeypatch.setenv("GANSMITH_TRUST", "")
    for use in (lambda: api.resume(run.path, length="2 steps"), run.generator):
        with pytest.raises(ConfigError, match="'bigan:BiGAN' would run code from outside gansmith"):
            use()


def test_auto_leaves_out_what_a_recipe_does_not_read(pictures: Path, tmp_path: Path) -> None:
    changes = {**SMALL, "recipe": BIGAN}
    run = gansmith.train(pictures, run=tmp_path / "run", length="2 steps", size=16, overrides=changes)
    assert run.config.preset == "auto" and run.config.penalties == () and run.config.augment is None
    with pytest.raises(ConfigError, match=r"config\.penalties: the recipe bigan:BiGAN does not read it"):
        gansmith.train(pictures, run=tmp_path / "other", length="2 steps", overrides={**changes, "penalties": "r1"})


def test_a_field_of_a_recipes_own_component_is_set_by_its_path() -> None:
    state = make_state(BIGAN, **{"recipe.encoder_optimizer.lr": 0.5})
    assert state.optimizers["encoder"].param_groups[0]["lr"] == 0.5
    with pytest.raises(ConfigError, match=r"config\.recipe\.encoder_optimizer\.rate: no such field"):
        make_state(BIGAN, **{"recipe.encoder_optimizer.rate": 0.5})
