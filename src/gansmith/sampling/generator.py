"""Samples of a trained generator, which grids, videos, metrics, reports and exports share.

One seed is one image, whatever the batch: each seed has its own random stream, from which the latent is drawn, and the
class too unless it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gansmith.data.class_names import find_class
from gansmith.devices import require_bytes
from gansmith.errors import ConfigError
from gansmith.images.pixels import file_kind, png_bytes, save_arrays, save_png, to_array, to_uint8
from gansmith.images.sheets import choose_classes, grid, labelled_rows
from gansmith.models.mixing import can_mix_classes, generate_images
from gansmith.models.model import GeneratorNetwork, Model, suspend_training
from gansmith.types import ClassWeights, ImageSpec, Labels, Latents, PixelArray, send, size_text

__all__ = ["BATCH_SIZE", "MOST_SEED", "Samples", "TrainedGenerator"]

BATCH_SIZE = 64
MOST_IMAGES = 10_000_000
MOST_SEED = 2**63 - 1
LONGEST_NAME = 40  # characters of a class name in a file name
NO_LETTERS = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Generated images; in a notebook they display themselves.

    Args:
        images: uint8 [n h w c].
        labels: int64 [n], or None for an unconditional model.
        seeds: the seed of each image; empty if the images have no seeds.
        class_names: names of the labels.
    """

    images: PixelArray
    labels: NDArray[np.int64] | None = None
    seeds: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"<Samples: {len(self)} images, {size_text(self.images.shape[1:3])}>"

    def class_name(self) -> str | None:
        """Return the class name if all images have one class, else None."""
        numbers = [] if self.labels is None else sorted(set(self.labels.tolist()))
        return self.class_names[numbers[0]] if len(numbers) == 1 and self.class_names else None

    def sheet(self) -> PixelArray:
        """Return a sheet of all images, uint8 [H W c], with named rows for several images of several classes."""
        classes = [] if self.labels is None else sorted(set(self.labels.tolist()))
        if self.labels is None or not 1 < len(classes) <= len(self) // 2:
            return grid(self.images)
        classes = [classes[i] for i in choose_classes(len(classes))]
        rows = [self.images[self.labels == label] for label in classes]
        longest = min(max(len(row) for row in rows), 16)
        blank = np.full_like(self.images[:1], 255)
        padded = [np.concatenate([row[:longest], *[blank] * (longest - len(row))]) for row in rows]
        return labelled_rows(padded, self.class_names, classes)

    def save(self, path: Path | str) -> Path:
        """Write a sheet (``x.png``), arrays (``x.npz``), or one PNG per image (a folder).

        Args:
            path: the file or folder; ``file_kind`` of it decides the format.

        Returns:
            The path.
        """
        kind, path = file_kind(path), Path(path)
        if kind == "png":
            return save_png(self.sheet(), path)
        if kind == "npz":
            arrays = {"images": self.images} if self.labels is None else {"images": self.images, "labels": self.labels}
            return save_arrays(path, **arrays)
        if kind:
            raise ConfigError(f"{path}: cannot write .{kind} files; expected x.png, x.npz, or a folder")
        for i, image in enumerate(self.images):
            save_png(image, path / f"{self._stem(i)}.png")
        return path

    def _stem(self, i: int) -> str:
        name = f"seed{self.seeds[i]:05d}" if self.seeds else f"{i:05d}"
        if self.labels is None:
            return name
        number = int(self.labels[i])
        words = NO_LETTERS.sub("-", self.class_names[number]).strip("-.") if self.class_names else ""
        return "_".join(filter(None, (f"class{number:03d}", words[:LONGEST_NAME], name)))

    def _repr_png_(self) -> bytes:
        return png_bytes(self.sheet())


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedGenerator:
    """A generator with everything needed to sample from it.

    Args:
        network: the generator, on its device.
        model: its hyper-parameters.
        spec: image shape and number of classes.
        class_names: names of the classes; empty if unconditional.
        class_counts: number of training images of each class; classes are drawn in proportion.
    """

    network: GeneratorNetwork
    model: Model
    spec: ImageSpec
    class_names: tuple[str, ...] = ()
    class_counts: tuple[int, ...] = ()

    def sample(
        self, num: int = 64, *, seed: int = 0, label: int | str | None = None, truncation: float = 1.0
    ) -> Samples:
        """Generate the images of the seeds ``seed``, ``seed`` + 1, ...

        Args:
            num: number of images.
            seed: seed of the first image.
            label: class number or name; None draws classes in the data's proportions.
            truncation: factor of the latents, in (0, 1]; lower values give more typical and less varied images.

        Raises:
            ConfigError: the class is unknown, the model is unconditional and ``label`` is given, or a number is out of
                range.
        """
        if not 1 <= num <= MOST_IMAGES:
            raise ConfigError(f"num: {num} images cannot be sampled; expected 1 to {MOST_IMAGES:,}")
        if not -MOST_SEED <= seed <= MOST_SEED - num:
            raise ConfigError(f"seed: {seed} is out of range; expected from {-MOST_SEED} to {MOST_SEED - num}")
        pixels = self.spec.height * self.spec.width * self.spec.channels
        require_bytes(2 * num * pixels, torch.device("cpu"), "num", f"{num:,} images of {self.spec}")
        batches = list(self.batches(range(seed, seed + num), label=label, truncation=truncation))
        labels = None if batches[0].labels is None else np.concatenate([batch.labels for batch in batches])
        images = np.concatenate([batch.images for batch in batches])
        return Samples(images=images, labels=labels, seeds=tuple(range(seed, seed + num)), class_names=self.class_names)

    def batches(
        self,
        seeds: Sequence[int],
        *,
        label: int | str | None = None,
        truncation: float = 1.0,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Samples]:
        """Yield the images of seeds in batches; the arguments are those of ``sample``."""
        if not 0 < truncation <= 1:
            raise ConfigError(f"truncation: {truncation} is out of range; expected more than 0 and at most 1")
        number = self.class_number(label)
        for start in range(0, len(seeds), batch_size):
            chosen = seeds[start : start + batch_size]
            z, labels = self.draw(chosen, number)
            yield self._samples(self.images(z * truncation, labels), labels, chosen)

    def draw(self, seeds: Sequence[int], label: int | None = None) -> tuple[Latents, Labels | None]:
        """Draw the latents [n z] and labels [n] of seeds, on the CPU."""
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        z = torch.cat([self.model.draw_latents(1, stream) for stream in streams])
        if not self.spec.num_classes:
            return z, None
        return z, self._draw_labels(streams) if label is None else torch.full((len(streams),), label)

    def _draw_labels(self, streams: Sequence[torch.Generator]) -> Labels:
        if not self.class_counts:
            return torch.zeros(len(streams), dtype=torch.int64)
        # Exponential waiting times: the probability that a class is first is proportional to its count. This is the
        # algorithm of torch.multinomial, for all images at once.
        counts = torch.tensor(self.class_counts, dtype=torch.float64)
        waits = torch.stack([torch.empty_like(counts).exponential_(generator=stream) for stream in streams])
        return (counts / waits).argmax(dim=1)

    def images(self, z: Latents, labels: Labels | ClassWeights | None) -> PixelArray:
        """Generate images, uint8 [n h w c], from any number of latents, batch by batch.

        Args:
            z: float32 [n z].
            labels: int64 [n]; or float32 [n k], the weight of each class in each image; None if unconditional.
        """
        device = next(self.network.parameters()).device
        made = []
        with suspend_training(self.network):
            for i in range(0, len(z), BATCH_SIZE):
                part = None if labels is None else send(labels[i : i + BATCH_SIZE], device)
                fake = generate_images(self.network, send(z[i : i + BATCH_SIZE], device), part)
                made.append(to_array(to_uint8(fake, self.model.value_range)))
        return np.concatenate(made)

    def can_mix_classes(self) -> bool:
        """Return whether ``images`` accepts weights of classes; see ``models.mixing``."""
        device = next(self.network.parameters()).device
        with suspend_training(self.network):
            z = send(self.model.draw_latents(1, torch.Generator().manual_seed(0)), device)
            return can_mix_classes(self.network, z, self.spec.num_classes)

    def class_number(self, label: int | str | None) -> int | None:
        """Return the number of the class with a name or number; see ``data.class_names``.

        Raises:
            ConfigError: the class is unknown or had no training images, or the model is unconditional.
        """
        if label is None:
            return None
        if not self.spec.num_classes:
            raise ConfigError(f"label: got {label!r}, but this model was trained without labels; omit it")
        names = self.class_names or tuple(map(str, range(self.spec.num_classes)))
        number = find_class(names, label)
        if self.class_counts and not self.class_counts[number]:
            raise ConfigError(f"label: class {names[number]} had no training images; choose another class")
        return number

    def _samples(self, images: PixelArray, labels: Labels | None, seeds: Sequence[int]) -> Samples:
        numbers = None if labels is None else labels.numpy()
        return Samples(images=images, labels=numbers, seeds=tuple(seeds), class_names=self.class_names)
