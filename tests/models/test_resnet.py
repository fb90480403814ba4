"""ResNet: SNGAN's and WGAN-GP's networks are special cases; blocks equal plain references."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.errors import ConfigError
from gansmith.models.resnet import ResNet
from gansmith.types import ImageSpec

CIFAR = ImageSpec(height=32, width=32, channels=3)
PLAIN = ImageSpec(height=16, width=12, channels=1)
CLASSES = ImageSpec(height=16, width=12, channels=3, num_classes=4)
SNGAN = ResNet(z_dim=128, width=128, generator_width=256, max_multiple=1, spectral_norm=True)


def kernels(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(module.weight.shape) for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# --- what was published ------------------------------------------------------------------------------------


def test_it_is_sngan_at_32_pixels() -> None:
    """4,276,739 and 1,053,825 numbers, as mimicry's networks of 32 pixels have."""
    generator, discriminator = SNGAN.generator(CIFAR), SNGAN.discriminator(CIFAR)
    up = [(256, 256, 3, 3), (256, 256, 3, 3), (256, 256, 1, 1)]
    assert kernels(generator) == [(256 * 4 * 4, 128), *up * 3, (3, 256, 3, 3)]
    square, shortcut = (128, 128, 3, 3), (128, 128, 1, 1)
    first = [(128, 3, 3, 3), square, (128, 3, 1, 1)]
    assert kernels(discriminator) == [*first, square, square, shortcut, *[square] * 4, (1, 128)]
    assert num_parameters(generator) == 4_276_739
    assert num_parameters(discriminator) == 1_053_825


def test_at_128_pixels_channels_double_as_in_sngan() -> None:
    model, spec = ResNet(width=4, max_multiple=16, plain_blocks=1), ImageSpec(height=128, width=128, channels=3)
    outputs = [block.residual[-1].out_channels for block in model.generator(spec).blocks]
    assert outputs == [64, 32, 16, 8, 4] and model.generator(spec).start == (64, 4, 4)
    assert kernels(model.discriminator(spec))[1][0] == 4 and model.discriminator(spec).head.linear.in_features == 32


def test_widths_of_both_networks_are_one_unless_said() -> None:
    assert kernels(ResNet(width=6).generator(PLAIN))[-1] == (1, 6, 3, 3)
    assert kernels(ResNet(width=6, generator_width=10).generator(PLAIN))[-1] == (1, 10, 3, 3)
    assert kernels(ResNet(width=6, generator_width=10).discriminator(PLAIN))[0] == (6, 1, 3, 3)


# --- blocks ------------------------------------------------------------------------------------------------


def layers_of(block: nn.Module) -> list[tuple[Tensor, Tensor]]:
    found = [layer for layer in block.residual if isinstance(layer, nn.Conv2d)]
    found += [block.shortcut] if hasattr(block, "shortcut") else []
    return [(layer.weight, layer.bias) for layer in found]


