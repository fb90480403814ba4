"""DCGAN: the published networks are special cases, and any kernel, stride and size fit together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gansmith.errors import ConfigError
from gansmith.models.dcgan import DCGAN
from gansmith.training.presets import preset
from gansmith.training.state import place
from gansmith.types import ImageSpec

SPEC_28 = ImageSpec(height=28, width=28, channels=1)
SPEC_64 = ImageSpec(height=64, width=64, channels=3)


def weights(network: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of the matrices and kernels, from input to output."""
    return [tuple(p.shape) for p in network.parameters() if p.dim() > 1]


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_28_pixel_network_is_the_tutorial_s() -> None:
    """Keras counts 2,330,944 numbers in the generator, moving statistics included."""
    model = preset("dcgan-mnist").model
    generator, discriminator = model.generator(SPEC_28), model.discriminator(SPEC_28)
    assert weights(generator) == [(12544, 100), (256, 128, 5, 5), (128, 64, 5, 5), (64, 1, 5, 5)]
    assert weights(discriminator) == [(64, 1, 5, 5), (128, 64, 5, 5), (1, 6272)]
    in_keras, statistics_in_keras = 2_330_944, 2 * (12544 + 128 + 64)
    assert num_parameters(generator) == in_keras - statistics_in_keras
    assert num_parameters(discriminator) == 212_865
    assert [layer.extra_repr() for layer in pick(discriminator, "Dropout")] == ["p=0.3", "p=0.3"]
    assert {layer.negative_slope for layer in pick(generator, "LeakyReLU") + pick(discriminator, "LeakyReLU")} == {0.3}
    assert [layer.stride for layer in pick(generator, "ConvTranspose2d")] == [(1, 1), (2, 2), (2, 2)]


def pick(network: nn.Module, kind: str) -> list[nn.Module]:
    return [module for module in network.modules() if type(module).__name__ == kind]


def test_at_64_pixels_it_is_the_paper_s() -> None:
    """As pytorch/examples has it: G 3,576,704 and D 2,765,568, to which our D adds the biases beside no norm."""
    generator, discriminator = DCGAN().generator(SPEC_64), DCGAN().discriminator(SPEC_64)
    pyramid = [(100, 512), (512, 256), (256, 128), (128, 64), (64, 3)]
    assert weights(generator)[0] == (512 * 4 * 4, 100)
    assert weights(generator)[1:] == [(*pair, 4, 4) for pair in pyramid[1:]]
    assert weights(discriminator) == [(b, a, 4, 4) for a, b in ((3, 64), (64, 128), (128, 256), (256, 512))] + [
        (1, 512 * 4 * 4)
    ]
    assert num_parameters(generator) == 3_576_704
    assert num_parameters(discriminator) == 2_765_568 + 64 + 1
    assert len(pick(generator, "BatchNorm2d")) == 4 and len(pick(discriminator, "BatchNorm2d")) == 3


@pytest.mark.parametrize("kernel", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_any_kernel_stride_and_size_fit_together(kernel: int, stride: int) -> None:
    model = DCGAN(width=2, z_dim=3, max_multiple=1, kernel=kernel, stride=stride)
    for height, width in ((16, 16), (17, 23)):
        spec = ImageSpec(height=height, width=width, channels=1)
        if kernel < stride:
            with pytest.raises(ConfigError) as caught:
                model.generator(spec)
            assert str(caught.value) == (
                f"config.model.kernel: {kernel} is below the stride; expected at least {stride}"
            )
            continue
        images = model.generator(spec)(torch.randn(2, 3), None)
        assert images.shape == (2, 1, height, width) and model.discriminator(spec)(images, None).shape == (2,)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (28, 28), (17, 23), (50, 37)])
def test_pixels_are_doubled_and_averaged_at_any_size(height: int, width: int) -> None:
    model = DCGAN(width=2, z_dim=3, max_multiple=1, upsampling="nearest", downsampling="pooled", plain_stages=1)
    spec = ImageSpec(height=height, width=width, channels=3)
    generator, discriminator = model.generator(spec), model.discriminator(spec)
    depth = model.num_stages(spec)
    assert len(pick(generator, "UpsampledConv2d")) == depth
    assert len(pick(discriminator, "PooledConv2d")) == depth - 1  # the first would not see a checkerboard
    assert len(pick(generator, "ConvTranspose2d")) == model.plain_stages
    images = generator(torch.randn(2, 3), None)
    assert images.shape == (2, 3, height, width) and discriminator(images, None).shape == (2,)


