"""Tables of images in which one thing varies: the class, the truncation, or which layers belong to another sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gansmith.errors import ConfigError
from gansmith.images.pixels import to_array, to_uint8
from gansmith.images.tables import ImageTable
from gansmith.models.mixing import Gated, list_entries, mix_entries
from gansmith.models.model import suspend_training
from gansmith.sampling.generator import MOST_SEED, TrainedGenerator
from gansmith.types import Labels, Latents, PixelArray, send

__all__ = ["TRUNCATIONS", "mix_layers", "sweep_classes", "sweep_truncation"]

MOST_ROWS = 64
TRUNCATIONS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def sweep_classes(
    generator: TrainedGenerator,
    labels: Sequence[int | str] = (),
    *,
    num: int = 4,
    seed: int = 0,
    truncation: float = 1.0,
) -> ImageTable:
    """Return a row of images per class and a column per latent, so that only the class varies along a column.

    Args:
        generator: the generator.
        labels: numbers or names of classes; empty gives all that had training images.
        num: number of latents.
        seed: seed of the first latent.
        truncation: factor of the latents, in (0, 1].

    Raises:
        ConfigError: the model is unconditional, a class is unknown, or a number is out of range.
    """
    numbers = _numbers(generator, labels)
    seeds = _seeds(num, seed)
    images = [_images(generator, seeds, number, truncation) for number in numbers]
    names = generator.class_names or tuple(map(str, range(generator.spec.num_classes)))
    return _table(images, [names[number] for number in numbers], [f"seed {each}" for each in seeds])


def sweep_truncation(
    generator: TrainedGenerator,
    truncations: Sequence[float] = TRUNCATIONS,
    *,
    num: int = 4,
    seed: int = 0,
    label: int | str | None = None,
) -> ImageTable:
    """Return a row of images per seed and a column per truncation.

    Args:
        generator: the generator.
        truncations: factors of the latents, each in (0, 1].
        num: number of seeds.
        seed: the first of them.
        label: class of all images; None gives each seed its own.

    Raises:
        ConfigError: a number is out of range, or the class is unknown.
    """
    if not truncations:
        raise ConfigError("truncations: got none, expected one or more in (0, 1]")
    seeds, number = _seeds(num, seed), generator.class_number(label)
    columns = [_images(generator, seeds, number, truncation) for truncation in truncations]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return _table(rows, [f"seed {each}" for each in seeds], [f"{value:g}" for value in truncations])


def mix_layers(
    generator: TrainedGenerator,
    labels: Sequence[int | str] = (),
    *,
    num: int = 4,
    seed: int = 0,
    truncation: float = 1.0,
) -> ImageTable:
    """Return a row of images per pair of samples; from left to right, more layers belong to the other sample.

    The late layers are taken first. The latent itself, which only the first layer reads, stays that of the first
    sample. What can be taken is the class, where several layers read it, and the gates of ``Projected`` networks.

    Args:
        generator: the generator.
        labels: the classes of the first and of the other sample; empty gives each seed its own.
        num: number of pairs; the seeds ``seed``, ``seed`` + 1, ... meet the seeds ``seed`` + num, ...
        seed: seed of the first sample.
        truncation: factor of the latents, in (0, 1].

    Raises:
        ConfigError: nothing can be mixed in this network, a class is unknown, or a number is out of range.
    """
    if labels and len(labels) != 2:
        raise ConfigError(f"labels: got {len(labels)}, expected two: of the first and of the other sample")
    seeds = [*_seeds(num, seed), *_seeds(num, seed + num)]
    if not 0 < truncation <= 1:
        raise ConfigError(f"truncation: {truncation} is out of range; expected more than 0 and at most 1")
    numbers = [generator.class_number(label) for label in labels] or [None, None]
    own, other = (
        _draw(generator, part, number, truncation)
        for part, number in zip((seeds[:num], seeds[num:]), numbers, strict=True)
    )
    network, num_classes = generator.network, generator.spec.num_classes
    columns: list[PixelArray] = []
    with suspend_training(network):
        entries = list_entries(network, own[0][:1], None if own[1] is None else own[1][:1], num_classes)
        _require_layers(generator, entries)
        for count in range(len(entries) + 1):
            images = mix_entries(network, own, other, entries[len(entries) - count :], num_classes)
            columns.append(to_array(to_uint8(images, generator.model.value_range)))
    names = [f"{first} + {second}" for first, second in zip(seeds[:num], seeds[num:], strict=True)]
    heads = [f"{count} of {len(entries)}" for count in range(len(entries) + 1)]
    return _table([list(row) for row in zip(*columns, strict=True)], names, heads)


def _require_layers(generator: TrainedGenerator, entries: Sequence[str]) -> None:
    """Raise ConfigError if the network cannot take single layers of another sample."""
    gates = generator.network.list_gates() if isinstance(generator.network, Gated) else ()
    if len(entries) >= 2 or set(gates) & set(entries):
        return
    class_too = " and the class enter its first layer" if generator.spec.num_classes else " enters its first layer"
    raise ConfigError(
        f"sweep: {type(generator.model).__name__} cannot mix layers: the latent{class_too} only; expected a model of "
        "several classes with --model.conditioning norm (dcgan, resnet), or projected (with classes, or from 64 pixels)"
    )


def _draw(
    generator: TrainedGenerator, seeds: Sequence[int], number: int | None, truncation: float
) -> tuple[Latents, Labels | None]:
    device = next(generator.network.parameters()).device
    z, labels = generator.draw(seeds, number)
    return send(z * truncation, device), None if labels is None else send(labels, device)


def _images(
    generator: TrainedGenerator, seeds: Sequence[int], number: int | None, truncation: float
) -> list[PixelArray]:
    batches = generator.batches(seeds, label=number, truncation=truncation)
    return [image for batch in batches for image in batch.images]


def _numbers(generator: TrainedGenerator, labels: Sequence[int | str]) -> list[int]:
    """Return the numbers of the classes, or of all that had training images."""
    num_classes, counts = generator.spec.num_classes, generator.class_counts
    if not num_classes:
        raise ConfigError("sweep: this model was trained without labels, so it has no classes to sweep")
    chosen = [generator.class_number(label) for label in labels]
    return [each for each in chosen if each is not None] or [i for i in range(num_classes) if not counts or counts[i]]


def _seeds(num: int, seed: int) -> list[int]:
    if not 1 <= num <= MOST_ROWS:
        raise ConfigError(f"num: {num} is out of range; expected 1 to {MOST_ROWS} latents in a table")
    if not -MOST_SEED <= seed <= MOST_SEED - num:
        raise ConfigError(f"seed: {seed} is out of range; expected from {-MOST_SEED} to {MOST_SEED - num}")
    return list(range(seed, seed + num))


def _table(rows: Sequence[Sequence[PixelArray]], row_names: Sequence[str], column_names: Sequence[str]) -> ImageTable:
    images = np.stack([np.stack(row) for row in rows])
    return ImageTable(images=images, row_names=tuple(row_names), column_names=tuple(column_names))
