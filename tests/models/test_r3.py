"""R3: the published networks are special cases; blocks start as nothing, and learn in the fast layout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.models.convolution import Conv2d, double, halve
from gansmith.models.r3 import R3
from gansmith.types import ImageSpec

CIFAR = ImageSpec(height=32, width=32, channels=3, num_classes=10)
PUBLISHED = R3(width=768, max_multiple=1, blocks=2)
PLAIN = ImageSpec(height=16, width=12, channels=1)
CLASSES = ImageSpec(height=16, width=12, channels=3, num_classes=4)
GAIN = math.sqrt(2 / 1.04)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def blocks(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if type(module).__name__ == "_Block"]


def convolutions(network: nn.Module) -> list[Conv2d]:
    return [module for module in network.modules() if isinstance(module, Conv2d)]


# --- what was published ------------------------------------------------------------------------------------


def test_at_width_768_it_has_the_published_size() -> None:
    with torch.device("meta"):
        generator, discriminator = PUBLISHED.generator(CIFAR), PUBLISHED.discriminator(CIFAR)
    assert len(blocks(generator)) == len(blocks(discriminator)) == 8
    biases = 2 * 1536
    assert {num_parameters(block) for block in blocks(generator)} == {768 * 1536 * 2 + 1536 * 16 * 9 + biases}
    inputs = 10 * 64 + 128 * 768 + 768 * 16  # classes, latent and class to strengths, the learned start
    assert num_parameters(generator) == 8 * 2_583_552 + inputs + 768 * 3
    head = 768 * 16 + 768 + 1 + 10 * 768  # the window, a logit for all classes, what each class adds
    assert num_parameters(discriminator) == 8 * 2_583_552 + 3 * 768 + head


def test_a_block_has_the_published_shapes() -> None:
    with torch.device("meta"):
        layers = convolutions(blocks(PUBLISHED.generator(CIFAR))[0])
    assert [tuple(layer.weight.shape) for layer in layers] == [
        (1536, 768, 1, 1), (1536, 16, 3, 3), (768, 1536, 1, 1)
    ]  # fmt: skip
    assert [layer.groups for layer in layers] == [1, 96, 1] and [layer.bias is None for layer in layers] == [0, 0, 1]


def test_faces_of_256_pixels_have_the_published_widths() -> None:
    model = R3(width=96, max_multiple=8)
    assert model.num_stages(ImageSpec(height=256, width=256, channels=3)) == 7
    assert [model.channels(stage) for stage in range(7)] == [96, 192, 384, 768, 768, 768, 768]


# --- how weights start -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_stage", "num_blocks"), [(1, 3), (2, 6)])
def test_blocks_start_as_fixup_says(per_stage: int, num_blocks: int) -> None:
    torch.manual_seed(0)
    model = R3(width=64, max_multiple=1, blocks=per_stage)
    for network in (model.generator(PLAIN), model.discriminator(PLAIN)):
        assert len(blocks(network)) == num_blocks
        for block in blocks(network):
            first, grouped, last = convolutions(block)
            for layer, fan_in in ((first, 64), (grouped, 16 * 9)):
                expected = GAIN * num_blocks**-0.25 / math.sqrt(fan_in)
                assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
                assert not layer.bias.any()
            assert not last.weight.any()


def test_everything_else_starts_with_variance_1_over_its_inputs() -> None:
    torch.manual_seed(0)
    model, spec = R3(width=64, max_multiple=8), ImageSpec(height=16, width=16, channels=3, num_classes=50)
    generator, discriminator = model.generator(spec), model.discriminator(spec)
    deviations = [
        (generator.start, 1.0),
        (generator.embedding.weight, 1.0),
        (generator.modulation.weight, 128**-0.5),
        (generator.to_pixels.weight, 64**-0.5),
        (discriminator.from_pixels.weight, 3**-0.5),
        (discriminator.window, 1 / 4),
        (discriminator.head.linear.weight, 256**-0.5),
        (discriminator.head.embedding.weight, 256**-0.5),
    ]
    for weight, expected in deviations:
        assert weight.std().item() == pytest.approx(expected, rel=0.15)


def test_at_the_start_the_discriminator_is_linear() -> None:
    torch.manual_seed(0)
    discriminator = R3(width=8).discriminator(PLAIN)
    first, second = torch.randn(2, 5, 1, 16, 12)
    torch.testing.assert_close(
        discriminator(first + 2 * second, None),
        discriminator(first, None) + 2 * discriminator(second, None),
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("width", [1, 3, 256])
@pytest.mark.parametrize("blocks", [1, 4])
def test_any_width_and_depth_starts_with_finite_numbers_of_the_same_size(width: int, blocks: int) -> None:
    torch.manual_seed(0)
    model = R3(width=width, max_multiple=2, blocks=blocks)
    images = model.generator(CLASSES)(torch.randn(4, 64), torch.arange(4))
    logits = model.discriminator(CLASSES)(images, torch.arange(4))
    assert images.isfinite().all() and logits.isfinite().all() and logits.abs().max() < 10


# --- what it computes --------------------------------------------------------------------------------------


def perturbed(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def reference_block(x: Tensor, block: nn.Module, groups: int) -> Tensor:
    first, grouped, last = ((layer.weight, layer.bias) for layer in convolutions(block))
    inside = F.leaky_relu(F.conv2d(x, first[0]) + first[1].view(1, -1, 1, 1), 0.2)
    inside = F.leaky_relu(F.conv2d(inside, grouped[0], padding=1, groups=groups) + grouped[1].view(1, -1, 1, 1), 0.2)
    return x + F.conv2d(inside, last[0])


def test_a_block_is_x_and_three_convolutions_of_it() -> None:
    torch.manual_seed(0)
    block = blocks(perturbed(R3(width=16, group=8).discriminator(PLAIN)))[0]
    x = torch.randn(2, 16, 5, 6)
    torch.testing.assert_close(block(x), reference_block(x, block, groups=4), rtol=1e-4, atol=1e-4)


def test_the_generator_modulates_a_start_and_doubles_it() -> None:
    torch.manual_seed(0)
    generator, z = perturbed(R3(width=8).generator(CLASSES)), torch.randn(3, 64)
    labels = torch.tensor([0, 3, 3])
    strength = torch.cat([z, generator.embedding.weight[labels]], dim=1) @ generator.modulation.weight.T
    x = generator.start * strength[:, :, None, None]
    first, second, third = blocks(generator)
    narrow, narrower = generator.stages[1], generator.stages[5]
    x = double(narrow(reference_block(x, first, 4)))
    x = double(narrower(reference_block(x, second, 2)))
    x = generator.to_pixels(reference_block(x, third, 1))
    torch.testing.assert_close(generator(z, labels), torch.tanh(x), rtol=1e-3, atol=1e-3)


def test_the_discriminator_halves_and_weighs_the_last_map() -> None:
    torch.manual_seed(0)
    spec = ImageSpec(height=8, width=7, channels=1, num_classes=4)
    discriminator, images, labels = perturbed(R3(width=8).discriminator(spec)), torch.randn(3, 1, 8, 7), torch.arange(3)
    first, second = blocks(discriminator)
    x = discriminator.stages[2](halve(reference_block(discriminator.from_pixels(images), first, 1)))
    features = (reference_block(x, second, 2) * discriminator.window).sum(dim=(2, 3))
    expected = discriminator.head(features, labels)
    torch.testing.assert_close(discriminator(images, labels), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("inside", "group", "groups"), [(64, 16, 4), (8, 16, 1), (48, 16, 3), (6, 4, 3), (7, 4, 7)])
def test_groups_are_as_large_as_divides(inside: int, group: int, groups: int) -> None:
    network = R3(width=inside, expansion=1, max_multiple=1, group=group).discriminator(PLAIN)
    assert convolutions(blocks(network)[0])[1].groups == groups


@pytest.mark.parametrize(("side", "stages"), [(1, 1), (3, 1), (4, 1), (8, 2), (17, 3), (28, 4), (32, 4), (64, 5)])
def test_the_smallest_map_is_about_4_pixels(side: int, stages: int) -> None:
    assert R3().num_stages(ImageSpec(height=side + 3, width=side, channels=1)) == stages


# --- how it learns -----------------------------------------------------------------------------------------


def test_after_one_step_every_parameter_has_a_gradient() -> None:
    torch.manual_seed(0)
    model = R3(width=8)
    generator, discriminator = model.generator(CLASSES), model.discriminator(CLASSES)
    z, labels = torch.randn(8, 64), torch.arange(8) % 4
    parameters = dict([*generator.named_parameters("g"), *discriminator.named_parameters("d")])
    blocked = set()
    for _ in range(2):
        discriminator(generator(z, labels), labels).square().sum().backward()
        blocked = {name for name, p in parameters.items() if not p.grad.any()}
        with torch.no_grad():
            [parameter.sub_(parameter.grad, alpha=0.01) for parameter in parameters.values()]
            [parameter.grad.zero_() for parameter in parameters.values()]
    assert blocked == set()


@pytest.mark.parametrize("spec", [PLAIN, CLASSES], ids=str)
def test_a_penalty_of_bfloat16_points_where_that_of_float32_does(spec: ImageSpec) -> None:
    torch.manual_seed(0)
    discriminator = perturbed(R3(width=16).discriminator(spec)).to(memory_format=torch.channels_last)
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
