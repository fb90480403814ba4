"""Dense: document 001's two networks are a special case."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gansmith.models.dense import Dense
from gansmith.training.presets import preset
from gansmith.types import ImageSpec

SPEC = ImageSpec(height=28, width=28, channels=1)


def shapes(network: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in network.parameters()]


def test_document_001_has_two_networks_of_one_hidden_layer() -> None:
    model = preset("dense-mnist").model
    assert shapes(model.generator(SPEC)) == [(256, 100), (256,), (784, 256), (784,)]
    assert shapes(model.discriminator(SPEC)) == [(256, 784), (256,), (1, 256), (1,)]
    assert (model.latent, model.value_range) == ("uniform", (0.0, 1.0))


def test_one_matrix_product_after_the_other() -> None:
    model = Dense(width=5, z_dim=3, output="sigmoid")
    generator, discriminator = model.generator(SPEC), model.discriminator(SPEC)
    (w1, b1, w2, b2), z = (p.detach() for p in generator.parameters()), torch.randn(4, 3)
    images = torch.sigmoid((z @ w1.T + b1).relu() @ w2.T + b2).view(4, 1, 28, 28)
    torch.testing.assert_close(generator(z, None).detach(), images)
    w1, b1, w2, b2 = (p.detach() for p in discriminator.parameters())
    logits = (images.flatten(1) @ w1.T + b1).relu() @ w2[0] + b2
    torch.testing.assert_close(discriminator(images, None).detach(), logits)


@pytest.mark.parametrize("depth", [1, 3])
def test_depth_and_width_are_those_of_the_hidden_layers(depth: int) -> None:
    model = Dense(width=5, depth=depth, z_dim=3)
    for network in (model.generator(SPEC), model.discriminator(SPEC)):
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        assert [module.out_features for module in linear[:-1]] == [5] * depth


def test_dropout_and_spectral_norm_are_the_discriminator_s() -> None:
    model = Dense(width=5, z_dim=3, dropout=0.5, spectral_norm=True)
    names = [
        [type(module).__name__ for module in made(SPEC).modules()] for made in (model.generator, model.discriminator)
    ]
    assert "Dropout" in names[1] and "Dropout" not in names[0]
    assert "ParametrizedLinear" in names[1] and "ParametrizedLinear" not in names[0]


def test_one_pixel_is_an_image_too() -> None:
    spec = ImageSpec(height=1, width=1, channels=3)
    assert Dense(width=2).generator(spec)(torch.randn(2, 100), None).shape == (2, 3, 1, 1)
