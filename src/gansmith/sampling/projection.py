"""Projection: find latents whose images are like given images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.images.pixels import UNIT, to_float
from gansmith.metrics.perceptual import Perception
from gansmith.models.pretrained import LITE, LiteName
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.projections import Projections
from gansmith.types import Images, ImageSpec, Labels, Latents, PixelArray, send

__all__ = ["MOST_PROJECTED", "Search", "choose_backbone", "project"]

MOST_PROJECTED = 256
BATCH_SIZE = 64  # latents that are improved at once
PIXEL_WEIGHT = 4.0  # of the mean squared error of pixels in [0, 1], relative to the perceptual distance
PRIOR_WEIGHT = 0.01  # of the squared deviation of a latent's length, in standard deviations
FIRST_PART = 0.2  # share of the steps that all starts of an image make; the best one makes the others
LEARNING_RATE = 0.2
ADAM = (0.9, 0.99)

Report = Callable[[int, int], object]


@dataclass(frozen=True, kw_only=True)
class Search:
    """How latents are searched for.

    Args:
        num_candidates: random latents whose images are compared with each image first; at
            least ``starts`` of each class.
        starts: best candidates of each image that are improved by gradient descent.
        steps: of Adam, for each image.
        seed: seed of the first candidate.
        backbone: the pretrained network of the perceptual distance.
    """

    num_candidates: int = 1024
    starts: int = 6
    steps: int = 100
    seed: int = 0
    backbone: LiteName = "lite0"

    def __post_init__(self) -> None:
        for name, least, most in (("num_candidates", 1, 100_000), ("starts", 1, BATCH_SIZE), ("steps", 0, 10_000)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name}: {value:,} is out of range; expected {least} to {most:,}")
        if self.starts > self.num_candidates:
            raise ConfigError(f"starts: {self.starts} is more than num_candidates, {self.num_candidates}")


def choose_backbone(avoid: Set[str] = frozenset()) -> LiteName:
    """Return the network of the perceptual distance: if possible, none that the discriminator looks through.

    Args:
        avoid: the networks of the discriminator; see ``models.pretrained.find_backbones``.
    """
    return next((name for name in LITE if name not in avoid), "lite0")


def project(
    generator: TrainedGenerator,
    images: PixelArray,
    *,
    label: int | str | Sequence[int] | None = None,
    search: Search = Search(),
    progress: Report | None = None,
) -> Projections:
    """Find latents whose images are like the given ones.

    Random latents come first: those of the seeds ``search.seed``, ``search.seed`` + 1, ... Then Adam improves the best
    ones of each image. The loss is the perceptual distance, plus 4 times the mean squared error of the pixels in units
    of their range, plus a prior that keeps the length of a normal latent within a few standard deviations of the
    expected length; uniform latents are clipped to [-1, 1]. Gradients flow to the latents only: the generator does not
    change. One seed gives one result on one machine.

    Args:
        generator: the generator.
        images: uint8 [n h w c] in the generator's shape; see ``data.outside`` for images of other shapes.
        label: class number or name of all images, or one number for each; None tries every class that had training
            images.
        search: number of candidates, starts and steps.
        progress: called with the work done and all the work.

    Raises:
        ConfigError: the images have another shape, are too many, or the class is unknown.
    """
    _require_images(images, generator.spec)
    device = next(generator.network.parameters()).device
    task = _Task.of(generator, Perception(search.backbone, device), images)
    classes = _list_classes(generator, label, len(images))
    was_training = generator.network.training
    generator.network.eval()
    try:
        done = _Counter(progress, len(images), search)
        found = _search_at_random(task, classes, search)
        done.add(0)
        parts = []
        for start in range(0, len(images), size := max(1, BATCH_SIZE // search.starts)):
            rows = torch.arange(start, min(start + size, len(images)))
            parts.append(_improve(task, rows, found, search, done.add))
    finally:
        generator.network.train(was_training)
    z = torch.cat([latents for latents, _ in parts])
    numbers = None if found.labels is None else torch.cat([labels for _, labels in parts if labels is not None])
    return _describe(task, images, z, numbers, found.typical)


def _require_images(images: PixelArray, spec: ImageSpec) -> None:
    shape = (spec.height, spec.width, spec.channels)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != shape:
        expected = f"uint8 [n {' '.join(map(str, shape))}]"
        raise ConfigError(f"images: got {images.dtype} {list(images.shape)}, expected {expected}")
    if not 1 <= len(images) <= MOST_PROJECTED:
        raise ConfigError(f"images: {len(images)} cannot be projected at once; expected 1 to {MOST_PROJECTED}")


def _list_classes(generator: TrainedGenerator, label: int | str | Sequence[int] | None, num: int) -> list[list[int]]:
    """Return the classes that each image is searched in; empty lists for an unconditional model."""
    if label is None or isinstance(label, (int, str)):
        number = generator.class_number(label)
        counts = generator.class_counts or (1,) * generator.spec.num_classes
        return [[i for i, count in enumerate(counts) if count] if number is None else [number]] * num
    if len(label) != num:
        raise ConfigError(f"label: {len(label)} classes for {num} images; expected one for each, or one for all")
    return [[number] for each in label if (number := generator.class_number(int(each))) is not None]


class _Counter:
    """Counts the steps of all images for a progress bar."""

    def __init__(self, progress: Report | None, num: int, search: Search) -> None:
        self.progress, self.done, self.total = progress, 0, max(1, num * search.steps)

    def add(self, num: int) -> None:
        self.done += num
        if self.progress:
            self.progress(self.done, self.total)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """The images to be found, with what their reconstructions are compared by."""

    generator: TrainedGenerator
    perception: Perception
    pixels: Images  # in [0, 1]
    embeddings: Float[Tensor, "n d"]

    @classmethod
    def of(cls, generator: TrainedGenerator, perception: Perception, images: PixelArray) -> _Task:
        device = next(generator.network.parameters()).device
        pixels = send(to_float(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2), UNIT), device)
        with torch.no_grad():
            embeddings = torch.cat([perception.embed(part * 2 - 1) for part in torch.split(pixels, BATCH_SIZE)])
        return cls(generator=generator, perception=perception, pixels=pixels, embeddings=embeddings)

    def generate(self, z: Latents, labels: Labels | None) -> Images:
        """Return images in [0, 1], with gradients to the latents."""
        low, high = self.generator.model.value_range
        made: Images = self.generator.network(z, labels)
        return (made.float() - low) / (high - low)

    def losses(self, z: Latents, labels: Labels | None, rows: Tensor) -> Float[Tensor, "m"]:
        """Return the loss of each latent for the image of its row."""
        made = self.generate(z, labels)
        distances = (self.perception.embed(made * 2 - 1) - self.embeddings[rows]).square().sum(dim=1)
        errors = (made - self.pixels[rows]).square().flatten(1).mean(dim=1)
        return distances + PIXEL_WEIGHT * errors + self.prior(z)

    def prior(self, z: Latents) -> Float[Tensor, "m"]:
        """Return the penalty of implausible latents: the squared length of normal ones has mean z and variance 2 z."""
        if self.generator.model.latent != "normal":
            return torch.zeros(len(z), device=z.device)
        deviations = (z.square().sum(dim=1) - z.shape[1]) / (2 * z.shape[1]) ** 0.5
        penalty: Tensor = PRIOR_WEIGHT * deviations.square()
        return penalty


@dataclass(frozen=True, kw_only=True, eq=False)
class _Starts:
    """The best random latents of each image, [n starts z], their classes, and the median distance of all."""

    latents: Float[Tensor, "n s z"]
    labels: Int64[Tensor, "n s"] | None
    typical: NDArray[np.float64]


@torch.no_grad()
def _search_at_random(task: _Task, classes: Sequence[Sequence[int]], search: Search) -> _Starts:
    every = sorted({number for numbers in classes for number in numbers})
    num = max(search.num_candidates, search.starts * len(every))
    z, _ = task.generator.draw(range(search.seed, search.seed + num))
    labels = torch.tensor(every)[torch.arange(num) % len(every)] if every else None
    losses, distances = [], []
    for start in range(0, num, BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        made = task.generate(*_sent(task, z[part], None if labels is None else labels[part]))
        near = torch.cdist(task.embeddings, task.perception.embed(made * 2 - 1)).square()
        errors = torch.cdist(task.pixels.flatten(1), made.flatten(1)).square() / made[0].numel()
        losses.append((near + PIXEL_WEIGHT * errors).cpu())
        distances.append(near.cpu())
    loss, distance = torch.cat(losses, dim=1), torch.cat(distances, dim=1)
    if labels is not None:
        allowed = torch.stack([torch.isin(labels, torch.tensor(list(numbers))) for numbers in classes])
        loss, distance = loss.masked_fill(~allowed, torch.inf), distance.masked_fill(~allowed, torch.nan)
    chosen = _choose_starts(loss, labels, search.starts)
    return _Starts(
        latents=z[chosen],
        labels=None if labels is None else labels[chosen],
        typical=distance.nanmedian(dim=1).values.double().numpy(),
    )


def _choose_starts(loss: Float[Tensor, "n m"], labels: Labels | None, num: int) -> Int64[Tensor, "n s"]:
    """Return the candidates of each image with the lowest loss: the best of every class before the second best."""
    order = loss.argsort(dim=1, stable=True)
    if labels is not None:
        ranks = torch.full_like(order, loss.shape[1])
        for number in set(labels.tolist()):
            ranks[:, labels == number] = loss[:, labels == number].argsort(dim=1, stable=True).argsort(dim=1)
        ranks.masked_fill_(loss.isinf(), loss.shape[1])
        order = order.gather(1, ranks.gather(1, order).argsort(dim=1, stable=True))
    return order[:, :num]


def _sent(task: _Task, z: Latents, labels: Labels | None) -> tuple[Latents, Labels | None]:
    device = task.pixels.device
    return send(z, device), None if labels is None else send(labels, device)


def _improve(
    task: _Task, rows: Tensor, found: _Starts, search: Search, done: Callable[[int], object]
) -> tuple[Latents, Labels | None]:
    """Improve the starts of some images, and then the best of each; return its latents and labels, on the CPU."""
    first = round(FIRST_PART * search.steps)
    classes = None if found.labels is None else found.labels[rows].flatten()
    z, labels = _sent(task, found.latents[rows].flatten(0, 1), classes)
    z, losses = _descend(task, z, labels, rows.repeat_interleave(search.starts), range(first), search.steps)
    done(first * len(rows))
    best = losses.view(len(rows), -1).argmin(dim=1) + torch.arange(len(rows), device=z.device) * search.starts
    z, labels = z[best], None if labels is None else labels[best]
    z, _ = _descend(task, z, labels, rows, range(first, search.steps), search.steps)
    done((search.steps - first) * len(rows))
    return z.cpu(), None if labels is None else labels.cpu()


def _descend(
    task: _Task, z: Latents, labels: Labels | None, rows: Tensor, steps: range, total: int
) -> tuple[Latents, Float[Tensor, "m"]]:
    """Make these steps of Adam out of all; return for each latent the best values that it had, and their loss."""
    z = z.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=LEARNING_RATE, betas=ADAM)
    with torch.no_grad():
        least, best = task.losses(z, labels, rows), z.detach().clone()
    for step in steps:
        with torch.enable_grad():
            losses = task.losses(z, labels, rows)
            (z.grad,) = torch.autograd.grad(losses.sum(), z)  # of nothing else: the network gets no gradients
        _keep_best(best, least, z, losses)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (0.5 + 0.5 * math.cos(math.pi * step / total))
        optimizer.step()
        if task.generator.model.latent == "uniform":
            z.data.clamp_(-1, 1)
    with torch.no_grad():
        _keep_best(best, least, z, task.losses(z, labels, rows))
    return best, least


def _keep_best(best: Latents, least: Float[Tensor, "m"], z: Latents, losses: Float[Tensor, "m"]) -> None:
    better = losses.detach() < least
    best[better], least[better] = z.detach()[better], losses.detach()[better]


def _describe(
    task: _Task, images: PixelArray, z: Latents, labels: Labels | None, typical: NDArray[np.float64]
) -> Projections:
    made = task.generator.images(z, labels)
    again = _Task.of(task.generator, task.perception, made)
    return Projections(
        images=images,
        reconstructions=made,
        latents=z,
        labels=None if labels is None else labels.numpy(),
        squared_errors=(again.pixels - task.pixels).double().square().flatten(1).mean(dim=1).cpu().numpy(),
        distances=(again.embeddings - task.embeddings).double().square().sum(dim=1).cpu().numpy(),
        random_distances=typical,
        class_names=task.generator.class_names,
    )
