"""Looking inside a discriminator: what its head reads, and noise that spares pixels and head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gansmith.component import member
from gansmith.models import MODELS
from gansmith.models.layers import ProjectionHead
from gansmith.models.model import Model
from gansmith.models.penultimate import modulate, record_features
from gansmith.types import ImageSpec

SPEC = ImageSpec(height=16, width=16, channels=3, num_classes=3)


@pytest.fixture(params=[name for name in MODELS if name != "projected"])  # which has several heads
def discriminator(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    fields = {"depth": 3} if request.param == "dense" else {}  # else there is nothing between first layer and head
    return member(Model, request.param, "model")(width=4, **fields).discriminator(SPEC).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2])


def test_the_head_maps_the_features_to_the_logits(discriminator: nn.Module) -> None:
    with record_features(discriminator) as found:
        logits = discriminator(*inputs())
    (features,) = found
    head = next(module for module in discriminator.modules() if isinstance(module, ProjectionHead))
    assert features.dim() == 2 and torch.equal(head(features, inputs()[1]), logits)
    discriminator(*inputs())
    assert len(found) == 1  # nothing is recorded any more


def test_noise_of_one_changes_nothing_and_other_noise_only_behind_the_first_layer(discriminator: nn.Module) -> None:
    logits, shapes = discriminator(*inputs()), list[Any]()
    with modulate(discriminator, lambda shape: shapes.append(shape) or torch.ones(2, *shape)):
        torch.testing.assert_close(discriminator(*inputs()), logits)
    layers = [each for each in discriminator.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    in_heads = 1
    assert len(shapes) == len(layers) - 1 - in_heads > 0
    with modulate(discriminator, lambda shape: torch.zeros(2, *shape)), record_features(discriminator) as found:
        discriminator(*inputs())
        assert torch.equal(*found[0])  # whatever the pixels are
    assert torch.equal(discriminator(*inputs()), logits)


def test_the_first_layer_sees_the_pixels_themselves() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False))
    images = torch.rand(3, 1, 4, 4)
    factors = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])[:, :, None, None]
    with modulate(network, lambda shape: factors):
        found = network(images)
    wanted = network[1](network[0](images) * factors)
    assert torch.equal(found, wanted)
