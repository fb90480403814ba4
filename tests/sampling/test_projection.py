"""Projection: it finds what a generator made, changes nothing but the latents, and is the search that it says."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.errors import ConfigError
from gansmith.metrics import perceptual
from gansmith.metrics.perceptual import Perception
from gansmith.models.dcgan import DCGAN
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.projection import Search, choose_backbone, project
from gansmith.sampling.projections import Projections
from gansmith.types import ImageSpec

OWN = 1_000_000  # seeds that no search begins with
QUICK = Search(num_candidates=32, starts=2, steps=30)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enlarge images less, which takes a quarter of the time."""
    monkeypatch.setattr(perceptual, "SIDES", (32, 128))


def test_a_generated_image_is_recovered(small_generator: TrainedGenerator) -> None:
    made = small_generator.sample(2, seed=OWN)
    found = project(small_generator, made.images, search=QUICK)
    assert (found.distances < 0.1 * found.random_distances).all()
    assert (found.psnr > 25).all() and (found.squared_errors < 0.004).all()
    assert np.array_equal(found.reconstructions, small_generator.images(found.latents, None))
    assert np.array_equal(found.images, made.images) and found.labels is None


def test_the_class_is_found_or_kept(class_generator: TrainedGenerator) -> None:
    made = class_generator.sample(2, seed=OWN, label="stop").images
    free = project(class_generator, made, search=QUICK)
    assert free.labels is not None and free.labels.tolist() == [0, 0]
    other = project(class_generator, made, label="yield", search=QUICK)
    assert other.labels is not None and other.labels.tolist() == [1, 1]
    assert (free.distances < other.distances).all()
    each = project(class_generator, made, label=[1, 0], search=QUICK)
    assert each.labels is not None and each.labels.tolist() == [1, 0]
    np.testing.assert_allclose(each.distances, [other.distances[0], free.distances[1]], rtol=0.3)


def test_nothing_but_the_latents_changes(class_generator: TrainedGenerator) -> None:
    network = class_generator.network.train()
    before = copy.deepcopy(network.state_dict())
    images = class_generator.sample(1, seed=OWN).images
    first = project(class_generator, images, search=dataclasses.replace(QUICK, steps=3))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(each.grad is None and each.requires_grad for each in network.parameters())
    with torch.no_grad():  # as a caller may be
        again = project(class_generator, images, search=dataclasses.replace(QUICK, steps=3))
    assert torch.equal(first.latents, again.latents)
    other = project(class_generator, images, search=dataclasses.replace(QUICK, steps=3, seed=5))
    assert not torch.equal(first.latents, other.latents)


def test_without_steps_it_is_the_best_random_seed(class_generator: TrainedGenerator) -> None:
    """The first part of the search, in plain lines: seeds 7, 8, ..., the classes with images in turn."""
    images = class_generator.sample(2, seed=OWN).images
    z, _ = class_generator.draw(range(7, 7 + 20))
    labels = torch.tensor([0, 1] * 10)
    pixels = torch.from_numpy(class_generator.images(z, labels)).permute(0, 3, 1, 2) / 127.5 - 1
    targets = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    perception = Perception("lite0")
    found = project(class_generator, images, search=Search(num_candidates=20, starts=1, steps=0, seed=7))
    for i, target in enumerate(targets):
        distances = perception.measure(pixels, target.expand(20, -1, -1, -1))
        best = (distances + 4 * ((pixels - target) / 2).square().mean(dim=(1, 2, 3))).argmin()
        assert torch.equal(found.latents[i], z[best])
        assert found.labels is not None and found.labels[i] == labels[best]
        np.testing.assert_allclose(found.distances[i], float(distances[best]), rtol=1e-3)
        np.testing.assert_allclose(found.random_distances[i], float(distances.median()), rtol=0.05)


def test_normal_latents_keep_a_plausible_length(small_generator: TrainedGenerator) -> None:
    far = small_generator.images(3 * small_generator.draw([OWN])[0], None)
    found = project(small_generator, far, search=QUICK)
    deviation = (float(found.latents.square().sum()) - 8) / 16**0.5
    assert abs(deviation) < 4, "9 without a prior, 16 for the latent itself"


