"""Perceptual path length: by the derivative of the walk, where images are the latents themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.metrics.perceptual import Perception
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import GeneratorNetwork
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.smoothness import measure_path_length
from gansmith.types import ImageSpec


class Latents(GeneratorNetwork):
    """Images that are the latents, divided by ten; only those of one class if there are labels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = 0 if labels is None else labels[:, None, None, None].float()
        return z.reshape(-1, 1, 2, 3) * self.scale + shift


class Plain(Perception):
    """Embeds images as their pixels."""

    def __init__(self) -> None:
        pass

    def embed(self, images: Tensor) -> Tensor:
        return images.flatten(1)


def generator(num_classes: int = 0) -> TrainedGenerator:
    spec = ImageSpec(height=2, width=3, channels=1, num_classes=num_classes)
    return TrainedGenerator(network=Latents(), model=DCGAN(z_dim=6), spec=spec)


def test_it_is_the_squared_speed_of_the_walk() -> None:
    num = 40
    z = generator().draw(range(5, 5 + 2 * num))[0].double().numpy() / 10
    places = (torch.randint(1000, (num,), generator=torch.Generator().manual_seed(5)).numpy() + 0.5) / 1000
    speeds = []
    for a, b, t in zip(z[:num], z[num:], places, strict=True):
        angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        velocity = angle / np.sin(angle) * (-np.cos((1 - t) * angle) * a + np.cos(t * angle) * b)
        speeds.append(velocity @ velocity)
    found = measure_path_length(generator(), Plain(), num, seed=5)
    np.testing.assert_allclose(found.length.value, np.mean(speeds), rtol=1e-2)
    ends = ((z[:num] - z[num:]) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(found.ends.value, ends, rtol=1e-4)
    np.testing.assert_allclose(found.detour.value, np.mean(speeds) / ends, rtol=1e-2)
    assert found.detour.value > 1 and found.length.low < found.length.value < found.length.high
    np.testing.assert_allclose(found.cross_fade.value, ends, rtol=1e-2)  # straight and even


def test_both_images_have_one_class() -> None:
    free, classes = (measure_path_length(generator(num), Plain(), 20) for num in (0, 3))
    np.testing.assert_allclose(classes.length.value, free.length.value, rtol=1e-2)


@pytest.mark.parametrize("num", [1, 10_001])
def test_limits(num: int) -> None:
    with pytest.raises(ConfigError, match=rf"^num: {num:,} is out of range; expected 2 to 10,000 walks$|^num: {num} "):
        measure_path_length(generator(), Plain(), num)


def test_real_images_have_a_length(small_generator: TrainedGenerator) -> None:
    found = measure_path_length(small_generator, Perception(), 6)
    assert found.detour.value > 1 and found.length.value > found.ends.value > 0
