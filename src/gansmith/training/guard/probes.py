"""Cheap looks at both networks while they train: diversity, overfitting, copies, and augmentation that shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.images.pixels import to_array, to_float, to_uint8
from gansmith.metrics.augmentation_leak import augmentation_leak
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import Selection, some_of
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.state import TrainState
from gansmith.types import Batch, Images, Labels, Latents, Logits, Pixels

__all__ = ["LEAST_HELD_OUT", "Probes", "open_probes"]

COARSE = 8  # pixels on either side, to which images are reduced before they are compared
MOST_TRAINING = 5000  # training images among which copies are looked for
LEAST_HELD_OUT = 16  # fewer say nothing about what D makes of images that it has not seen
CLEAR = 4  # standard errors of a difference of logits that the gap must exceed for others to be measured against it
COPY_SIDE, COPY_CANDIDATES = 32, 2  # see ``Originals``: less than an evaluation takes, as training waits
CHUNK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """The same images and latents each time, so that only the networks differ.

    Nothing here is random, and the networks are left as they were found: training goes on as if nobody had looked.

    Args:
        latents: of the samples, float32 [n z].
        labels: of the samples, or None.
        training: as many real images that are trained on.
        held_out: real images that are not, or None where there are too few.
        originals: training images that may have been copied.
        copied_held_out: the share of held-out images that are copies of those, or None where there are too few.
    """

    latents: Latents
    labels: Labels | None
    training: Batch
    held_out: Batch | None
    originals: Originals
    copied_held_out: float | None

    def measure(self, state: TrainState, *, leak: bool = False) -> dict[str, float]:
        """Figures under the keys of stats.jsonl; those that have no meaning now are left out.

        Args:
            state: left as it is.
            leak: whether to look for augmentation too, which takes a few times as long as all the rest.

        ``guard/diversity``: mean distance of two samples over that of two real images.
        ``guard/class_diversity``: the same between images of one class.
        ``guard/overfitting``: how far D's logits of unseen real images lie on the way from those of training images
        to those of samples: 0 if it tells them from neither, 1 if they are samples to it (Karras et al. 2020, eq. 1).
        ``guard/copies``: the share of samples that are copies of a training image, by the rule of ``Originals``.
        ``guard/copies_held_out``: the same share among unseen real images, which may have twins too.
        ``guard/leak/NAME``: the share of samples that bear the traces of an operation, the lower end of its interval;
        ``guard/leak``: the largest of them.
        """
        with torch.no_grad(), _evaluating(state.generator, state.discriminator):
            fakes = self._fakes(state)
            figures = self._overfitting(state, fakes)
        pixels = to_uint8(fakes, state.config.model.value_range)
        figures |= self._diversity(_coarse(pixels)) | self._copies(pixels)
        if leak and state.config.augment is not None:
            figures |= self._leak(pixels, state.config.augment.operations)
        return {name: figure for name, figure in figures.items() if math.isfinite(figure)}

    def _fakes(self, state: TrainState) -> Images:
        device, made = state.compute.device, []
        for i in range(0, len(self.latents), CHUNK):
            labels = None if self.labels is None else self.labels[i : i + CHUNK].to(device)
            with state.compute.autocast():
                made.append(state.generator(self.latents[i : i + CHUNK].to(device), labels).float())
        return torch.cat(made)

    def _overfitting(self, state: TrainState, fakes: Images) -> dict[str, float]:
        if self.held_out is None:
            return {}
        seen, unseen = (_logits_of_real(state, batch) for batch in (self.training, self.held_out))
        labels = None if self.labels is None else self.labels.to(fakes.device)
        gap = seen.mean() - _logits(state, fakes, labels).mean()
        noise = sum(logits.var() / len(logits) for logits in (seen, unseen)) ** 0.5
        return {"guard/overfitting": float((seen.mean() - unseen.mean()) / gap)} if gap > CLEAR * noise else {}

    def _diversity(self, fakes: Float[Tensor, "n d"]) -> dict[str, float]:
        real, figures = _coarse(self.training.images), {}
        figures["guard/diversity"] = _ratio(_mean_distance(fakes), _mean_distance(real))
        if self.labels is not None and self.training.labels is not None:
            within = _mean_distance(real, _mates(self.training.labels))
            figures["guard/class_diversity"] = _ratio(_mean_distance(fakes, _mates(self.labels)), within)
        return figures

    def _copies(self, fakes: Pixels) -> dict[str, float]:
        figures = {"guard/copies": float(self.originals.copied(to_array(fakes)).mean())}
        if self.copied_held_out is not None:
            figures["guard/copies_held_out"] = self.copied_held_out
        return figures

    def _leak(self, fakes: Pixels, operations: Sequence[str]) -> dict[str, float]:
        try:
            found = augmentation_leak(to_array(self.training.images), to_array(fakes), operations)
        except MetricError:  # too few images to tell
            return {}
        shares = {f"guard/leak/{name}": estimate.low for name, estimate in found.items()}
        return {**shares, "guard/leak": max(shares.values())} if shares else {}


def open_probes(num: int, store: Store, training: Indices, held_out: Indices, sampler: TrainedGenerator) -> Probes:
    """Choose the images and latents.

    Args:
        num: of samples, of training images and of held-out images, at most.
        store: the real images.
        training: which of them are trained on.
        held_out: which are not.
        sampler: knows what the latents and labels of a seed are.
    """
    latents, labels = sampler.draw(range(num))
    unlabelled = sampler.spec.num_classes == 0
    among = Selection(store.images, some_of(training, MOST_TRAINING))
    originals = Originals.of(among, most_side=COPY_SIDE, num_candidates=COPY_CANDIDATES)
    enough = len(held_out) >= LEAST_HELD_OUT
    unseen = some_of(held_out, num)
    return Probes(
        latents=latents,
        labels=labels,
        training=_batch(store, some_of(training, num), unlabelled),
        held_out=_batch(store, unseen, unlabelled) if enough else None,
        originals=originals,
        copied_held_out=float(originals.copied(Selection(store.images, unseen)).mean()) if enough else None,
    )


def _batch(store: Store, indices: Indices, unlabelled: bool) -> Batch:
    images = torch.from_numpy(store.images[indices]).permute(0, 3, 1, 2)
    labels = None if unlabelled or store.labels is None else torch.from_numpy(store.labels[indices])
    return Batch(images, labels)


@contextmanager
def _evaluating(*networks: nn.Module) -> Iterator[None]:
    """Without dropout, and with the statistics of batches and norms left as they are."""
    before = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.train(training)


def _logits_of_real(state: TrainState, batch: Batch) -> Logits:
    device = state.compute.device
    labels = None if batch.labels is None else batch.labels.to(device)
    return _logits(state, to_float(batch.images.to(device), state.config.model.value_range), labels)


def _logits(state: TrainState, images: Images, labels: Labels | None) -> Logits:
    found = []
    for i in range(0, len(images), CHUNK):
        with state.compute.autocast():
            found.append(
                state.discriminator(images[i : i + CHUNK], None if labels is None else labels[i : i + CHUNK]).float()
            )
    return torch.cat(found)


# --- coarse images -----------------------------------------------------------------------------------------


def _coarse(pixels: Pixels) -> Float[Tensor, "n d"]:
    """Images reduced to a few large pixels, one row each, on the CPU."""
    height, width = pixels.shape[2:]
    reduced = F.adaptive_avg_pool2d(pixels.float(), (min(height, COARSE), min(width, COARSE)))
    return reduced.flatten(1).cpu()


def _mates(labels: Labels) -> Bool[Tensor, "n n"]:
    """Which pairs of different images are of one class."""
    return (labels[:, None] == labels).fill_diagonal_(False)


def _mean_distance(rows: Float[Tensor, "n d"], pairs: Bool[Tensor, "n n"] | None = None) -> float:
    """Of two different rows, or of the pairs that are marked; 0 if there are none."""
    if pairs is None:
        return float(F.pdist(rows).mean()) if len(rows) > 1 else 0.0
    return float(torch.cdist(rows, rows)[pairs].mean()) if bool(pairs.any()) else 0.0


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs > 0 else math.nan
