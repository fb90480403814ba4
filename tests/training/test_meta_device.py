"""Whole training steps on a GPU that is not there: nothing is left on the CPU, and nothing is waited for."""

from __future__ import annotations

import copy
import dataclasses
import functools
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import _SpectralNorm

from gansmith.augment import AUGMENTS, OPERATIONS
from gansmith.component import override_as_user
from gansmith.data.batches import Batches
from gansmith.data.npz import Npz
from gansmith.data.resident import copy_to_device
from gansmith.data.store import Preparation, prepare
from gansmith.losses import LOSSES, Loss
from gansmith.models import MODELS, pretrained, projected
from gansmith.models.dcgan import DCGAN
from gansmith.models.pretrained import EfficientNetLite, LiteName
from gansmith.optimizers import OPTIMIZERS
from gansmith.penalties import PENALTIES, DiscriminatorPass, Penalty
from gansmith.regularizers import REGULARIZERS
from gansmith.training import state as state_module
from gansmith.training.config import Config
from gansmith.training.presets import PRESETS, configure
from gansmith.training.recipe import RECIPES
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, DiscriminatorOutput, ImageSpec
from pretend_gpu import PRETEND_GPU, PretendGpu, Waited, pretend_compute, pretend_gpu

EXAMPLES = Path(__file__).parents[2] / "examples"
PRECISIONS = ("bfloat16", pytest.param("float32", marks=pytest.mark.slow))  # mixed precision has all and more
OUTSIDE = ("bigan:BiGAN", "two_generators:TwoGenerators")
SPECS = [
    ImageSpec(height=16, width=16, channels=3, num_classes=3),
    ImageSpec(height=20, width=15, channels=1),
    ImageSpec(height=64, width=64, channels=4, num_classes=2),
]
SPEC = SPECS[0]
SMALL: dict[str, Any] = {"model.width": 4, "model.z_dim": 6, "batch_size": 8}
PLAIN = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), seed=3)


@pytest.fixture(autouse=True)
def _counted_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks begin with their weights alone: what is done to them before the first step takes seconds here."""
    monkeypatch.setattr(state_module, "require_training_memory", lambda *_: None)  # which builds them once more
    iterate = _SpectralNorm._power_method

    def iterate_in_steps(self: Any, weight: Tensor, num: int) -> None:
        if num == 1:
            iterate(self, weight, num)

    monkeypatch.setattr(_SpectralNorm, "_power_method", iterate_in_steps)


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("GANSMITH_TRUST", "bigan,two_generators,test_meta_device")


def batch_of(spec: ImageSpec) -> Batch:
    images = torch.zeros(8, spec.height, spec.width, spec.channels, dtype=torch.uint8).permute(0, 3, 1, 2)
    return Batch(images, torch.arange(8) % spec.num_classes if spec.num_classes else None)


def make_state(config: Config, spec: ImageSpec = SPEC, precision: str = "float32", **networks: Any) -> TrainState:
    return TrainState.create(config, spec, pretend_compute(precision), epoch_size=8, **networks)


def take_steps(config: Config, spec: ImageSpec = SPEC, precision: str = "float32", **networks: Any) -> PretendGpu:
    """Make the first step, which a rare penalty is due at, and a second one."""
    state = make_state(config, spec, precision, **networks)
    batch = batch_of(spec)
    with pretend_gpu() as gpu:
        for _ in range(2):
            train_step(state, lambda *_: batch)
    assert state.step == 2 and gpu.read == []
    others = [average for averages in state.other_averages.values() for average in averages.values()]
    for network in (*state.networks.values(), *state.averages.values(), *others):
        assert {tensor.device for tensor in network.state_dict().values()} == {PRETEND_GPU}
    for name, network in state.networks.items():
        assert all(state.optimizers[name].state[weight]["exp_avg"].is_meta for weight in network.parameters()), name
    return gpu


def changed(**changes: Any) -> Config:
    return override_as_user(PLAIN, {"batch_size": 8, **changes})


# --- everything that there is ------------------------------------------------------------------------------


@functools.cache
def make_short_backbone(name: LiteName) -> EfficientNetLite:
    """The frozen network without blocks that repeat another one: of the second stage two are left, of others one."""
    weights = pretrained._read_checked(pretrained.LITE[name])
    state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    stages, blocks, first = [], list[int](), 0
    for place, (*geometry, repeats) in enumerate(pretrained.STAGES):
        stages.append((*geometry, min(repeats, 2 if place == 1 else 1)))
        blocks += range(first, first + stages[-1][-1])
        first += repeats
    for key in [key for key in state if key.startswith("_blocks.")]:
        _, block, rest = key.split(".", 2)
        tensor = state.pop(key)
        if int(block) in blocks:
            state[f"_blocks.{blocks.index(int(block))}.{rest}"] = tensor
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(pretrained, "STAGES", tuple(stages))
        return EfficientNetLite(name, state)


@pytest.fixture
def short_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models look through less of the frozen network; the test of presets has all of it."""
    monkeypatch.setattr(projected, "load_efficientnet_lite", lambda name: copy.deepcopy(make_short_backbone(name)))


