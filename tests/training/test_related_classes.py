"""Which classes correspond: by name, by the mean, or by the looks of their images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.data.npz import Npz
from gansmith.data.store import Preparation, Store, prepare
from gansmith.metrics.features import FeatureNetwork
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import GeneratorNetwork
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.related_classes import find_nearest_classes, relate_classes
from gansmith.types import ImageSpec, Pixels

OLD, COUNTS = ("stop", "Yield", "no entry", "empty"), (3, 5, 2, 0)


def never(new: Sequence[int], old: Sequence[int]) -> Sequence[int]:
    raise AssertionError


def test_the_same_classes_are_the_identity() -> None:
    for how in ("new", "mean"):
        related = relate_classes(OLD[:3], COUNTS[:3], OLD[:3], how, never)
        assert torch.equal(related.shares, torch.eye(3)) and (related.text, related.new) == ("", ())


def test_rows_go_by_name_whatever_the_spelling() -> None:
    related = relate_classes(OLD, COUNTS, ("NO_Entry", "stop", "bicycle"), "new", never)
    assert related.shares.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert related.new == ("bicycle",) and related.text == "3 of 4 classes: 2 by name"


def test_other_classes_start_from_the_mean_of_those_that_were_trained() -> None:
    related = relate_classes(OLD, COUNTS, ("stop", "bicycle", "empty"), "mean", never)
    third = 1 / 3
    assert torch.allclose(related.shares, torch.tensor([[1, 0, 0, 0], [third] * 3 + [0], [third] * 3 + [0]]))
    assert torch.allclose(related.mean, torch.tensor([third, third, third, 0]))
    assert related.new == () and related.text == "3 of 4 classes: 1 by name, 2 from the mean"


def test_only_other_classes_are_compared_with_those_that_were_trained() -> None:
    asked: list[tuple[Sequence[int], Sequence[int]]] = []

    def nearest(new: Sequence[int], old: Sequence[int]) -> Sequence[int]:
        asked.append((new, old))
        return [2, 0]

    related = relate_classes(OLD, COUNTS, ("car", "stop", "bicycle"), "nearest", nearest)
    assert asked == [([0, 2], [0, 1, 2])]
    assert related.shares.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert related.text == "3 of 4 classes: 1 by name, 2 from the nearest (car from no entry, bicycle from stop)"


@pytest.mark.parametrize(("old", "new"), [((), OLD), (OLD, ()), ((), ())])
def test_without_classes_on_a_side_there_is_nothing_to_relate(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    related = relate_classes(old, COUNTS[: len(old)], new, "nearest", never)
    assert related.shares.shape == (len(new), len(old)) and not related.shares.any()
    words = {4: "no classes, from the mean of 4"} if old else {4: "4 classes, which all start as"}
    assert (words[4] in related.text) == bool(old or new)


class Brightness(FeatureNetwork):
    """Two features: the mean of the pixels, and of the upper half."""

    name, digest = "brightness", "0"

    def __call__(self, pixels: Pixels) -> tuple[Tensor, None]:
        values = pixels.float()
        return torch.stack([values.mean(dim=(1, 2, 3)), values[:, :, :8].mean(dim=(1, 2, 3))], dim=1), None


class Shades(GeneratorNetwork):
    """Makes images of a brightness that goes with the class."""

    def __init__(self) -> None:
        super().__init__()
        self.shade = torch.nn.Parameter(torch.tensor([-0.9, 0.0, 0.9]))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return self.shade[labels][:, None, None, None].expand(-1, 1, 32, 32) + 0.01 * z[:, :1, None, None]


def store_of(shades: Sequence[int], tmp_path: object) -> Store:
    labels = np.repeat(np.arange(len(shades)), 6)
    images = np.repeat(np.array(shades, np.uint8), 6)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    path = tmp_path / "shades.npz"  # type: ignore[operator]
    np.savez(path, images=images, labels=labels)
    return prepare(Npz(path=path), Preparation())


def test_the_nearest_class_is_the_one_whose_images_look_alike(tmp_path: object) -> None:
    """Also if the trained model makes images of another size and other channels."""
    store = store_of((250, 120, 10, 20), tmp_path)
    spec = ImageSpec(height=32, width=32, channels=1, num_classes=3)
    generator = TrainedGenerator(
        network=Shades(), model=DCGAN(z_dim=4), spec=spec, class_names=("dark", "grey", "light")
    )
    assert find_nearest_classes(Brightness(), store, generator, [0, 1, 2, 3], [0, 1, 2]) == [2, 1, 0, 0]
    assert find_nearest_classes(Brightness(), store, generator, [2], [1, 2]) == [1]
    assert find_nearest_classes(Brightness(), store, generator, [2], [2]) == [2]
