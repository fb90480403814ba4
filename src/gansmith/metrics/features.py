"""Features of images: extracted in batches, gathered over ranks, and cached for real images."""

from __future__ import annotations

import hashlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gansmith import dist
from gansmith.data.integrity import hash_tensors
from gansmith.data.source import cache_folder
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics.image_sequence import ImageSequence, RankImages
from gansmith.types import PixelArray, Pixels

__all__ = [
    "FeatureNetwork",
    "Features",
    "Selection",
    "choose_subset",
    "extract",
    "extract_batches",
    "extract_store",
]

BATCH_SIZE = 128  # of the network, for incoming batches of any size, so that values do not depend on them


@dataclass(frozen=True, eq=False)
class Selection:
    """Some images of a memory map; each is read when it is looked up.

    Args:
        images: uint8 [n h w c].
        indices: which of them, int64 [m].
    """

    images: PixelArray
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, which: NDArray[np.int64], /) -> PixelArray:
        return np.take(self.images.view(np.ndarray), self.indices[which], axis=0)

    def batches(self, size: int = BATCH_SIZE) -> Iterator[PixelArray]:
        """Yield all of them in order, uint8 [m h w c] each."""
        for start in range(0, len(self), size):
            yield self[np.arange(start, min(start + size, len(self)))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of some images.

    Args:
        values: float32 [n d], on the CPU, all finite.
        logits: float32 [n k] of a classifier, or None.
        labels: int64 [n], the classes that the images have or were generated for, or None.
        images: the images themselves, or None if only their features are known.
    """

    values: Float[Tensor, "n d"]
    logits: Float[Tensor, "n k"] | None = None
    labels: NDArray[np.int64] | None = None
    images: ImageSequence | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def pixels(self) -> ImageSequence:
        """The images.

        Raises:
            MetricError: only the features are known.
        """
        if self.images is None:
            raise MetricError("needs images: only features were given; pass uint8 images [n h w c]")
        return self.images

    def __post_init__(self) -> None:
        finite = torch.isfinite(self.values).all(dim=1)
        if not bool(finite.all()):
            raise MetricError(
                f"features of {int((~finite).sum()):,} of {len(finite):,} images contain NaN or infinity; "
                "the feature extractor does not fit these images: choose another --extractor"
            )


class FeatureNetwork(ABC):
    """A feature extractor that is ready for use.

    Attributes:
        name: of the extractor, as on the command line.
        digest: SHA-256 of its weights and of its preprocessing.
        note: its quality, in one clause: "held-out accuracy 98.7 %".
        num_classes: number of logits; 0 if it has none.
        classifier_digest: SHA-256 of another network that computes the logits; "" if there is none.
        validation: indices of the training images that it was not trained on, int64 [n]; None if unknown.
    """

    name: str
    digest: str
    note: str = ""
    num_classes: int = 0
    classifier_digest: str = ""
    validation: NDArray[np.int64] | None = None

    @abstractmethod
    def __call__(self, pixels: Pixels) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"] | None]:
        """Return features and logits, float32 on any device, of uint8 images [n c h w]; images are independent.

        Raises:
            MetricError: it does not take images of this size or number of channels.
        """


def extract(
    network: FeatureNetwork, batches: Iterable[PixelArray], done: Callable[[int], object] | None = None
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n k"] | None]:
    """Return features and logits of a stream of images; they do not depend on the sizes of the batches.

    Args:
        network: the feature extractor.
        batches: uint8 [n h w c] each.
        done: called with the number of images after each batch of the network.

    Raises:
        MetricError: there are no images, or the network does not take them.
    """
    values, logits = [], []
    for images in _rebatched(batches):
        with torch.no_grad():
            features, scores = network(torch.from_numpy(images).permute(0, 3, 1, 2))
        values.append(features.float().cpu())
        if scores is not None:
            logits.append(scores.float().cpu())
        if done:
            done(len(images))
    if not values:
        raise MetricError("there are no images; expected at least 1")
    return torch.cat(values), torch.cat(logits) if logits else None


def _rebatched(batches: Iterable[PixelArray]) -> Iterator[PixelArray]:
    waiting: list[PixelArray] = []
    for batch in batches:
        waiting.append(batch)
        while sum(map(len, waiting)) >= BATCH_SIZE:
            together = np.concatenate(waiting)
            yield np.ascontiguousarray(together[:BATCH_SIZE])
            waiting = [together[BATCH_SIZE:]]
    rest = np.concatenate(waiting) if waiting else np.empty(0)
    if len(rest):
        yield np.ascontiguousarray(rest)


def extract_batches(
    network: FeatureNetwork,
    batches: Iterable[tuple[PixelArray, NDArray[np.int64] | None]],
    done: Callable[[int], object] | None = None,
) -> Features:
    """Return features of generated images, rank 0's first; every rank receives all of them.

    The images themselves stay on their rank, see ``RankImages``.

    Args:
        network: the feature extractor.
        batches: uint8 [n h w c] and labels [n] or None each.
        done: called with the number of images after each batch of the network.
    """
    images: list[PixelArray] = []
    labels: list[NDArray[np.int64]] = []

    def kept() -> Iterator[PixelArray]:
        for pictures, classes in batches:
            images.append(pictures)
            if classes is not None:
                labels.append(classes)
            yield pictures

    values, logits = extract(network, kept(), done)
    return Features(
        values=dist.gather_rows(values),
        logits=None if logits is None else dist.gather_rows(logits),
        labels=dist.gather_rows(torch.from_numpy(np.concatenate(labels))).numpy() if labels else None,
        images=RankImages(np.concatenate(images)),
    )


def choose_subset(indices: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """Return at most ``num`` of the indices, in order; always the same ones, so that values are comparable."""
    if len(indices) <= num:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, num, replace=False))


def extract_store(
    network: FeatureNetwork,
    store: Store,
    indices: NDArray[np.int64],
    done: Callable[[int], object] | None = None,
) -> Features:
    """Return features of some images of a store, computed once by the main process, then read from the cache.

    A cached file that is damaged or belongs to other images is replaced.
    """
    path = _cached_path(network, store, indices)
    selection = Selection(store.images, indices)
    with dist.main_first():
        tensors = _read(path, len(indices))
        if tensors is None:
            values, logits = extract(network, selection.batches(), done)
            tensors = {"values": values} if logits is None else {"values": values, "logits": logits}
            _write(path, tensors)
    labels = None if store.labels is None else store.labels[indices]
    return Features(values=tensors["values"], logits=tensors.get("logits"), labels=labels, images=selection)


def _cached_path(network: FeatureNetwork, store: Store, indices: NDArray[np.int64]) -> Path:
    described = [network.digest, store.digest, hashlib.sha256(indices.tobytes()).hexdigest()]
    described += [network.classifier_digest] if network.classifier_digest else []
    return cache_folder() / "features" / f"{hashlib.sha256(' '.join(described).encode()).hexdigest()}.safetensors"


def _read(path: Path, num: int) -> dict[str, Tensor] | None:
    """Return the tensors of a file; None if it is missing or damaged."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, RuntimeError, MemoryError):
        return None
    whole = all(
        tensor.dtype == torch.float32 and tensor.dim() == 2 and len(tensor) == num for tensor in tensors.values()
    )
    unchanged = whole and metadata == _metadata(path, tensors)
    return tensors if unchanged and {"values"} <= tensors.keys() <= {"values", "logits"} else None


def _metadata(path: Path, tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return name and digest, which show that a file is unchanged and was not renamed."""
    return {"name": path.name, "digest": hash_tensors(tensors)}


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".unfinished-{uuid.uuid4().hex[:8]}")  # two processes may write at once
    try:
        save_file(tensors, unfinished, _metadata(path, tensors))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
