"""Latents that were found earlier: those of a projection's .npz file, checked before use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith.data.npz_arrays import ArrayHeader, load_array, read_headers
from gansmith.errors import ConfigError, DataError
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.types import Labels, Latents

__all__ = ["read_latents", "sample_latents"]

MOST_LATENTS = 10_000
LARGEST = 100.0  # of a normal latent; those of seeds hardly exceed 6


def read_latents(
    path: Path | str, generator: TrainedGenerator, labels: Sequence[int | str] = ()
) -> tuple[Latents, Labels | None]:
    """Read the latents and classes of a file that ``Projections.save`` wrote, or of one like it.

    Args:
        path: x.npz with ``latents``, a float array [n z], and for a model with classes ``labels``, whole numbers [n].
        generator: the generator that the latents are for.
        labels: numbers or names of classes that replace those of the file.

    Returns:
        Latents, float32 [n z], and labels, int64: [n], or one for each of ``labels``; None for an unconditional model.

    Raises:
        DataError: the file cannot be read, or its latents are not those of such a generator.
        ConfigError: a class is unknown, or none is given.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the x.npz of gansmith project")
    headers = read_headers(path)
    z = _read_z(path, headers, generator)
    numbers = [number for each in labels if (number := generator.class_number(each)) is not None]
    if numbers:
        return z, torch.tensor(numbers)
    return z, _read_labels(path, headers, generator, len(z))


def _read_z(path: Path, headers: Mapping[str, ArrayHeader], generator: TrainedGenerator) -> Latents:
    model = generator.model
    header = headers.get("latents")
    if header is None:
        raise DataError(f"{path}: has no array called latents; expected the x.npz of gansmith project")
    if header.dtype.kind != "f" or len(header.shape) != 2 or header.shape[1] != model.z_dim:
        raise DataError(f"{path}: {header}; this generator needs floats [n {model.z_dim}]")
    if not 1 <= len(header) <= MOST_LATENTS:
        raise DataError(f"{path}: has {len(header):,} latents; expected 1 to {MOST_LATENTS:,}")
    values = load_array(path, header)
    largest = 1.0 if model.latent == "uniform" else LARGEST
    if not (np.abs(values) <= largest).all():  # NaN is not either
        raise DataError(f"{path}: expected latents between {-largest:g} and {largest:g}; project with this generator")
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


def _read_labels(
    path: Path, headers: Mapping[str, ArrayHeader], generator: TrainedGenerator, num: int
) -> Labels | None:
    header, num_classes = headers.get("labels"), generator.spec.num_classes
    if not num_classes:
        if header is not None:
            raise DataError(f"{path}: has labels, but this model was trained without; project with this model")
        return None
    if header is None:
        raise ConfigError(f"{path}: has no labels, but this model has classes; give one, such as --label 0")
    if header.dtype.kind not in "iu" or header.shape != (num,):
        raise DataError(f"{path}: {header}; expected a whole number for each of its {num} latents")
    values: NDArray[np.int64] = load_array(path, header)
    if not ((values >= 0) & (values < num_classes)).all():
        raise DataError(f"{path}: its labels are not all between 0 and {num_classes - 1}, as this model's are")
    return torch.from_numpy(np.ascontiguousarray(values, np.int64))


def sample_latents(
    generator: TrainedGenerator, latents: Latents, labels: Labels | None, *, truncation: float = 1.0
) -> Samples:
    """Generate the images of latents.

    Args:
        generator: the generator.
        latents: float32 [n z].
        labels: int64 [n], or [1] for all; None if unconditional.
        truncation: factor of the latents, in (0, 1].

    Raises:
        ConfigError: the truncation is out of range, or there are other numbers of latents and labels.
    """
    if not 0 < truncation <= 1:
        raise ConfigError(f"truncation: {truncation} is out of range; expected more than 0 and at most 1")
    if labels is not None and len(labels) not in (1, len(latents)):
        raise ConfigError(f"labels: {len(labels)} classes for {len(latents)} latents; expected one for each, or one")
    numbers = None if labels is None else labels.expand(len(latents))
    images = generator.images(latents * truncation, numbers)
    shown = None if numbers is None else numbers.numpy()
    return Samples(images=images, labels=shown, class_names=generator.class_names)
