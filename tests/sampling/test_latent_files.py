"""Latents of a file: read as they were written, walked through like those of seeds, and refused if hostile."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.errors import ConfigError, DataError, GansmithError
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.latent_files import read_latents, sample_latents
from gansmith.sampling.projections import Projections
from gansmith.sampling.walks import chain, chain_latents

Z = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
LABELS = np.array([1, 0, 1])


def saved(folder: Path, **arrays: object) -> Path:
    path = folder / "found.npz"
    np.savez(path, **{"latents": Z, "labels": LABELS, **arrays})  # type: ignore[arg-type]
    return path


def test_what_a_projection_wrote_is_read(class_generator: TrainedGenerator, tmp_path: Path) -> None:
    z, numbers = class_generator.draw([4, 9], 1)
    images = class_generator.images(z, numbers)
    found = Projections(
        images=images,
        reconstructions=images,
        latents=z,
        labels=np.array([1, 0]),
        squared_errors=np.zeros(2),
        distances=np.zeros(2),
        random_distances=np.ones(2),
    )
    _, arrays = found.save(tmp_path / "found.npz")
    read, labels = read_latents(arrays, class_generator)
    assert torch.equal(read, z) and labels is not None and labels.tolist() == [1, 0]
    given, other = read_latents(arrays, class_generator, ["yield"])
    assert torch.equal(given, z) and other is not None and other.tolist() == [1]
    samples = sample_latents(class_generator, read, other, truncation=0.5)
    assert np.array_equal(samples.images[1], class_generator.sample(1, seed=9, label=1, truncation=0.5).images[0])
    assert samples.labels is not None and samples.labels.tolist() == [1, 1] and samples.class_name() == "yield"


def test_a_model_without_classes_has_latents_only(small_generator: TrainedGenerator, tmp_path: Path) -> None:
    np.savez(tmp_path / "found.npz", latents=Z.astype(np.float64))
    z, labels = read_latents(tmp_path / "found.npz", small_generator)
    assert labels is None and z.dtype == torch.float32 and np.array_equal(z.numpy(), Z)
    assert np.array_equal(sample_latents(small_generator, z, None).images, small_generator.images(z, None))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"latents": Z[:, :7]}, "latents is float32 [3 7]; this generator needs floats [n 8]"),
        ({"latents": Z[0]}, "latents is float32 [8]; this generator needs floats [n 8]"),
        ({"latents": np.zeros((3, 8), np.int64)}, "latents is int64 [3 8]; this generator needs floats [n 8]"),
        ({"latents": np.array([[{}] * 8])}, "latents is object [1 8]; this generator needs floats [n 8]"),
        ({"latents": Z[:0]}, "has 0 latents; expected 1 to 10,000"),
        ({"latents": np.zeros((10_001, 8), np.float16)}, "has 10,001 latents; expected 1 to 10,000"),
        ({"latents": np.where(Z > 0, np.nan, Z)}, "expected latents between -100 and 100"),
        ({"latents": np.where(Z > 0, 1e300, Z.astype(float))}, "expected latents between -100 and 100"),
        ({"labels": LABELS[:2]}, "labels is int64 [2]; expected a whole number for each of its 3 latents"),
        ({"labels": LABELS / 1}, "labels is float64 [3]; expected a whole number for each of its 3 latents"),
        ({"labels": LABELS + 2}, "its labels are not all between 0 and 2"),
        ({"labels": LABELS - 1}, "its labels are not all between 0 and 2"),
    ],
)
def test_hostile_files_are_one_line(
    class_generator: TrainedGenerator, tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {message}')}") as caught:
        read_latents(path, class_generator)
    assert "\n" not in str(caught.value)


def test_other_files_are_one_line(
    class_generator: TrainedGenerator, small_generator: TrainedGenerator, tmp_path: Path
) -> None:
    path = tmp_path / "x.npz"
    cases: list[tuple[TrainedGenerator, object, str]] = [
        (class_generator, None, "no such file"),
        (class_generator, b"PK\x03\x04 nothing", "cannot be read as .npz"),
        (class_generator, {"z": Z}, "has no array called latents; expected the x.npz of gansmith project"),
        (class_generator, {"latents": Z}, "has no labels, but this model has classes; give one, such as --label 0"),
        (small_generator, {"latents": Z, "labels": LABELS}, "has labels, but this model was trained without"),
    ]
    for generator, content, message in cases:
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            np.savez(path, **content)
        with pytest.raises(GansmithError, match=f"^{re.escape(f'{path}: {message}')}"):
            read_latents(path, generator)
    model = dataclasses.replace(small_generator.model, latent="uniform")
    np.savez(path, latents=np.full((1, 8), 1.01))
    with pytest.raises(DataError, match="expected latents between -1 and 1;"):
        read_latents(path, dataclasses.replace(small_generator, model=model))
    with pytest.raises(ConfigError, match="label: no class is called 'stopp'"):
        read_latents(saved(tmp_path), class_generator, ["stopp"])


def test_a_walk_through_latents_is_that_of_their_seeds(class_generator: TrainedGenerator) -> None:
    z, _ = class_generator.draw([3, 7, 4], 0)
    for more in ({"steps": 4}, {"steps": 3, "method": "lerp", "loop": True, "truncation": 0.7}):
        seeds = chain(class_generator, [3, 7, 4], ["stop", "yield"], **more)  # type: ignore[arg-type]
        way = chain_latents(class_generator, z, np.array([0, 1, 0]), **more)  # type: ignore[arg-type]
        assert torch.equal(way.z, seeds.z) and way.loop == seeds.loop
        assert way.labels is not None and seeds.labels is not None and torch.equal(way.labels, seeds.labels)
    one = chain_latents(class_generator, z[:1], torch.tensor([0, 1]), steps=3)
    assert torch.equal(one.z, z[:1].expand(1, 3, 8)) and one.labels is not None
    assert one.labels[0].tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]]


def test_what_no_walk_can_be_is_one_line(class_generator: TrainedGenerator) -> None:
    z, labels = class_generator.draw([3, 7], 0)
    with pytest.raises(ConfigError, match="latents: got 1; expected at least two latents or two labels"):
        chain_latents(class_generator, z[:1], None)
    with pytest.raises(ConfigError, match="truncation: 0 is out of range"):
        chain_latents(class_generator, z, labels, truncation=0)
    with pytest.raises(ConfigError, match="steps: 1 is out of range"):
        chain_latents(class_generator, z, labels, steps=1)
    with pytest.raises(ConfigError, match=r"truncation: 1\.1 is out of range"):
        sample_latents(class_generator, z, labels, truncation=1.1)
    with pytest.raises(ConfigError, match="labels: 3 classes for 2 latents"):
        sample_latents(class_generator, z, torch.tensor([0, 1, 0]))
