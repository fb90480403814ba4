"""Principal directions, against singular value decompositions and regressions by numpy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gansmith.errors import ConfigError
from gansmith.models.model import GeneratorNetwork
from gansmith.sampling.directions import find_directions
from gansmith.sampling.generator import TrainedGenerator
from gansmith.types import Images, Labels, Latents


def stem(generator: TrainedGenerator) -> np.ndarray:
    """The weights [d z] of the first layer."""
    return generator.network.get_submodule("stem").weight.detach().double().numpy()  # type: ignore[union-attr, operator]


def positive(vectors: np.ndarray) -> np.ndarray:
    """The same lines, directed as ours: the number of the largest size is positive."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units * np.sign([row[np.abs(row).argmax()] for row in units])[:, None]


def test_directions_of_the_weights_are_singular_vectors(class_generator: TrainedGenerator) -> None:
    found = find_directions(class_generator, "weights", 5)
    _, values, right = np.linalg.svd(stem(class_generator), full_matrices=False)
    np.testing.assert_allclose(found.vectors.numpy(), positive(right)[:5], atol=1e-5)
    np.testing.assert_allclose(found.shares, values[:5] ** 2 / (values**2).sum(), rtol=1e-5)
    assert found.layer == "stem" and found.method == "weights" and len(found) == 5
    assert find_directions(class_generator, "weights", 8).shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("num_latents", [300, 61])  # more and fewer than the 72 features
def test_directions_of_features_are_regressions_on_principal_components(
    class_generator: TrainedGenerator, num_latents: int
) -> None:
    generator = dataclasses.replace(class_generator, class_counts=(1, 3, 2))
    found = find_directions(generator, "features", 4, num_latents=num_latents, seed=7)
    z, labels = generator.draw(range(7, 7 + num_latents))
    network = generator.network.eval()
    with torch.no_grad():
        maps = network.stages[:2](network.stem(z).view(num_latents, 3, 4, -1).permute(0, 3, 1, 2), labels)  # type: ignore[operator, index, union-attr]
    features, latents = maps.flatten(1).double().numpy(), z.double().numpy()
    assert labels is not None
    for number in range(3):
        features[labels.numpy() == number] -= features[labels.numpy() == number].mean(axis=0)
    _, values, right = np.linalg.svd(features, full_matrices=False)
    coordinates = features @ right[:4].T
    wanted, *_ = np.linalg.lstsq(coordinates, latents, rcond=None)
    np.testing.assert_allclose(found.vectors.numpy(), positive(wanted), atol=1e-4)
    np.testing.assert_allclose(found.shares, values[:4] ** 2 / (values**2).sum(), rtol=1e-4)
    assert found.layer == "stages.2" and found.shares[0] > found.shares[1]


def test_features_of_a_linear_layer_agree_with_its_weights(small_generator: TrainedGenerator) -> None:
    """With many latents, both methods find the same: the covariance of normal latents is the identity."""
    linear = dataclasses.replace(small_generator, network=Linear())
    by_weights = find_directions(linear, "weights", 2)
    by_features = find_directions(linear, "features", 2, num_latents=4000)
    assert (by_weights.vectors * by_features.vectors).sum(dim=1).abs().min() > 0.99
    np.testing.assert_allclose(by_weights.shares, by_features.shares, atol=0.02)