def test_uniform_latents_stay_inside(small_generator: TrainedGenerator) -> None:
    model = dataclasses.replace(small_generator.model, latent="uniform")
    generator = dataclasses.replace(small_generator, model=model)
    far = generator.images(2 * generator.draw([OWN])[0], None)
    found = project(generator, far, search=dataclasses.replace(QUICK, steps=15))
    assert found.latents.abs().max() <= 1


def test_gray_images_of_sigmoid_networks(tmp_path: Path) -> None:
    spec = ImageSpec(height=12, width=16, channels=1)
    model = DCGAN(width=4, z_dim=8, depth=2, output="sigmoid")
    torch.manual_seed(0)
    generator = TrainedGenerator(network=model.generator(spec), model=model, spec=spec)
    found = project(generator, generator.sample(1, seed=OWN).images, search=dataclasses.replace(QUICK, steps=10))
    assert found.squared_errors[0] < 0.01
    assert found.save(tmp_path / "gray.npz")[0].exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"starts": 0}, "starts: 0 is out of range; expected 1 to 64"),
        ({"steps": -1}, "steps: -1 is out of range; expected 0 to 10,000"),
        ({"num_candidates": 10**6}, "num_candidates: 1,000,000 is out of range; expected 1 to 100,000"),
        ({"num_candidates": 3, "starts": 4}, "starts: 4 is more than num_candidates, 3"),
    ],
)
def test_limits(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Search(**settings)
    assert str(caught.value) == message


def test_images_and_labels_are_checked(class_generator: TrainedGenerator) -> None:
    images = np.zeros((2, 12, 16, 3), np.uint8)
    for wrong in (images[:, :10], images[..., :1], images[0], images.astype(np.float32)):
        with pytest.raises(ConfigError, match=r"expected uint8 \[n 12 16 3\]$"):
            project(class_generator, wrong)
    with pytest.raises(ConfigError, match=r"^images: 0 cannot be projected at once; expected 1 to 256$"):
        project(class_generator, images[:0])
    with pytest.raises(ConfigError, match=r"^label: 1 classes for 2 images"):
        project(class_generator, images, label=[0])
    with pytest.raises(ConfigError, match=r"^label: class go had no training images"):
        project(class_generator, images, label="go")


def test_the_distance_avoids_the_network_of_the_discriminator() -> None:
    assert choose_backbone() == "lite0" == choose_backbone({"lite0", "lite1"})
    assert choose_backbone({"lite0"}) == "lite1"


def test_what_is_written(class_generator: TrainedGenerator, tmp_path: Path) -> None:
    images = class_generator.sample(3, seed=OWN, label=1).images
    seen: list[tuple[int, int]] = []
    search = dataclasses.replace(QUICK, steps=5)
    found = project(class_generator, images, label=1, search=search, progress=lambda *at: seen.append(at))
    assert seen[0] == (0, 15) and seen[-1] == (15, 15)
    picture, arrays = found.save(tmp_path / "found.png")
    sheet = np.asarray(Image.open(picture))
    scale = 8  # of 16 pixels to 128
    assert np.array_equal(sheet[: 12 * scale : scale, : 16 * scale : scale], images[0])
    second = 16 * scale + 2
    assert np.array_equal(sheet[: 12 * scale : scale, second : second + 16 * scale : scale], found.reconstructions[0])
    assert found.captions()[0] == (
        f"distance {found.distances[0]:.3f}",
        f"PSNR {found.psnr[0]:.1f} dB",
        f"MSE {found.squared_errors[0]:.4f}",
        "yield",
    )
    with np.load(arrays, allow_pickle=False) as saved:
        assert np.array_equal(saved["latents"], found.latents.numpy()) and saved["labels"].tolist() == [1, 1, 1]
        again = class_generator.images(torch.from_numpy(saved["latents"]), torch.from_numpy(saved["labels"]))
        assert np.array_equal(again, found.reconstructions)
    with pytest.raises(ConfigError, match=r"folder: projections are written as x.png and x.npz"):
        found.save(tmp_path / "folder")


def test_psnr_is_that_of_the_squared_error() -> None:
    exact = Projections(
        images=np.zeros((2, 4, 4, 1), np.uint8),
        reconstructions=np.zeros((2, 4, 4, 1), np.uint8),
        latents=torch.zeros(2, 3),
        labels=None,
        squared_errors=np.array([0.0, 0.01]),
        distances=np.zeros(2),
        random_distances=np.ones(2),
    )
    assert exact.psnr.tolist() == [np.inf, 20.0]