@pytest.mark.usefixtures("short_backbone")
@pytest.mark.parametrize(  # precisions in turn; the others, and the largest of the slowest model, are slow
    ("model", "spec", "precision"),
    [
        pytest.param(
            model,
            spec,
            precision,
            marks=[pytest.mark.slow] if (i + j + k) % 2 or (model, j) == ("projected", 2) else [],
        )
        for i, model in enumerate(MODELS)
        for j, spec in enumerate(SPECS)
        for k, precision in enumerate(("float32", "bfloat16"))
    ],
    ids=str,
)
def test_every_model(model: str, spec: ImageSpec, precision: str) -> None:
    config = override_as_user(PLAIN, {"model": model, **SMALL, "penalties": ["r1"]})
    gpu = take_steps(config, spec, precision)
    wanted = torch.bfloat16 if precision == "bfloat16" else torch.float32
    assert gpu.convolved == ({wanted} if model != "dense" else set())


@pytest.mark.parametrize(("model", "changes"), [
    ("dcgan", {"discriminator_norm": "batch", "generator_norm": "instance", "dropout": 0.3}),
    ("dcgan", {"discriminator_norm": "group", "generator_norm": "none", "spectral_norm": True}),
    ("dense", {"output": "sigmoid", "latent": "uniform"}),
])  # fmt: skip
@pytest.mark.parametrize("precision", PRECISIONS)
def test_options_of_models(model: str, changes: Mapping[str, Any], precision: str) -> None:
    fields = {f"model.{name}": value for name, value in changes.items()}
    take_steps(override_as_user(PLAIN, {"model": model, **SMALL, **fields}), SPEC, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss: str, precision: str) -> None:
    take_steps(changed(loss=loss), SPEC, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_every_penalty(penalty: str, precision: str) -> None:
    take_steps(changed(penalties=[{"name": penalty, "every": 2}], micro_batch=3), SPEC, precision)


class _WithFeatures(nn.Module):
    """A discriminator with two heads, one of them a map, that returns what it has computed on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4, 1)

    def forward(self, images: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        features = F.leaky_relu(self.trunk(images), 0.2)
        logits = self.head(features.mean((2, 3))).squeeze(1).float()
        return DiscriminatorOutput(heads=(logits, features.sum(1).float()), features=(features,))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_every_regularizer(regularizer: str, precision: str) -> None:
    config = changed(regularizers=[{"name": regularizer}])
    take_steps(
        config,
        precision=precision,
        networks=lambda: {"generator": config.model.generator(SPEC), "discriminator": _WithFeatures()},
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_augmentation(operation: str) -> None:
    take_steps(changed(augment={"name": "fixed", "operations": [operation]}, penalties=["r1"]), SPEC, "bfloat16")


@pytest.mark.parametrize("channels", [1, 3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("augment", AUGMENTS)
def test_every_control_of_augmentation(augment: str, channels: int) -> None:
    operations = [name for name, each in OPERATIONS.items() if channels > 1 or not each.needs_hues]
    spec = dataclasses.replace(SPEC, channels=channels)
    for by in ({"by": "sign"}, {"by": "held-out"})[: 2 if channels == 3 else 1] if augment == "adaptive" else ({},):
        take_steps(changed(augment={"name": augment, "operations": operations, **by}), spec)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str) -> None:
    take_steps(changed(generator_optimizer=optimizer, discriminator_optimizer={"name": optimizer, "beta2_end": 0.9}))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("recipe", [*RECIPES, *OUTSIDE])
def test_every_recipe(recipe: str, precision: str) -> None:
    take_steps(changed(recipe=recipe), SPEC, precision)


def test_several_steps_of_the_discriminator_with_fresh_fakes() -> None:
    take_steps(changed(discriminator_steps=2, reuse_fakes=False, loss="relativistic", ema_halflife_kimg=0.0))


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "auto"])
def test_every_preset(preset: str) -> None:
    config = configure(preset=preset, overrides={"batch_size": 8, "model.width": 4})
    if config.augment is not None and not config.augment.operations:  # which the data would decide
        config = override_as_user(config, {"augment.operations": ["translation", "cutout", "brightness"]})
    take_steps(config, ImageSpec(height=32, width=32, channels=3, num_classes=3), "bfloat16")


# --- what goes there, and what comes back ------------------------------------------------------------------


def test_from_data_on_the_device_a_step_needs_only_indices_and_latents(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(20) % 3)
    batches = Batches(store=prepare(Npz(path=tmp_path / "x.npz"), Preparation()), batch_size=8)
    batch_at, state = copy_to_device(PRETEND_GPU, batches), make_state(changed())
    with pretend_gpu() as gpu:
        train_step(state, batch_at)
    assert gpu.sent == [(8,), (8, 6)]


def test_a_step_sends_each_thing_once() -> None:
    gpu = take_steps(changed())
    assert gpu.sent == 2 * [(8, 3, 16, 16), (8,), (8, 6)]


def test_statistics_are_read_once_for_each_group_of_keys_and_only_when_a_line_is_due() -> None:
    state, batch = make_state(changed(penalties=["r1"])), batch_of(SPEC)
    readers = ("training.statistics:collect", "training.statistics:to_plain", "training.statistics:last_means")
    with pretend_gpu(*readers) as gpu:
        for _ in range(3):
            train_step(state, lambda *_: batch)
        assert gpu.read == []
        groups = len(state.statistics.to_plain())
        assert gpu.read == groups * ["training.statistics:to_plain"]
        state.statistics.collect()
        assert gpu.read[groups:] == groups * ["training.statistics:collect"]


def test_whether_all_weights_are_finite_is_one_read() -> None:
    state = make_state(changed())
    with pretend_gpu("training.state:is_finite") as gpu:
        state.is_finite()
    assert gpu.read == ["training.state:is_finite"]


# --- that it would be noticed ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peeking(Loss):
    """A loss that waits for the device."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real) * (1.0 if real.mean().item() > 0 else 2.0)

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return -fake


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftBehind(Penalty):
    """A penalty whose weights are on the CPU."""

    def per_sample(self, scored: DiscriminatorPass) -> Tensor:
        return scored.real_logits * torch.linspace(0, 1, len(scored.real_logits))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": Peeking()}, r"_local_scalar_dense.*waited for by training\.adversarial:|losses:"),
        ({"penalties": (LeftBehind(),)}, "tensors on the GPU meet tensors left on the CPU"),
    ],
)
def test_a_loss_that_reads_and_a_penalty_on_the_cpu_would_be_noticed(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(Waited, match=message):
        take_steps(dataclasses.replace(changed(), **changes))