class Linear(GeneratorNetwork):
    """Two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(8, 20), nn.Linear(20, 3 * 12 * 16)
        self.first.weight.data *= torch.tensor([4.0, 2, 1, 1, 1, 1, 1, 1])

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        return torch.tanh(self.last(self.first(z))).view(-1, 3, 12, 16)


class Still(Linear):
    """Its second layer reads the same for all latents."""

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        return super().forward(z * 0)


class Late(Linear):
    """Its first layer reads something else than the latent."""

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        return super().forward(z.flip(1))


def test_networks_without_such_a_layer_say_so(small_generator: TrainedGenerator) -> None:
    with pytest.raises(ConfigError, match=r"^method: the first layer of Late, first, does not read the latent itself"):
        find_directions(dataclasses.replace(small_generator, network=Late()), "weights")
    with pytest.raises(ConfigError, match=r"^layer: 2, last, reads the same for all latents; choose another layer$"):
        find_directions(dataclasses.replace(small_generator, network=Still()))
    with pytest.raises(ConfigError, match=r"^layer: 3 is out of range; Linear has 2 layers with weights$"):
        find_directions(dataclasses.replace(small_generator, network=Linear()), layer=3, num_latents=20)


def test_a_convolution_of_one_pixel_has_directions_too(small_generator: TrainedGenerator) -> None:
    class Unfolding(GeneratorNetwork):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.ConvTranspose2d(8, 3, (12, 16))

        def forward(self, z: Latents, labels: Labels | None = None) -> Images:
            return torch.tanh(self.first(z[:, :, None, None]))

    generator = dataclasses.replace(small_generator, network=Unfolding())
    weight = generator.network.get_submodule("first").weight.detach().flatten(1).double().numpy().T  # type: ignore[union-attr, operator]
    _, _, right = np.linalg.svd(weight, full_matrices=False)
    found = find_directions(generator, "weights", 8)
    np.testing.assert_allclose(np.abs(found.vectors.numpy() @ right.T), np.eye(8), atol=1e-4)


# --- strips ------------------------------------------------------------------------------------------------


def test_a_strip_moves_a_sample_along_each_direction(class_generator: TrainedGenerator) -> None:
    found = find_directions(class_generator, "weights", 3)
    strip = found.strip(seed=4, label="yield", reach=2, steps=5)
    assert strip.images.shape == (3, 5, 12, 16, 3)
    (z,), _ = class_generator.draw([4])
    for row in range(3):
        assert np.array_equal(strip.images[row, 2], class_generator.sample(1, seed=4, label="yield").images[0])
        ends = torch.stack([z - 2 * found.vectors[row], z + found.vectors[row]])
        own = class_generator.images(ends, torch.tensor([1, 1]))
        assert np.abs(strip.images[row][[0, 3]].astype(int) - own).max() <= 1
    assert strip.column_names == ("-2 sigma", "-1 sigma", "0", "+1 sigma", "+2 sigma")
    assert strip.row_names[0] == f"1: {100 * found.shares[0]:.1f}%"


def test_a_sigma_of_uniform_latents_is_shorter(small_generator: TrainedGenerator) -> None:
    model = dataclasses.replace(small_generator.model, latent="uniform")
    found = find_directions(dataclasses.replace(small_generator, model=model), "weights", 2)
    moved = found.move(torch.zeros(2, 8), 1, torch.tensor([-1.0, 0, 3]))
    assert moved.shape == (2, 3, 8)
    torch.testing.assert_close(moved[1, 2], 3**0.5 * found.vectors[1])
    assert torch.rand(100_000).mul(2).sub(1).std() == pytest.approx(3**-0.5, abs=0.01)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reach": 0.0}, "reach: 0.0 is out of range"),
        ({"steps": 4}, "steps: 4 is out of range; expected an odd number from 3 to 101"),
        ({"label": "yeld"}, "label: no class is called 'yeld'"),
    ],
)
def test_strips_out_of_range_are_refused(
    class_generator: TrainedGenerator, changed: dict[str, object], message: str
) -> None:
    found = find_directions(class_generator, "weights", 1)
    with pytest.raises(ConfigError) as caught:
        found.strip(**changed)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num": 9}, "num: 9 is out of range; expected 1 to 8 directions"),
        ({"num": 3, "num_latents": 6}, "num_latents: 6 is out of range; expected 7 to 1,000,000"),
        ({"label": "stopp"}, "label: no class is called 'stopp'"),
        ({"layer": 0}, "layer: 0 is out of range"),
    ],
)
def test_searches_out_of_range_are_refused(
    class_generator: TrainedGenerator, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_directions(class_generator, **changed)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_saved_directions_can_be_read(class_generator: TrainedGenerator, tmp_path: Path) -> None:
    found = find_directions(class_generator, "weights", 2)
    with np.load(found.save(tmp_path / "deep" / "x.npz"), allow_pickle=False) as read:
        assert np.array_equal(read["vectors"], found.vectors.numpy()) and np.array_equal(read["shares"], found.shares)
        assert str(read["method"]) == "weights" and str(read["layer"]) == "stem"