@pytest.mark.parametrize("field", [{"upsampling": "nearest"}, {"downsampling": "pooled"}])
def test_only_stride_2_doubles_and_averages(field: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"config\.model\.stride: 3 .*; only stride 2 allows others"):
        DCGAN(stride=3, **field).generator(SPEC_64)


@pytest.mark.parametrize("kernel", [3, 4, 5])
def test_plain_stages_keep_the_size(kernel: int) -> None:
    spec = ImageSpec(height=12, width=10, channels=1)
    model = DCGAN(width=2, z_dim=3, depth=1, plain_stages=2, kernel=kernel)
    generator = model.generator(spec)
    assert generator(torch.randn(2, 3), None).shape == (2, 1, 12, 10)
    assert [layer.stride for layer in pick(generator, "ConvTranspose2d")] == [(1, 1), (1, 1), (2, 2)]


@pytest.mark.parametrize(("side", "stages"), [(8, 1), (16, 2), (28, 3), (32, 3), (64, 4), (128, 5), (100, 5), (2, 1)])
def test_the_smallest_map_is_about_4_pixels(side: int, stages: int) -> None:
    assert DCGAN().num_stages(ImageSpec(height=side, width=side + 7, channels=1)) == stages


def test_channels_double_up_to_the_limit() -> None:
    model = DCGAN(width=3, max_multiple=4)
    assert [model.channels(stage) for stage in range(5)] == [3, 6, 12, 12, 12]


@pytest.mark.parametrize(
    ("depth", "side", "text"),
    [(None, 1, "1x1 gray"), (3, 7, "7x7 gray"), (5, 28, "28x28 gray")],
)
def test_too_small_images_are_refused_in_one_line(depth: int | None, side: int, text: str) -> None:
    model, spec = DCGAN(depth=depth), ImageSpec(height=side, width=side, channels=1)
    for make in (model.generator, model.discriminator):
        with pytest.raises(ConfigError) as caught:
            make(spec)
        assert str(caught.value) == (
            f"config.model.depth: {depth or 1} stages of stride 2 are too many for {text}; "
            "choose a larger size or a smaller depth"
        )


@pytest.mark.parametrize(("conditioning", "normalised"), [("norm", True), ("embedding", False)])
def test_a_class_comes_by_the_norms_or_beside_the_latent(conditioning: str, normalised: bool) -> None:
    spec = ImageSpec(height=8, width=8, channels=1, num_classes=3)
    torch.manual_seed(0)
    generator = DCGAN(width=2, z_dim=3, conditioning=conditioning, init="torch").generator(spec)
    assert bool(pick(generator, "ConditionalNorm")) == normalised
    for embedding in pick(generator, "Embedding"):
        nn.init.normal_(embedding.weight)
    first, second = generator.eval()(torch.ones(2, 3), torch.tensor([0, 1]))
    assert (first - second).abs().max() > 1e-3


def test_every_gradient_has_channels_last() -> None:
    """Mixed layouts are several times slower than either."""
    spec = ImageSpec(height=28, width=28, channels=1)
    model = DCGAN(width=8, depth=2, kernel=5, plain_stages=1, stem_norm="number", dropout=0.3)
    generator, discriminator = (
        place(network, torch.device("cpu")) for network in (model.generator(spec), model.discriminator(spec))
    )
    layouts: dict[str, bool] = {}

    def watch(name: str, module: nn.Module) -> None:
        def look(_: nn.Module, inputs: object, output: torch.Tensor) -> None:
            if output.dim() == 4 and min(output.shape[1:]) > 1:
                output.register_hook(lambda gradient: note(name, gradient))

        module.register_forward_hook(look)

    def note(name: str, gradient: torch.Tensor) -> None:
        layouts[name] = gradient.is_contiguous(memory_format=torch.channels_last)

    for network in (generator, discriminator):
        for name, module in network.named_modules():
            if isinstance(module, nn.Sequential | nn.ConvTranspose2d | nn.BatchNorm2d):
                watch(f"{type(network).__module__}.{name}", module)
    discriminator(generator(torch.randn(4, model.z_dim), None), None).sum().backward()
    assert len(layouts) > 4
    assert all(layouts.values()), layouts
