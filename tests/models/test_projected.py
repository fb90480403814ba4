"""Projected: what the backbone sees, how its maps are mixed, what is frozen, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.component import override_as_user
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.losses import Hinge, discriminator_loss, generator_loss
from gansmith.models import projected
from gansmith.models.inheritance import Difference, inherit
from gansmith.models.pretrained import find_backbones
from gansmith.models.projected import Projected
from gansmith.penalties import R1, R2, DiscriminatorPass
from gansmith.runs import RunFolder
from gansmith.training.checkpoint import load_state, save_state
from gansmith.training.config import Config
from gansmith.training.guard.guardian import open_guardian
from gansmith.training.guard.settings import Guard
from gansmith.training.presets import preset
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, DiscriminatorOutput, ImageSpec

CPU = Compute(device=torch.device("cpu"), precision="float32")
SPEC = ImageSpec(height=16, width=12, channels=3, num_classes=3)
SMALL: dict[str, Any] = {"width": 4, "z_dim": 6, "feature_size": 32, "mixing_width": 4, "head_width": 8}


def make_images(spec: ImageSpec = SPEC, num: int = 2) -> Tensor:
    stream = torch.Generator().manual_seed(0)
    return torch.rand(num, spec.channels, spec.height, spec.width, generator=stream) * 2 - 1


def make_discriminator(spec: ImageSpec = SPEC, seed: int = 0, **fields: Any) -> Any:
    torch.manual_seed(seed)
    return Projected(**{**SMALL, **fields}).discriminator(spec)


# --- what the backbone sees --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (150, 40), (31, 90), (100, 37)])
def test_images_are_resized_linearly_with_a_wider_filter_where_they_shrink(size: tuple[int, int]) -> None:
    images = make_images(ImageSpec(height=100, width=37, channels=3))
    view = projected._View((100, 37), size, (-1.0, 1.0))
    wanted = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    assert view(images).shape == (2, 3, *size)
    torch.testing.assert_close(view(images), wanted, atol=2e-5, rtol=0)


def test_gray_is_shown_in_three_channels_and_transparency_over_gray() -> None:
    view = projected._View((16, 12), (16, 12), (-1.0, 1.0))
    gray = make_images(ImageSpec(height=16, width=12, channels=1))
    assert torch.equal(view(gray), torch.cat([gray] * 3, dim=1))
    clear = make_images(ImageSpec(height=16, width=12, channels=4))
    torch.testing.assert_close(view(clear), clear[:, :3] * (clear[:, 3:] + 1) / 2)


def test_pixels_of_any_range_look_the_same_to_it() -> None:
    images = make_images()
    signed, unit = (projected._View((16, 12), (32, 24), low_high) for low_high in ((-1.0, 1.0), (0.0, 1.0)))
    torch.testing.assert_close(unit((images + 1) / 2), signed(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "wanted"), [(64, 64, (64, 64)), (256, 64, (128, 32)), (128, 72, (85, 48)), (9, 400, (32, 427))]
)
def test_the_backbone_s_input_keeps_aspect_and_area(height: int, width: int, wanted: tuple[int, int]) -> None:
    spec = ImageSpec(height=height, width=width, channels=3)
    assert Projected(feature_size=64).input_size(spec) == wanted


# --- mixing and heads --------------------------------------------------------------------------------------


def test_maps_are_mixed_across_channels_then_from_the_deepest_on_across_scales() -> None:
    torch.manual_seed(0)
    mixing = projected._Mixing((24, 40, 112), width=3)
    maps = [torch.randn(2, channels, side, side + 1) for channels, side in ((24, 8), (40, 4), (112, 2))]
    found = mixing(maps)

    weights = dict(mixing.named_buffers())
    across = [torch.einsum("dc,nchw->ndhw", weights[f"across{i}"][:, :, 0, 0], x) for i, x in enumerate(maps)]
    middle = across[1] + _enlarge(_convolve(across[2], weights["down1"]), (4, 5))
    first = across[0] + _enlarge(_convolve(middle, weights["down0"]), (8, 9))
    for mixed, wanted in zip(found, (first, middle, across[2]), strict=True):
        torch.testing.assert_close(mixed, wanted, atol=1e-5, rtol=1e-4)


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    patches = F.unfold(x, 3, padding=1)
    return (weight.flatten(1) @ patches).view(len(x), len(weight), *x.shape[2:])


def _enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    return projected._View(x.shape[2:], size, (-1.0, 1.0)).rows @ x @ projected._interpolation(x.shape[3], size[1]).T


def test_mixing_keeps_the_mean_square() -> None:
    torch.manual_seed(0)
    mixing = projected._Mixing((24, 40, 112, 320), width=64)
    deviations = [mixing.get_buffer(f"across{i}").std() * fan**0.5 * spread for i, fan, spread in (
        (0, 24, 9.0), (1, 40, 8.0), (2, 112, 7.0), (3, 320, 3.5))]  # fmt: skip
    deviations += [mixing.get_buffer(f"down{i}").std() * (9 * 64 * 2 ** (i + 1)) ** 0.5 for i in range(3)]
    assert all(abs(deviation - 1) < 0.05 for deviation in deviations)


def test_the_hinge_acts_on_each_logit() -> None:
    discriminator = make_discriminator(pixel_head=True, map_weight=0.5)
    images, labels = make_images(), torch.tensor([0, 2])
    real, fake = discriminator(images, labels), discriminator(-images, labels)
    scored = [(a.flatten(1), b.flatten(1)) if a.dim() > 1 else (a[:, None], b[:, None]) for a, b in _pairs(real, fake)]
    *maps, pixels = [(1 - a).clamp(min=0).mean(1) + (1 + b).clamp(min=0).mean(1) for a, b in scored]
    torch.testing.assert_close(discriminator_loss(Hinge(), real, fake), 0.5 * sum(maps) + pixels)
    *maps, pixels = [-b.mean(1) for _, b in scored]
    torch.testing.assert_close(generator_loss(Hinge(), None, fake), 0.5 * sum(maps) + pixels)
    torch.testing.assert_close(real.logits, sum(a.mean(1) for a, _ in scored))


def _pairs(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> list[tuple[Tensor, Tensor]]:
    return list(zip(real.heads, fake.heads, strict=True))


def test_a_class_adds_its_product_with_the_features_of_each_position() -> None:
    torch.manual_seed(0)
    head = projected._Head(Projected(**SMALL), 4, (8, 12), num_classes=3).eval()
    x, labels = torch.randn(2, 4, 8, 12), torch.tensor([1, 2])
    features = head.stages(x)
    assert features.shape == (2, 8, 4, 6)
    weight = head.score.linear.weight[0] + head.score.embedding.weight[labels]
    wanted = torch.einsum("nd,ndhw->nhw", weight, features) + head.score.linear.bias
    torch.testing.assert_close(head(x, labels), wanted)


def test_heads_have_spectral_norm_1_and_pixels_their_own_discriminator() -> None:
    discriminator = make_discriminator(pixel_head=True)
    for _ in range(30):
        discriminator(make_images(), torch.tensor([0, 1]))
    layers = [module for module in discriminator.heads.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) >= 8
    for layer in [*layers, *(head.score.embedding for head in discriminator.heads)]:
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) == pytest.approx(1, abs=0.02)
    assert not any("parametrizations" in name for name in discriminator.pixels.state_dict())


@pytest.mark.parametrize(("num", "pixel_head"), [(1, False), (2, True), (3, False), (4, True)])
def test_only_as_many_maps_are_used_as_asked_for(num: int, pixel_head: bool) -> None:
    discriminator = make_discriminator(num_scales=num, pixel_head=pixel_head)
    heads = discriminator(make_images(), torch.tensor([0, 1])).heads
    assert len(heads) == num + pixel_head
    assert discriminator.head_weights == ((0.25,) * num + (1.0,) if pixel_head else (1.0,) * num)


# --- the generator -----------------------------------------------------------------------------------------


def test_small_maps_scale_the_channels_of_maps_eight_times_as_large() -> None:
    spec = ImageSpec(height=128, width=100, channels=3)
    generator: Any = Projected(width=4, z_dim=6).generator(spec).eval()
    plain: Any = Projected(width=4, z_dim=6, excitation=False).generator(spec).eval()
    assert len(generator.gates) == 2 and len(plain.gates) == 0
    missing, unexpected = plain.load_state_dict(generator.state_dict(), strict=False)
    assert not missing and all(name.startswith("gates.") for name in unexpected)
    z = torch.randn(2, 6)
    assert not torch.equal(generator(z), plain(z))
    for gate in generator.gates:  # sigmoid(30) is 1 in float32
        nn.init.zeros_(gate.layers[3].weight)
        nn.init.constant_(gate.layers[3].bias, 30)
    torch.testing.assert_close(generator(z), plain(z))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 256), (250, 70), (256, 256), (100, 100)])
def test_sizes(height: int, width: int) -> None:
    spec = ImageSpec(height=height, width=width, channels=1)
    with torch.device("meta"):
        network = Projected(width=4, z_dim=6).generator(spec)
        assert network(torch.empty(2, 6)).shape == (2, 1, height, width)


# --- what is frozen, and what is saved ---------------------------------------------------------------------


def make_state(seed: int = 3, **changes: Any) -> TrainState:
    fields = {"model": {"name": "projected", **SMALL}, "loss": "hinge", "batch_size": 4, "seed": seed}
    config = override_as_user(Config(data=Npz(path=Path("nowhere.npz"))), {**fields, **changes})
    return TrainState.create(config, SPEC, CPU, epoch_size=8)


def batch_at(nimg: int, *_: int) -> Batch:
    draw = np.random.default_rng(nimg)
    images = torch.from_numpy(draw.integers(0, 256, (4, 3, 16, 12), np.uint8))
    return Batch(images, torch.arange(4) % 3)


def of_backbone(state: TrainState) -> list[Tensor]:
    backbone = state.networks["discriminator"].get_submodule("backbone")
    return [tensor.clone() for tensor in backbone.buffers()]


def of_mixing(state: TrainState) -> list[Tensor]:
    return [tensor.clone() for tensor in state.networks["discriminator"].get_submodule("mixing").buffers()]


def test_training_changes_heads_and_generator_but_neither_backbone_nor_mixing() -> None:
    state = make_state(loss="sigmoid")  # the hinge may leave a bias alone
    frozen, before = [*of_backbone(state), *of_mixing(state)], {
        name: [weight.detach().clone() for weight in network.parameters()] for name, network in state.networks.items()
    }  # fmt: skip
    for _ in range(3):
        train_step(state, batch_at)
    assert all(map(torch.equal, frozen, [*of_backbone(state), *of_mixing(state)]))
    for name, network in state.networks.items():
        assert not any(map(torch.equal, before[name], network.parameters())), name


def test_a_checkpoint_holds_the_mixing_but_no_weight_of_the_backbone(tmp_path: Path) -> None:
    state = make_state()
    train_step(state, batch_at)
    save_state(state, tmp_path, [])
    saved = load_file(tmp_path / "discriminator.safetensors")
    assert {name.split(".")[0] for name in saved} == {"mixing", "heads"}
    assert {name for name in saved if name.startswith("mixing")} == {
        *(f"mixing.across{i}" for i in range(4)),
        *(f"mixing.down{i}" for i in range(3)),
    }


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),  # the other has these heads, and one more
        {"model.pixel_head": True, "loss": "relativistic", "penalties": ["r1", "r2"]},
    ],
)
def test_resumed_with_other_initial_weights_it_goes_on_bit_for_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    whole, resumed = make_state(**changes), make_state(**changes)
    for _ in range(2):
        train_step(whole, batch_at)
    save_state(whole, tmp_path, [])
    for tensor in resumed.networks["discriminator"].state_dict().values():
        tensor.zero_()  # the mixing too
    load_state(resumed, tmp_path)
    for state in (whole, resumed):
        for _ in range(2):
            train_step(state, batch_at)
    for name, network in whole.networks.items():
        twin = resumed.networks[name].state_dict()
        assert all(torch.equal(tensor, twin[key]) for key, tensor in network.state_dict().items()), name


def test_it_declares_its_backbone_so_that_no_metric_shares_it() -> None:
    assert find_backbones(Projected(**SMALL)) == {"lite0"}
    assert find_backbones(preset("projected")) == {"lite0"}


@pytest.mark.parametrize(("model", "weight"), [({}, 4.0), ({"model.pixel_head": True, "model.num_scales": 2}, 1.5)])
def test_the_guard_expects_the_loss_of_every_head(model: dict[str, Any], weight: float, tmp_path: Path) -> None:
    state = make_state(**model)
    guardian = open_guardian(Guard(), Mock(), RunFolder(tmp_path), state, lambda: ())
    assert guardian.chance_loss == 2 * weight  # the hinge of logits of 0


@pytest.mark.parametrize("penalty", [R1(), R2()])
def test_the_gradient_of_the_head_that_sees_pixels_alone_is_penalised(penalty: R1 | R2) -> None:
    discriminator = make_discriminator(pixel_head=True)
    labels, images = torch.tensor([0, 2]), make_images().requires_grad_()
    output = discriminator(images, labels)
    values = {"real": output, "fake": output, "real_images": images, "fake_images": images, "labels": labels}
    found = penalty.per_sample(Mock(spec=DiscriminatorPass, **values))
    (gradient,) = torch.autograd.grad(discriminator.pixels(images, labels).sum(), images)
    torch.testing.assert_close(found, gradient.square().sum(dim=(1, 2, 3)) / 2)


def test_the_generator_learns_from_every_head() -> None:
    discriminator = make_discriminator(pixel_head=True)
    images = make_images().requires_grad_()
    for head in discriminator(images, torch.tensor([0, 1])).heads:
        (gradient,) = torch.autograd.grad(head.sum(), images, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_a_smaller_network_takes_the_heads_the_mixing_and_the_stages_next_to_the_image() -> None:
    small, large = (ImageSpec(height=side, width=side, channels=3, num_classes=2) for side in (32, 64))
    model, same = Projected(**SMALL), torch.eye(2)
    difference = Difference(old=large, new=small, classes=same, mean=same[0])
    heads = inherit(
        model.discriminator(small), model.discriminator(large), model.discriminator(large).state_dict(), difference
    )
    assert heads.num_new == heads.num_adapted == 0
    trained = model.generator(large).state_dict()
    found = inherit(model.generator(small), model.generator(large), trained, difference)
    assert not [name for name in found.new if name.startswith("stages.")]
    assert torch.equal(found.tensors["stages.2.0.weight"], trained["stages.3.0.weight"])  # both are next to the image
