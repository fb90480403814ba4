"""The real images that a run's samples are nearest to, in the features that the run is judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from gansmith.errors import ConfigError
from gansmith.evaluation.inputs import extract_subset, load_extractor
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import Real, open_own_images
from gansmith.images.captions import captioned, shorten_name
from gansmith.images.pixels import png_bytes, save_png
from gansmith.images.sheets import enlarge
from gansmith.metrics.copies import COPY, Originals
from gansmith.metrics.features import FeatureNetwork, Features, extract
from gansmith.metrics.manifold import find_nearest
from gansmith.runs import RunFolder
from gansmith.sampling.generator import Samples
from gansmith.training.config import load_config
from gansmith.types import PixelArray

__all__ = ["Neighbourhood", "Neighbours", "find_neighbours", "find_run_neighbours", "open_neighbourhood"]

MOST_NEIGHBOURS = 64
SHOWN_SIDE = 96  # pixels: images are enlarged to about this


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """Samples with their nearest training images.

    Args:
        samples: the samples.
        images: their nearest training images, the nearest first, uint8 [n k h w c].
        numbers: of these in the prepared data, int64 [n k].
        distances: in the features of the extractor, float64 [n k].
        labels: classes of the training images, int64 [n k]; None without labels.
        class_names: their names.
        typical: the median distance of training images to their own nearest training image.
        differences: smallest pixel difference of each sample from a training image, relative to the contrast of that
            image, float64 [n]; at most 0.2 counts as a copy. See ``metrics.copies``.
        extractor: name of the feature extractor.
    """

    samples: Samples
    images: PixelArray
    numbers: NDArray[np.int64]
    distances: NDArray[np.float64]
    labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    typical: float
    differences: NDArray[np.float64]
    extractor: str

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def are_copies(self) -> NDArray[np.bool_]:
        """Which samples are copies of a training image, bool [n]."""
        return self.differences <= COPY

    def sheet(self) -> PixelArray:
        """Return a sheet, uint8 [H W 3]: in each row a sample, then its training images with their distances."""
        scale = max(1, round(SHOWN_SIDE / max(self.images.shape[2:4])))
        tiles = [tile for i in range(len(self)) for tile in (self.samples.images[i], *self.images[i])]
        captions = [line for i in range(len(self)) for line in (self._about(i), *self._about_neighbours(i))]
        return captioned([enlarge(tile, scale) for tile in tiles], captions, columns=1 + self.images.shape[1])

    def _about(self, i: int) -> tuple[str, str]:
        name = "sample" if self.samples.labels is None else self._name(self.samples.class_names, self.samples.labels[i])
        seed = f"seed {self.samples.seeds[i]}" if self.samples.seeds else ""
        return name, f"{seed}{', a copy' if self.are_copies[i] else ''}".lstrip(", ")

    def _about_neighbours(self, i: int) -> list[tuple[str, str]]:
        names = ["training image"] * self.images.shape[1]
        if self.labels is not None:
            names = [self._name(self.class_names, number) for number in self.labels[i]]
        return [(name, f"distance {distance:.3g}") for name, distance in zip(names, self.distances[i], strict=True)]

    @staticmethod
    def _name(names: tuple[str, ...], number: np.int64) -> str:
        return shorten_name(names[number]) if names else f"class {number}"

    def save(self, path: Path | str) -> Path:
        """Write the sheet as PNG."""
        return save_png(self.sheet(), Path(path))

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbourhood:
    """Training images with all that their neighbours are found by; what takes long is computed once.

    Args:
        real: the training images.
        training: their features.
        network: the feature extractor.
    """

    real: Real
    training: Features
    network: FeatureNetwork

    @cached_property
    def originals(self) -> Originals:
        """What copies are found by."""
        return Originals.of(self.training.pixels)

    @cached_property
    def typical(self) -> float:
        """The median distance of some training images to the nearest other one; NaN for a single image."""
        return _typical_distance(self.training)

    def find(self, samples: Samples, num: int = 5) -> Neighbours:
        """Return the training images that are nearest to samples.

        Args:
            samples: the samples, at least one.
            num: training images for each sample.

        Raises:
            ConfigError: ``num`` is out of range.
        """
        most = min(MOST_NEIGHBOURS, len(self.training))
        if not 1 <= num <= most:
            raise ConfigError(f"num: {num} training images cannot be found for each sample; expected 1 to {most}")
        store = self.real.store
        values, _ = extract(self.network, [samples.images])
        distances, rows = find_nearest(values, self.training.values, num)
        numbers = self.real.indices[rows.numpy()]
        return Neighbours(
            samples=samples,
            images=np.stack([self.training.pixels[row] for row in rows.numpy()]),
            numbers=numbers,
            distances=distances.numpy(),
            labels=None if store.labels is None else store.labels[numbers],
            class_names=store.class_names,
            typical=self.typical,
            differences=self.originals.measure_differences(samples.images, rows[:, 0].numpy()),
            extractor=self.network.name,
        )


def open_neighbourhood(folder: RunFolder, options: EvaluationOptions | None = None) -> Neighbourhood:
    """Return the training images of a run with their features, from the cache if it holds them.

    Args:
        folder: the run.
        options: of an evaluation, for its feature extractor; None takes the one that evaluates the run.

    Raises:
        RunError: the training images are missing or have changed.
    """
    console, options = Console(quiet=True), options or EvaluationOptions()
    real = open_own_images(folder, options, console)
    network = load_extractor(real, options, console, load_config(folder.config).backbones)
    training = extract_subset(network, real, "training images", console)
    return Neighbourhood(real=real, training=training, network=network)


def find_run_neighbours(
    folder: RunFolder, samples: Samples, num: int = 5, options: EvaluationOptions | None = None
) -> Neighbours:
    """Return the training images of a run that are nearest to samples.

    Args:
        folder: the run.
        samples: images that its generator made.
        num: training images for each sample.
        options: of an evaluation, for its feature extractor; None takes the one that evaluates the run.

    Raises:
        RunError: the training images are missing or have changed.
    """
    return open_neighbourhood(folder, options).find(samples, num)


def find_neighbours(
    samples: Samples, real: Real, training: Features, network: FeatureNetwork, num: int = 5
) -> Neighbours:
    """Return the training images that are nearest to samples; see ``Neighbourhood``.

    Args:
        samples: the samples, at least one.
        real: the training images.
        training: their features.
        network: the feature extractor.
        num: training images for each sample.

    Raises:
        ConfigError: ``num`` is out of range.
    """
    return Neighbourhood(real=real, training=training, network=network).find(samples, num)


def _typical_distance(training: Features, most: int = 1000) -> float:
    """Return the median distance of some training images to the nearest other one; NaN for a single image."""
    if len(training) < 2:
        return math.nan
    chosen = torch.linspace(0, len(training) - 1, min(most, len(training))).round().long()
    distances, _ = find_nearest(training.values[chosen], training.values, 2)
    return float(distances[:, 1].median())
