"""Measure both networks cheaply during training: diversity, overfitting, and copies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.data.batches import Indices
from gansmith.data.store import Store
from gansmith.images.pixels import to_array, to_float, to_uint8
from gansmith.metrics.copies import Originals
from gansmith.metrics.features import Selection, choose_subset
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.state import TrainState
from gansmith.types import Batch, Images, Labels, Latents, Logits, Pixels, send

__all__ = ["LEAST_HELD_OUT", "Probes", "open_probes"]

COARSE = 8  # pixels a side to which images are reduced before distances are measured
MOST_TRAINING = 5000  # training images that samples are compared with for copies
LEAST_HELD_OUT = 16  # with fewer, overfitting cannot be estimated
CLEAR = 4  # the gap between logits must exceed this many standard errors to serve as a scale
COPY_SIDE, COPY_CANDIDATES = 32, 2  # see ``Originals``: fewer than in an evaluation, as training waits
CHUNK = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Probes:
    """Measurements on the same images and latents each time, so that only the networks differ.

    Nothing here is random and the networks are left unchanged, so training is the same with probes and without.

    Args:
        latents: of the samples, float32 [n z].
        labels: of the samples, or None.
        training: as many real images that are trained on.
        held_out: real images held out of training, or None where there are too few.
        originals: training images that samples are compared with for copies.
        copied_held_out: share of held-out images that are copies of those, or None where there are too few.
    """

    latents: Latents
    labels: Labels | None
    training: Batch
    held_out: Batch | None
    originals: Originals
    copied_held_out: float | None

    def measure(self, state: TrainState) -> dict[str, float]:
        """Return values under the keys of stats.jsonl, without those that are undefined now.

        Args:
            state: left unchanged.

        ``guard/diversity``: mean distance of two samples over that of two real images.
        ``guard/class_diversity``: the same between images of one class.
        ``guard/overfitting``: how far D's mean logit of held-out images lies on the way from that of training images
        to that of samples: 0 without overfitting, 1 if D takes them for samples (Karras et al. 2020, eq. 1).
        ``guard/copies``: the share of samples that are copies of a training image, by the rule of ``Originals``.
        ``guard/copies_held_out``: the same share among held-out images, as data sets may contain duplicates.
        """
        with torch.no_grad(), _evaluating(*state.networks.values()):
            fakes = self._fakes(state)
            values = self._overfitting(state, fakes)
        pixels = to_uint8(fakes, state.config.model.value_range)
        values |= self._diversity(_coarse(pixels)) | self._copies(pixels)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _fakes(self, state: TrainState) -> Images:
        device, made = state.compute.device, []
        for i in range(0, len(self.latents), CHUNK):
            labels = None if self.labels is None else send(self.labels[i : i + CHUNK], device)
            with state.compute.autocast():
                made.append(state.generator(send(self.latents[i : i + CHUNK], device), labels).float())
        return torch.cat(made)

    def _overfitting(self, state: TrainState, fakes: Images) -> dict[str, float]:
        if self.held_out is None:
            return {}
        labels = None if self.labels is None else send(self.labels, fakes.device)
        seen, unseen = (_logits_of_real(state, batch) for batch in (self.training, self.held_out))
        made = _logits(state, fakes, labels)
        if seen is None or unseen is None or made is None:  # the recipe has no discriminator of images alone
            return {}
        gap = seen.mean() - made.mean()
        noise = sum(logits.var() / len(logits) for logits in (seen, unseen)) ** 0.5
        return {"guard/overfitting": float((seen.mean() - unseen.mean()) / gap)} if gap > CLEAR * noise else {}

    def _diversity(self, fakes: Float[Tensor, "n d"]) -> dict[str, float]:
        real, values = _coarse(self.training.images), {}
        values["guard/diversity"] = _ratio(_mean_distance(fakes), _mean_distance(real))
        if self.labels is not None and self.training.labels is not None:
            within = _mean_distance(real, _mates(self.training.labels))
            values["guard/class_diversity"] = _ratio(_mean_distance(fakes, _mates(self.labels)), within)
        return values

    def _copies(self, fakes: Pixels) -> dict[str, float]:
        values = {"guard/copies": float(self.originals.find_copies(to_array(fakes)).mean())}
        if self.copied_held_out is not None:
            values["guard/copies_held_out"] = self.copied_held_out
        return values


def open_probes(num: int, store: Store, training: Indices, held_out: Indices, sampler: TrainedGenerator) -> Probes:
    """Choose the images and latents to measure.

    Args:
        num: samples, training images and held-out images, at most this many each.
        store: the real images.
        training: indices of those that are trained on.
        held_out: indices of those that are not.
        sampler: draws the latents and labels of a seed.
    """
    latents, labels = sampler.draw(range(num))
    unlabelled = sampler.spec.num_classes == 0
    among = Selection(store.images, choose_subset(training, MOST_TRAINING))
    originals = Originals.of(among, most_side=COPY_SIDE, num_candidates=COPY_CANDIDATES)
    enough = len(held_out) >= LEAST_HELD_OUT
    unseen = choose_subset(held_out, num)
    return Probes(
        latents=latents,
        labels=labels,
        training=_batch(store, choose_subset(training, num), unlabelled),
        held_out=_batch(store, unseen, unlabelled) if enough else None,
        originals=originals,
        copied_held_out=float(originals.find_copies(Selection(store.images, unseen)).mean()) if enough else None,
    )


def _batch(store: Store, indices: Indices, unlabelled: bool) -> Batch:
    images = torch.from_numpy(store.images[indices]).permute(0, 3, 1, 2)
    labels = None if unlabelled or store.labels is None else torch.from_numpy(store.labels[indices])
    return Batch(images, labels)


@contextmanager
def _evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode, which disables dropout and freezes batch statistics; restore it afterwards."""
    before = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.train(training)


def _logits_of_real(state: TrainState, batch: Batch) -> Logits | None:
    there = batch.to(state.compute.device)
    return _logits(state, to_float(there.images, state.config.model.value_range), there.labels)


def _logits(state: TrainState, images: Images, labels: Labels | None) -> Logits | None:
    found = []
    for i in range(0, len(images), CHUNK):
        part = slice(i, i + CHUNK)
        logits = state.config.recipe.score(state, images[part], None if labels is None else labels[part])
        if logits is None:
            return None
        found.append(logits.float())
    return torch.cat(found)


# --- coarse images -----------------------------------------------------------------------------------------


def _coarse(pixels: Pixels) -> Float[Tensor, "n d"]:
    """Return images reduced to a few large pixels, one row each, on the CPU."""
    height, width = pixels.shape[2:]
    reduced = F.adaptive_avg_pool2d(pixels.float(), (min(height, COARSE), min(width, COARSE)))
    return reduced.flatten(1).cpu()


def _mates(labels: Labels) -> Bool[Tensor, "n n"]:
    """Return which pairs of different images have the same label."""
    return (labels[:, None] == labels).fill_diagonal_(False)


def _mean_distance(rows: Float[Tensor, "n d"], pairs: Bool[Tensor, "n n"] | None = None) -> float:
    """Return the mean distance of two different rows, or of the marked pairs; 0 if there are none."""
    if pairs is None:
        return float(F.pdist(rows).mean()) if len(rows) > 1 else 0.0
    return float(torch.cdist(rows, rows)[pairs].mean()) if bool(pairs.any()) else 0.0


def _ratio(ours: float, theirs: float) -> float:
    return ours / theirs if theirs > 0 else math.nan