def test_a_generator_s_block_doubles_each_pixel() -> None:
    torch.manual_seed(0)
    block = ResNet(width=4, generator_norm="none", init="torch").generator(PLAIN).blocks[0]
    first, second, shortcut = layers_of(block)
    x = torch.randn(2, 16, 4, 3)
    kept = x.clone()
    doubled = F.interpolate(x.relu(), scale_factor=2, mode="nearest")
    residual = F.conv2d(F.conv2d(doubled, *first, padding=1).relu(), *second, padding=1)
    expected = residual + F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), *shortcut)
    torch.testing.assert_close(block(x, None), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(x, kept)


def test_a_discriminator_s_blocks_are_the_published_three() -> None:
    torch.manual_seed(0)
    spec = ImageSpec(height=32, width=32, channels=3)
    model = ResNet(width=4, plain_blocks=1, activation="leaky-relu", leak=0.1, init="torch")
    discriminator = model.discriminator(spec)
    first, down, plain = discriminator.blocks[:3]
    images = x = torch.randn(2, 3, 32, 32)
    one, two, shortcut = layers_of(first)
    residual = F.avg_pool2d(F.conv2d(F.leaky_relu(F.conv2d(x, *one, padding=1), 0.1), *two, padding=1), 2)
    x = residual + F.conv2d(F.avg_pool2d(x, 2), *shortcut)
    one, two, shortcut = layers_of(down)
    residual = F.conv2d(F.leaky_relu(F.conv2d(F.leaky_relu(x, 0.1), *one, padding=1), 0.1), *two, padding=1)
    x = F.avg_pool2d(residual + F.conv2d(x, *shortcut), 2)
    one, two = layers_of(plain)
    x = x + F.conv2d(F.leaky_relu(F.conv2d(F.leaky_relu(x, 0.1), *one, padding=1), 0.1), *two, padding=1)
    features = F.leaky_relu(x, 0.1).sum(dim=(2, 3))
    expected = features @ discriminator.head.linear.weight[0] + discriminator.head.linear.bias
    torch.testing.assert_close(discriminator(images, None), expected, rtol=1e-4, atol=1e-4)


def test_a_mean_is_the_sum_over_the_places() -> None:
    torch.manual_seed(0)
    summed, mean = (ResNet(width=4, pooling=pooling).discriminator(CIFAR) for pooling in ("sum", "mean"))
    mean.load_state_dict(summed.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(summed(images, None), 64 * mean(images, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "batch"), [("batch", True), ("group", False), ("none", False)])
def test_norms_stand_before_activations(norm: str, batch: bool) -> None:
    model = ResNet(width=8, generator_norm=norm, discriminator_norm=norm)
    assert model.batch_statistics == batch
    kind = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "none": nn.BatchNorm2d}[norm]
    counts = [
        sum(isinstance(module, kind) for module in network.modules())
        for network in (model.generator(CIFAR), model.discriminator(CIFAR))
    ]
    assert counts == ([0, 0] if norm == "none" else [2 * 3 + 1, 2 * 3 + 1])


@pytest.mark.parametrize(("conditioning", "normalised"), [("norm", True), ("embedding", False)])
def test_a_class_comes_by_the_norms_or_beside_the_latent(conditioning: str, normalised: bool) -> None:
    generator = ResNet(width=2, conditioning=conditioning).generator(CLASSES)
    kinds = [type(module).__name__ for module in generator.modules()]
    assert ("ConditionalNorm" in kinds) == normalised and (generator.embedding is None) == normalised


# --- sizes and starts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "doublings"), [(2, 1), (8, 1), (16, 2), (28, 3), (32, 3), (64, 4), (100, 5)])
def test_the_smallest_map_is_about_4_pixels(side: int, doublings: int) -> None:
    assert ResNet().num_doublings(ImageSpec(height=side + 5, width=side, channels=1)) == doublings


def test_one_pixel_is_refused_in_one_line() -> None:
    spec = ImageSpec(height=1, width=8, channels=1)
    for make in (ResNet().generator, ResNet().discriminator):
        with pytest.raises(ConfigError) as caught:
            make(spec)
        assert str(caught.value) == (
            "config.model: resnet needs images of at least 2x2 pixels, got 8x1 (width x height) gray; "
            "choose a larger --size"
        )


@pytest.mark.parametrize("width", [1, 3, 256])
def test_any_width_starts_with_finite_numbers(width: int) -> None:
    torch.manual_seed(0)
    model = ResNet(width=width, max_multiple=2)
    images = model.generator(CLASSES)(torch.randn(4, 100), torch.arange(4))
    logits = model.discriminator(CLASSES)(images, torch.arange(4))
    assert images.isfinite().all() and logits.isfinite().all()


def test_glorot_is_larger_on_the_way_round_a_shortcut() -> None:
    torch.manual_seed(0)
    block = ResNet(width=64, max_multiple=1).generator(PLAIN).blocks[0]
    (first, _), (second, _), (shortcut, _) = layers_of(block)
    for weight in (first, second):
        assert weight.std().item() == pytest.approx((2 * 2 / (9 * 128)) ** 0.5, rel=0.05)
    assert shortcut.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.05)


def test_a_spectral_norm_bounds_each_layer_of_the_discriminator_alone() -> None:
    generator, discriminator = SNGAN.generator(CIFAR), SNGAN.discriminator(CIFAR)
    assert not [module for module in generator.modules() if hasattr(module, "parametrizations")]
    plain = [m for m in discriminator.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.Embedding))]
    assert plain and all(hasattr(module, "parametrizations") for module in plain)


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_a_penalty_of_bfloat16_points_where_that_of_float32_does(spec: ImageSpec) -> None:
    torch.manual_seed(0)
    discriminator = ResNet(width=16, activation="silu").discriminator(spec).to(memory_format=torch.channels_last)
    images = torch.randn(8, spec.channels, 16, 12).to(memory_format=torch.channels_last).requires_grad_()
    labels = torch.arange(8) % spec.num_classes if spec.num_classes else None
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            logits = discriminator(images, labels)
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        discriminator.zero_grad()
        gradient.square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in discriminator.parameters() if p.grad is not None]))
    assert F.cosine_similarity(*found, dim=0) > 0.99
