"""The arms of a utility test: which images a classifier is trained on, and in which order.

An order is a sequence of numbers of images in a ``Material``, one for each place of each batch. It is a function of the
arm, the number of real images and the seed. Test images are no part of a material, so no arm can contain one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gansmith.data.batches import Indices
from gansmith.types import PixelArray

__all__ = [
    "ARMS",
    "BATCH_SIZE",
    "NO_REAL",
    "Amount",
    "ArmKind",
    "ArmOrder",
    "LabelledImages",
    "Material",
    "arrange_arm",
    "choose_real",
]

BATCH_SIZE = 32
HALF = BATCH_SIZE // 2  # of a batch that mixes real and synthetic images

# Keys of the random streams of a seed; each arm has the same stream of real images.
REAL, CLASSES, SYNTHETIC, SUBSET = range(4)

Amount: TypeAlias = int | None  # real images of each class; None is all of them
NO_REAL = 0  # the amount of the arms without real images


@dataclass(frozen=True, kw_only=True)
class ArmKind:
    """What a classifier is trained on.

    Args:
        title: as tables show it.
        real: whether there are real images.
        synthetic: "gan", "drawn" or "".
        augmented: whether the real images are augmented in the classical way.
        filled: whether synthetic images only fill up rare classes.
        definition: in a sentence.
    """

    title: str
    real: bool = True
    synthetic: str = ""
    augmented: bool = False
    filled: bool = False
    definition: str


ARMS: dict[str, ArmKind] = {
    "real": ArmKind(title="real", definition="real images only"),
    "augmented": ArmKind(
        title="real, augmented",
        augmented=True,
        definition="real images, shifted, scaled, turned and changed in brightness and contrast at random",
    ),
    "gan": ArmKind(
        title="real + GAN", synthetic="gan", definition="half of each batch real, half generated, of the same classes"
    ),
    "drawn": ArmKind(
        title="real + drawn", synthetic="drawn", definition="half of each batch real, half drawn, of the same classes"
    ),
    "gan-only": ArmKind(title="GAN only", real=False, synthetic="gan", definition="generated images only"),
    "drawn-only": ArmKind(title="drawn only", real=False, synthetic="drawn", definition="drawn images only"),
    "rare": ArmKind(
        title="real + GAN, rare classes",
        synthetic="gan",
        filled=True,
        definition="real images, and generated ones of each class that has fewer than the largest",
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """Images with their classes.

    Args:
        images: uint8 [n h w c].
        labels: int64 [n].
    """

    images: PixelArray
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """All images that arms are made of, numbered through: real, then generated, then drawn.

    Args:
        real: the real training images.
        synthetic: "gan" and "drawn", as far as there are any.
        num_classes: k.
    """

    real: LabelledImages
    synthetic: dict[str, LabelledImages]
    num_classes: int

    def numbers(self, name: str) -> Indices:
        """Return the numbers of the images of "real", "gan" or "drawn"."""
        start = 0
        for part, images in self._parts().items():
            if part == name:
                return np.arange(start, start + len(images))
            start += len(images)
        raise KeyError(name)

    def take(self, numbers: Indices) -> LabelledImages:
        """Return copies of the images with these numbers, in this order."""
        parts = list(self._parts().values())
        starts = np.cumsum([0, *map(len, parts)])
        images = np.empty((len(numbers), *self.real.images.shape[1:]), np.uint8)
        labels = np.empty(len(numbers), np.int64)
        for part, start in zip(parts, starts.tolist(), strict=False):
            here = (numbers >= start) & (numbers < start + len(part))
            images[here] = part.images[numbers[here] - start]
            labels[here] = part.labels[numbers[here] - start]
        return LabelledImages(images=images, labels=labels)

    def _parts(self) -> dict[str, LabelledImages]:
        return {"real": self.real, **self.synthetic}


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmOrder:
    """The images of one classifier.

    Args:
        real: numbers of its real images; empty for none.
        synthetic: numbers of its generated or drawn images; empty for none.
        order: numbers of the images of all steps, [steps * BATCH_SIZE].
    """

    real: Indices
    synthetic: Indices
    order: Indices


def choose_real(labels: NDArray[np.int64], amount: Amount, seed: int) -> Indices:
    """Return the indices of ``amount`` images of each class, sorted; of all images if ``amount`` is None.

    A class with fewer images gives all of them. With the same seed, a smaller amount is a part of a larger one.
    """
    if amount is None:
        return np.arange(len(labels))
    chosen = []
    for label in np.unique(labels).tolist():
        members = np.flatnonzero(labels == label)
        chosen.append(np.random.default_rng([seed, SUBSET, label]).permutation(members)[:amount])
    return np.sort(np.concatenate(chosen))


def arrange_arm(arm: str, amount: Amount, seed: int, steps: int, material: Material) -> ArmOrder:
    """Return which images an arm is trained on, and in which order.

    Args:
        arm: a name in ``ARMS``; the material has its images.
        amount: real images of each class, or None for all. Arms without real images ignore it.
        seed: of the choice and of the order.
        steps: number of batches.
        material: the images.
    """
    kind = ARMS[arm]
    chosen = choose_real(material.real.labels, amount if kind.real else None, seed)
    if not kind.synthetic:
        return ArmOrder(real=chosen, synthetic=chosen[:0], order=_stream(chosen, steps * BATCH_SIZE, seed, REAL))
    numbers = material.numbers(kind.synthetic)
    labels = material.synthetic[kind.synthetic].labels
    if kind.filled:
        return _fill_up(chosen, material, numbers, steps, seed)
    each = HALF if kind.real else BATCH_SIZE
    classes = material.real.labels[_stream(chosen, steps * each, seed, CLASSES)]
    order = _draw_of_classes(classes, labels, numbers, seed)
    if not kind.real:
        return ArmOrder(real=chosen[:0], synthetic=numbers, order=order)
    real = _stream(chosen, steps * HALF, seed, REAL)
    mixed = np.concatenate([real.reshape(steps, HALF), order.reshape(steps, HALF)], axis=1)
    return ArmOrder(real=chosen, synthetic=numbers, order=mixed.reshape(-1))


def _fill_up(chosen: Indices, material: Material, numbers: Indices, steps: int, seed: int) -> ArmOrder:
    """Return all real images and as many generated ones as each class lacks; every image equally often."""
    labels = material.synthetic["gan"].labels
    counts = np.bincount(material.real.labels[chosen], minlength=material.num_classes)
    added = np.concatenate(
        [
            numbers[np.flatnonzero(labels == label)[:lacking]]
            for label, lacking in enumerate((counts.max() - counts).tolist())
        ]
    )
    everything = np.concatenate([chosen, added])
    return ArmOrder(real=chosen, synthetic=added, order=_stream(everything, steps * BATCH_SIZE, seed, REAL))


def _draw_of_classes(classes: NDArray[np.int64], labels: NDArray[np.int64], numbers: Indices, seed: int) -> Indices:
    """Return a synthetic image of each of these classes; within a class, all come equally often."""
    order = np.empty(len(classes), np.int64)
    for label in np.unique(classes).tolist():
        places = np.flatnonzero(classes == label)
        order[places] = _stream(numbers[labels == label], len(places), seed, SYNTHETIC, label)
    return order


def _stream(numbers: Indices, num: int, *keys: int) -> Indices:
    """Return the first ``num`` entries of an endless sequence of permutations of some numbers."""
    draw = np.random.default_rng(keys)
    passes = [draw.permutation(numbers) for _ in range(-(-num // len(numbers)))]
    return np.concatenate(passes)[:num]
