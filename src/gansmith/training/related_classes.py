"""Which classes of a trained model correspond to the classes of new data: by name, or by the looks of their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from gansmith.data.class_names import to_nfc
from gansmith.data.store import Store
from gansmith.metrics.features import FeatureNetwork, Selection, extract
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.origin import NewClasses
from gansmith.types import PixelArray

__all__ = ["RelatedClasses", "find_nearest_classes", "relate_classes"]

IMAGES_A_CLASS = 48  # real and generated ones, whose mean features are compared
SHOWN = 3  # pairs of classes in a line
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, kw_only=True, eq=False)
class RelatedClasses:
    """How the classes of new data correspond to those of a trained model.

    Args:
        shares: float32 [new old], the share of each old class in each new one; a row of zeros is made anew.
        mean: float32 [old], the share of each old class in a network without classes.
        text: what was done, in a clause; "" if the classes are the same or there are none on either side.
        new: names of the classes that are made anew.
    """

    shares: Float[Tensor, "new old"]
    mean: Float[Tensor, "old"]
    text: str
    new: tuple[str, ...] = ()


def relate_classes(
    old: Sequence[str],
    counts: Sequence[int],
    new: Sequence[str],
    how: NewClasses,
    nearest: Callable[[Sequence[int], Sequence[int]], Sequence[int]],
) -> RelatedClasses:
    """Return how classes correspond: by name, and as ``how`` says where no old class has the name.

    Args:
        old: names of the trained model's classes; empty without classes.
        counts: images of each that it was trained on.
        new: names of the new classes; empty without classes.
        how: what other classes start from.
        nearest: finds the nearest of some old classes for some new ones, by their numbers.
    """
    known = [i for i, count in enumerate(counts) if count] or list(range(len(old)))
    mean = torch.zeros(len(old))
    mean[known] = 1 / max(1, len(known))
    shares = torch.zeros(len(new), len(old))
    if not (old and new):
        return RelatedClasses(shares=shares, mean=mean, text=_describe_without(old, new))
    numbers = {_key(old[i]): i for i in reversed(known)}
    found = {i: numbers[_key(name)] for i, name in enumerate(new) if _key(name) in numbers}
    others = [i for i in range(len(new)) if i not in found]
    pairs = dict(zip(others, nearest(others, known), strict=True)) if how == "nearest" and others else {}
    for i, j in {**found, **pairs}.items():
        shares[i, j] = 1
    if how == "mean":
        shares[others] = mean
    same = [found.get(i) for i in range(len(new))] == list(range(len(old)))
    text = "" if same else _describe(old, new, len(found), others, how, pairs)
    return RelatedClasses(shares=shares, mean=mean, text=text, new=tuple(new[i] for i in others if how == "new"))


def _key(name: str) -> str:
    """Return a name without what spellings of the same class differ in."""
    return " ".join(to_nfc(name).casefold().replace("_", " ").replace("-", " ").split())


def _describe_without(old: Sequence[str], new: Sequence[str]) -> str:
    if old:
        return f"no classes, from the mean of {len(old)}"
    return f"{len(new)} classes, which all start as the model without classes" if new else ""


def _describe(
    old: Sequence[str],
    new: Sequence[str],
    num_found: int,
    others: Sequence[int],
    how: NewClasses,
    pairs: dict[int, int],
) -> str:
    parts = [f"{num_found} by name"] if num_found or not others else []
    if others and how != "new":
        shown = ", ".join(f"{new[i]} from {old[j]}" for i, j in list(pairs.items())[:SHOWN])
        more = ", ..." if len(pairs) > SHOWN else ""
        parts.append(f"{len(others)} from the {how}{f' ({shown}{more})' if shown else ''}")
    return f"{len(new)} of {len(old)} classes: {', '.join(parts)}" if parts else ""


def find_nearest_classes(
    network: FeatureNetwork,
    store: Store,
    generator: TrainedGenerator,
    new: Sequence[int],
    old: Sequence[int],
) -> list[int]:
    """Return the old class whose generated images look most like the real images of each new class.

    Args:
        network: a feature extractor for the new images.
        store: the new images.
        generator: of the trained model.
        new: numbers of new classes.
        old: numbers of old classes.
    """
    assert store.labels is not None
    real = [_mean_features(network, _of_class(store, label)) for label in new]
    shape = store.images.shape[1:]
    fake = [_mean_features(network, _fitted(_generated(generator, label), shape)) for label in old]
    deviation = torch.stack(fake).std(dim=0).clamp(min=1e-6) if len(fake) > 1 else torch.ones_like(fake[0])
    distances = torch.cdist(torch.stack(real) / deviation, torch.stack(fake) / deviation)
    return [old[i] for i in distances.argmin(dim=1).tolist()]


def _mean_features(network: FeatureNetwork, images: PixelArray) -> Float[Tensor, "d"]:
    values, _ = extract(network, [images])
    return values.double().mean(dim=0)


def _of_class(store: Store, label: int) -> PixelArray:
    """Return the first images of a class, all images if it has none."""
    assert store.labels is not None
    chosen = np.flatnonzero(store.labels == label)
    chosen = chosen if len(chosen) else np.arange(len(store.images))
    return Selection(store.images, chosen[:IMAGES_A_CLASS])[np.arange(min(len(chosen), IMAGES_A_CLASS))]


def _generated(generator: TrainedGenerator, label: int) -> PixelArray:
    return np.concatenate([each.images for each in generator.batches(range(IMAGES_A_CLASS), label=label)])


def _fitted(images: PixelArray, shape: tuple[int, ...]) -> PixelArray:
    """Return images with another size and other channels."""
    height, width, channels = shape
    if images.shape[1:] == shape:
        return images
    pictures = [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in images]
    resized = [picture.convert(_MODES[channels]).resize((width, height)) for picture in pictures]
    return np.stack([np.asarray(picture).reshape(shape) for picture in resized])
