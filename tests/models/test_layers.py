"""Layers: dropout's statistics, normalisation by class, projection, spectral norms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gansmith.models import layers
from gansmith.models.dcgan import DCGAN
from gansmith.types import ImageSpec


def dropped(x: Tensor, p: float, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    result: Tensor = layers.Dropout(p).train()(x)
    return result


# --- dropout -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    n = 200_000
    x = dropped(torch.ones(n), p)
    five_deviations = 5 * math.sqrt(p * (1 - p) / n)
    assert abs((x == 0).double().mean() - p) < five_deviations
    assert abs(x.double().mean() - 1) < five_deviations / (1 - p) + 1e-5
    torch.testing.assert_close(x.unique(), torch.tensor([0.0, 1 / (1 - p)]), rtol=1e-4, atol=0)


def test_neighbours_are_dropped_independently() -> None:
    gone = (dropped(torch.ones(200_000), 0.5) == 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):  # four masks come from one random word
        assert abs((gone[lag:] * gone[:-lag]).mean()) < 5 * 0.25 / math.sqrt(len(gone))


def test_a_mask_follows_torch_s_seed() -> None:
    x = torch.ones(3, 5, 4, 7)
    assert torch.equal(dropped(x, 0.5, seed=1), dropped(x, 0.5, seed=1))
    assert not torch.equal(dropped(x, 0.5, seed=1), dropped(x, 0.5, seed=2))
    dropout = layers.Dropout(0.5)
    assert not torch.equal(dropout(x), dropout(x))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_keeps_the_memory_format(layout: torch.memory_format) -> None:
    x = torch.randn(2, 3, 5, 4).to(memory_format=layout)
    assert dropped(x, 0.3).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    "x",
    [torch.ones(4, 3, 9, 9)[:, :, :5, :5], torch.ones(4, 3, 5, 1).expand(4, 3, 5, 6), torch.ones(5, 7).t()],
    ids=["cropped", "expanded", "transposed"],
)
def test_dropout_takes_any_tensor(x: Tensor) -> None:
    y = dropped(x, 0.5)
    assert y.shape == x.shape and set(y.unique().tolist()) == {0.0, 2.0}
    assert (y[..., :1] != y).any()  # no two numbers share a mask


def test_dropout_is_nothing_while_evaluating_or_at_zero() -> None:
    x = torch.randn(4, 4)
    assert layers.Dropout(0.5).eval()(x) is x and layers.Dropout(0.0).train()(x) is x


def test_dropout_keeps_bfloat16_and_passes_gradients_where_it_kept() -> None:
    x = torch.ones(1000, dtype=torch.bfloat16, requires_grad=True)
    y = dropped(x, 0.5)
    y.sum().backward()
    assert y.dtype == torch.bfloat16 and x.grad is not None and torch.equal(x.grad, y.detach())


# --- normalisation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_what_is_normalised_has_mean_0_and_deviation_1(kind: layers.Norm) -> None:
    x = torch.randn(6, 8, 5, 4) * 3 + 2
    over = {"batch": (0, 2, 3), "instance": (2, 3), "group": (2, 3, 4)}[kind]
    y = layers.norm(kind, 8).train()(x)
    y = y.view(6, 2, 4, 5, 4) if kind == "group" else y
    torch.testing.assert_close(y.mean(dim=over), torch.zeros_like(y.mean(dim=over)), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var(dim=over, correction=0), torch.ones_like(y.mean(dim=over)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_class_scales_and_shifts_what_was_normalised(dims: int) -> None:
    layer = layers.norm("batch", 3, num_classes=2, dims=dims)
    assert isinstance(layer, layers.ConditionalNorm)
    nn.init.normal_(layer.scale.weight), nn.init.normal_(layer.shift.weight)
    x, labels = torch.randn(4, 3, *[5] * (2 * (dims - 1))), torch.tensor([0, 1, 1, 0])
    y, normalised = layer(x, labels), layer.layer(x)
    for i, label in enumerate(labels):
        ones = (3, *[1] * (y.dim() - 2))
        expected = normalised[i] * layer.scale.weight[label].view(ones) + layer.shift.weight[label].view(ones)
        torch.testing.assert_close(y[i], expected)


def test_none_is_nothing() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert layers.norm("none", 3)(x) is x


# --- the rest ----------------------------------------------------------------------------------------------


def test_projection_adds_the_inner_product_with_the_class() -> None:
    head = layers.ProjectionHead(4, num_classes=3)
    features, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 1, 0])
    weight, bias, embedding = head.linear.weight[0], head.linear.bias, head.embedding.weight
    torch.testing.assert_close(head(features, labels), features @ weight + bias + (features * embedding[labels]).sum(1))
    torch.testing.assert_close(layers.ProjectionHead(4, 0)(features, None).shape, torch.Size([5]))


def test_crop_keeps_the_top_left_corner() -> None:
    x = torch.randn(2, 3, 6, 7)
    assert torch.equal(layers.Crop(4, 5)(x), x[:, :, :4, :5])


def test_only_counted_weights_are_not_normalised() -> None:
    model, spec = DCGAN(width=4, z_dim=4, spectral_norm=True), ImageSpec(height=16, width=16, channels=3, num_classes=3)
    with torch.device("meta"):
        computed = model.discriminator(spec)
        with torch.no_grad():
            counted = model.discriminator(spec)
    sizes = [sum(weight.numel() for weight in network.parameters()) for network in (counted, computed)]
    assert sizes[0] == sizes[1] > 0
    found = [any(hasattr(part, "parametrizations") for part in network.modules()) for network in (counted, computed)]
    assert found == [False, True]


def test_after_some_passes_every_weight_has_spectral_norm_one() -> None:
    torch.manual_seed(0)
    model = DCGAN(width=4, z_dim=4, spectral_norm=True, discriminator_norm="none", init="torch")
    discriminator = model.discriminator(ImageSpec(height=16, width=16, channels=3, num_classes=3)).train()
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    with torch.no_grad():
        for _ in range(40):
            discriminator(images, labels)
    discriminator.eval()
    modules = [module for module in discriminator.modules() if hasattr(module, "parametrizations")]
    assert [type(module).__name__.removeprefix("Parametrized") for module in modules] == (
        ["Conv2d", "Conv2d", "Linear", "Embedding"]
    )
    for module in modules:
        largest = torch.linalg.svdvals(module.weight.flatten(1))[0]
        torch.testing.assert_close(largest, torch.tensor(1.0), rtol=1e-2, atol=0)


@pytest.mark.parametrize(("how", "deviation"), [("dcgan", 0.02), ("glorot", math.sqrt(2 / (300 + 500)))])
def test_weights_start_with_the_deviation_of_the_paper(how: layers.Initialization, deviation: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(300, 500), nn.BatchNorm2d(500))
    layers.initialize(network, how)
    assert network[0].weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert not network[0].bias.any()
    spread = network[1].weight.std().item()
    assert spread == (pytest.approx(0.02, rel=0.15) if how == "dcgan" else 0)


def test_glorot_is_uniform() -> None:
    network = nn.Conv2d(20, 30, 5)
    layers.initialize(network, "glorot")
    limit = math.sqrt(6 / (25 * (20 + 30)))
    assert 0.99 * limit < network.weight.abs().max() <= limit


@pytest.mark.parametrize("how", ["dcgan", "glorot", "torch"])
def test_classes_start_alike(how: layers.Initialization) -> None:
    layer = layers.norm("batch", 4, num_classes=3)
    layers.initialize(layer, how)
    assert (layer.scale.weight == 1).all() and (layer.shift.weight == 0).all()


@pytest.mark.parametrize(
    ("name", "at_minus_one"),
    [
        ("relu", 0.0), ("leaky-relu", -0.3), ("elu", math.exp(-1) - 1), ("gelu", -0.1586553), ("silu", -0.2689414),
        ("tanh", math.tanh(-1)),
    ],
)  # fmt: skip
def test_activations(name: layers.Activation, at_minus_one: float) -> None:
    torch.testing.assert_close(layers.activation(name, 0.3)(torch.tensor([-1.0])), torch.tensor([at_minus_one]))


def test_a_crop_keeps_channels_last_on_both_ways() -> None:
    x = torch.randn(2, 3, 7, 6).to(memory_format=torch.channels_last).requires_grad_()
    cropped = layers.Crop(5, 6)(x)
    assert torch.equal(cropped, x[:, :, :5, :6])
    assert cropped.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn(2, 3, 5, 6).to(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad((cropped * weight).sum(), x)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(gradient, torch.nn.functional.pad(weight, (0, 0, 0, 2)))
    assert layers.Crop(7, 6)(x) is x
