"""Weights of a trained network in another one: compared with tensors made by hand, and by what the networks compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gansmith.component import member
from gansmith.models.dcgan import DCGAN
from gansmith.models.dense import Dense
from gansmith.models.inheritance import Difference, Inherited, channel_shares, inherit
from gansmith.models.model import GeneratorNetwork, Model
from gansmith.models.r3 import R3
from gansmith.models.resnet import ResNet
from gansmith.types import ImageSpec

PLAIN, THREE = (ImageSpec(height=16, width=16, channels=3, num_classes=num) for num in (0, 3))
FAMILIES: dict[str, dict[str, Any]] = {
    "dcgan": {},
    "dcgan embedding": {"conditioning": "embedding"},
    "dcgan no norm": {"generator_norm": "none"},
    "dcgan flat": {"stem_norm": "number"},
    "dense": {"depth": 2, "generator_norm": "batch"},
    "r3": {},
    "resnet": {},
    "resnet embedding": {"conditioning": "embedding"},
}


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    name = str(request.param)
    return member(Model, name.split()[0], "model")(width=4, z_dim=6, **FAMILIES[name])


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network whose weights and running statistics are all other than at the start."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn_like(tensor) * 0.3
                tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return network.eval()


def difference(old: ImageSpec, new: ImageSpec, classes: Tensor | None = None) -> Difference:
    if classes is None:
        same = old.num_classes == new.num_classes
        classes = torch.eye(old.num_classes) if same else torch.zeros(new.num_classes, old.num_classes)
    mean = torch.full((old.num_classes,), 1 / max(1, old.num_classes))
    return Difference(old=old, new=new, classes=classes, mean=mean)


def child(network: nn.Module, parent: nn.Module, change: Difference) -> Inherited:
    """Let a network inherit from one that is known by its structure and its weights."""
    result = inherit(network, parent, parent.state_dict(), change)
    network.load_state_dict(result.tensors)
    network.eval()
    return result


def both(model: Model, old: ImageSpec, new: ImageSpec, classes: Tensor | None = None) -> list[Any]:
    """Parent and child of the generator and of the discriminator, and the results."""
    parents = [trained(model.generator(old)), trained(model.discriminator(old))]
    torch.manual_seed(7)
    children = [model.generator(new), model.discriminator(new)]
    results = [child(one, other, difference(old, new, classes)) for one, other in zip(children, parents, strict=True)]
    return [*parents, *children, *results]


def latents(num: int = 5) -> Tensor:
    return torch.randn(num, 6, generator=torch.Generator().manual_seed(1))


def pictures(channels: int = 3, num: int = 5) -> Tensor:
    return torch.rand(num, channels, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.mark.parametrize("spec", [PLAIN, THREE], ids=str)
def test_the_same_network_is_taken_whole(model: Model, spec: ImageSpec) -> None:
    old_g, old_d, generator, discriminator, first, second = both(model, spec, spec)
    for network, result in ((generator, first), (discriminator, second)):
        assert (result.num_adapted, result.num_new, result.adapted, result.new) == (0, 0, (), ())
        assert result.num_taken == sum(weight.numel() for weight in network.parameters())
    for parent, result in ((old_g, first), (old_d, second)):
        for name, tensor in parent.state_dict().items():
            assert torch.equal(result.tensors[name], tensor) and result.tensors[name] is not tensor


def test_without_classes_from_classes_is_the_mean_class(model: Model) -> None:
    old_g, old_d, generator, discriminator, first, second = both(model, THREE, PLAIN)
    images = pictures()
    each = torch.stack([old_d(images, torch.full((5,), label)) for label in range(3)])
    assert torch.allclose(discriminator(images, None), each.mean(0), atol=1e-4)
    assert (first.num_new, second.num_new) == (0, 0)
    old, new = old_g.state_dict(), generator.state_dict()
    for name in [name for name in old if name.endswith(".scale.weight")]:
        base = name.removesuffix(".scale.weight")
        if f"{base}.weight" in new:
            assert torch.allclose(new[f"{base}.weight"], old[name].mean(0))
            assert torch.allclose(new[f"{base}.bias"], old[f"{base}.shift.weight"].mean(0))
        for statistic in ("running_mean", "running_var"):
            if f"{base}.layer.{statistic}" in old:
                assert torch.equal(new[f"{base}.{statistic}"], old[f"{base}.layer.{statistic}"])
    for layer in ("stem", "modulation", "layers.0"):
        if "embedding.weight" in old and f"{layer}.weight" in old:
            weight = old[f"{layer}.weight"]
            assert torch.equal(new[f"{layer}.weight"], weight[:, :6])
            if f"{layer}.bias" in old:
                shift = weight[:, 6:] @ old["embedding.weight"].mean(0)
                assert torch.allclose(new[f"{layer}.bias"], old[f"{layer}.bias"] + shift, atol=1e-5)


def test_every_class_starts_as_the_network_without_classes(model: Model) -> None:
    old_g, old_d, generator, discriminator, first, second = both(model, PLAIN, THREE)
    labels = torch.tensor([0, 1, 2, 0, 1])
    assert torch.allclose(generator(latents(), labels), old_g(latents()), atol=1e-5)
    assert torch.allclose(discriminator(pictures(), labels), old_d(pictures()), atol=1e-4)
    assert first.num_adapted and second.num_adapted and set(first.new) <= {"embedding"} and second.new == ()


def test_rows_of_classes_are_moved_mixed_and_made_anew(model: Model) -> None:
    four = ImageSpec(height=16, width=16, channels=3, num_classes=4)
    shares = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    old_g, old_d, generator, discriminator, first, second = both(model, THREE, four, shares)
    torch.manual_seed(7)
    fresh = [model.generator(four).state_dict(), model.discriminator(four).state_dict()]
    num = 0
    for old, new, own in zip((old_g, old_d), (generator, discriminator), fresh, strict=True):
        for name, rows in old.state_dict().items():
            values = new.state_dict()[name]
            if name.endswith(("embedding.weight", "scale.weight", "shift.weight")):
                expected = torch.stack([rows[2], own[name][1], rows[0], (rows[0] + rows[1]) / 2])
                assert torch.allclose(values, expected, atol=1e-6) and torch.equal(values[0], rows[2])
                num += 1
            else:
                assert torch.equal(values, rows)
    assert num >= 2 and first.new == second.new == ()
    assert second.adapted == ("head.embedding",)


COLOURS = [(1, 3), (3, 1), (3, 4), (4, 3), (1, 4), (4, 1)]


@pytest.mark.parametrize(("old", "new"), COLOURS)
def test_shares_of_channels(old: int, new: int) -> None:
    expected = {
        (1, 3): [[1.0], [1.0], [1.0]],
        (3, 1): [[1 / 3, 1 / 3, 1 / 3]],
        (3, 4): [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]],
        (4, 3): [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]],
        (1, 4): [[1.0], [1.0], [1.0], [0.0]],
        (4, 1): [[1 / 3, 1 / 3, 1 / 3, 0.0]],
    }
    assert torch.allclose(channel_shares(old, new), torch.tensor(expected[old, new]))
    assert torch.equal(channel_shares(4, 4), torch.eye(4))


def in_channels(num: int) -> ImageSpec:
    return ImageSpec(height=16, width=16, channels=num)


def inverse(images: Tensor) -> Tensor:
    return torch.atanh(images.double().clamp(-1 + 1e-7, 1 - 1e-7))


@pytest.mark.parametrize(("old", "new"), COLOURS)
def test_the_ends_next_to_the_pixels_follow_the_channels(model: Model, old: int, new: int) -> None:
    """Both networks compute what the trained ones would, with images converted between the channels."""
    old_g, old_d, generator, discriminator, first, second = both(model, in_channels(old), in_channels(new))
    images, shares = generator(0.05 * latents(), None), channel_shares(old, new).double()
    expected = torch.einsum("oc,nchw->nohw", shares, inverse(old_g(0.05 * latents(), None)))
    old_images, colours = old_g(0.05 * latents(), None), min(new, 3)
    precise = (old_images.abs() < 0.999).all(dim=1, keepdim=True) & (expected.abs() < 3)  # not saturated
    assert precise[:, :colours].float().mean() > 0.02
    errors = (inverse(images) - expected)[:, :colours][precise[:, :colours]]
    assert errors.abs().max() < 1e-3
    seen = torch.einsum("oc,nchw->nohw", channel_shares(new, old), pictures(new))
    if not (old == 4 and new < 4):
        assert torch.allclose(discriminator(pictures(new)), old_d(seen), atol=1e-3)
    assert first.num_adapted and second.num_adapted
    assert (first.num_new, second.num_new) == (0, 0)


def test_an_alpha_channel_is_made_anew(model: Model) -> None:
    torch.manual_seed(7)
    fresh = model.generator(in_channels(4)).state_dict()
    _, _, generator, discriminator, *_ = both(model, in_channels(3), in_channels(4))
    names = {"dcgan": "stages.{}.weight", "dense": "layers.6.bias", "r3": "to_pixels.weight", "resnet": "last.2.weight"}
    name = names[type(model).__name__.lower()].format(len(getattr(generator, "stages", "")) - 2)
    last, own = generator.state_dict()[name], fresh[name]
    axis = 1 if isinstance(generator.get_submodule(name.rpartition(".")[0]), nn.ConvTranspose2d) else 0
    alphas = [each.movedim(axis, 0).reshape(4, -1)[3] for each in (last, own)]
    assert torch.equal(*alphas)
    images = pictures(4)
    other = images.clone()
    other[:, 3] = 0.5
    assert torch.allclose(discriminator(images), discriminator(other), atol=1e-5)  # it ignores alpha at first


def sized(side: int) -> ImageSpec:
    return ImageSpec(height=side, width=side, channels=3)


def new_of(model: Model, other: Model, old: int, new: int) -> tuple[set[str], set[str]]:
    """What is made anew in both networks."""
    pairs = [
        (other.generator(sized(new)), trained(model.generator(sized(old)))),
        (other.discriminator(sized(new)), trained(model.discriminator(sized(old)))),
    ]
    results = [child(one, parent, difference(sized(old), sized(new))) for one, parent in pairs]
    generator = pairs[0][0]
    assert isinstance(generator, GeneratorNetwork) and generator(latents()).shape == (5, 3, new, new)
    return set(results[0].new), set(results[1].new)


def test_dcgan_keeps_the_blocks_next_to_the_image_at_another_size() -> None:
    model = DCGAN(width=4, z_dim=6)
    old, new = trained(model.generator(sized(16))), model.generator(sized(32))
    result = child(new, old, difference(sized(16), sized(32)))
    # of 16 pixels: stem, norm, 8 -> 4 channels at 8, 4 -> 3 at 16; of 32: stem, norm, 16 -> 8 at 8, 8 -> 4, 4 -> 3
    assert set(result.new) == {"stem", "stages.0", "stages.2", "stages.4"}
    assert torch.equal(new.get_parameter("stages.6.weight"), old.get_parameter("stages.2.weight"))
    assert torch.equal(new.get_parameter("stages.10.weight"), old.get_parameter("stages.6.weight"))
    assert new_of(model, model, 16, 32)[1] == {"stages.8", "stages.9", "head.linear"}


def test_dcgan_of_half_the_width_keeps_the_blocks_of_the_same_size() -> None:
    model, narrow = DCGAN(width=8, z_dim=6), DCGAN(width=4, z_dim=6)
    old, new = trained(model.generator(sized(16))), narrow.generator(sized(32))
    child(new, old, difference(sized(16), sized(32)))
    for name in ("stem.weight", "stages.0.weight", "stages.2.weight", "stages.4.weight"):
        assert torch.equal(new.state_dict()[name], old.state_dict()[name])
    assert new_of(model, narrow, 16, 32) == (
        {"stages.6", "stages.8", "stages.10"},
        {"stages.0", "stages.4", "stages.5"},
    )


def test_resnet_at_another_size() -> None:
    model = ResNet(width=4, z_dim=6)
    assert new_of(model, model, 32, 64) == (new_layers("blocks.0", model), plain_layers(model, 64))


def new_layers(block: str, model: Model) -> set[str]:
    return {
        name.rpartition(".")[0] for name, _ in model.generator(sized(64)).named_parameters() if name.startswith(block)
    }


def plain_layers(model: Model, side: int) -> set[str]:
    """What has no counterpart in the discriminator: the wider blocks, and the head behind them."""
    names = [name for name, _ in model.discriminator(sized(side)).named_parameters()]
    return {name.rpartition(".")[0] for name in names if not name.startswith(("blocks.0.", "blocks.1."))}


def test_r3_at_another_size() -> None:
    model = R3(width=4, z_dim=6, max_multiple=1)
    generator, discriminator = new_of(model, model, 16, 32)
    # constant width: blocks of the same size correspond, and the stage of 32 pixels is new
    assert all(name.startswith("stages.") for name in generator) and generator
    assert {name.partition(".")[0] for name in discriminator} <= {"from_pixels", "stages"}
    assert new_of(R3(width=4, z_dim=6), R3(width=4, z_dim=6), 16, 32)[0] >= {"modulation", "start"}


def test_dense_keeps_hidden_layers_at_another_size() -> None:
    model = Dense(width=4, z_dim=6, depth=2)
    assert new_of(model, model, 16, 32) == ({"layers.6"}, {"layers.0"})


def test_spectral_normalisation_follows_the_weights() -> None:
    model = DCGAN(width=4, z_dim=6, spectral_norm=True, discriminator_norm="none")
    same = both(model, PLAIN, PLAIN)
    assert torch.equal(same[1](pictures()), same[3](pictures()))
    _, old, _, new, _, result = both(model, in_channels(1), in_channels(3))
    assert result.adapted == ("stages.0",) and result.new == ()
    weight = new.state_dict()["stages.0.parametrizations.weight.original"]
    assert torch.allclose(weight, old.state_dict()["stages.0.parametrizations.weight.original"].expand_as(weight) / 3)
    layer = new.get_submodule("stages.0")
    assert isinstance(layer.weight, Tensor)
    assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item() == pytest.approx(1, abs=1e-4)


def test_a_network_without_blocks_is_taken_by_name_and_shape() -> None:
    class Two(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 5), nn.Linear(5, width)

    old, new = Two(2), Two(4)
    result = child(new, old, difference(PLAIN, PLAIN))
    assert torch.equal(new.first.weight, old.first.weight) and result.new == ("second",)
    assert (result.num_taken, result.num_new) == (3 * 5 + 5, 5 * 4 + 4)
