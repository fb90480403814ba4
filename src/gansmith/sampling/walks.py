"""Walks: between two latents, through those of several seeds, files and classes, and at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from gansmith.devices import require_bytes
from gansmith.errors import ConfigError
from gansmith.images.pixels import file_kind, save_png
from gansmith.images.sheets import grid
from gansmith.images.video import write_animation
from gansmith.sampling.frames import WalkFrames
from gansmith.sampling.generator import MOST_SEED, Samples, TrainedGenerator
from gansmith.sampling.paths import MOST_STEPS, Method, walk, walk_through
from gansmith.types import PixelArray

__all__ = ["Walk", "chain", "chain_latents", "interpolate", "random_walk", "save_walk"]

MOST_ROWS = 1000
TURN = 48  # images of a random walk per harmonic: about as fast as 24 images from seed to seed


@dataclass(frozen=True, kw_only=True, eq=False)
class Walk:
    """Latents and classes along one or more walks of equal length.

    Args:
        z: float32 [rows steps z], one row per walk.
        labels: int64 [rows steps]; or float32 [rows steps k], the weight of each class; None if unconditional.
        loop: whether the first latent follows the last.
    """

    z: Float32[Tensor, "rows steps z"]
    labels: Int64[Tensor, "rows steps"] | Float32[Tensor, "rows steps k"] | None = None
    loop: bool = False

    def draw(self, generator: TrainedGenerator) -> WalkFrames:
        """Generate the images."""
        rows, steps = self.z.shape[:2]
        spec = generator.spec
        pixels = rows * steps * spec.height * spec.width * spec.channels
        require_bytes(2 * pixels, torch.device("cpu"), "steps", f"{rows * steps:,} images of {spec}")
        images = generator.images(self.z.flatten(0, 1), None if self.labels is None else self.labels.flatten(0, 1))
        return WalkFrames(images=images.reshape(rows, steps, *images.shape[1:]), loop=self.loop)


def chain(
    generator: TrainedGenerator,
    seeds: Sequence[int] = (0,),
    labels: Sequence[int | str] = (),
    *,
    steps: int = 8,
    method: Method = "slerp",
    loop: bool = False,
    num: int = 1,
    truncation: float = 1.0,
    keep_class: bool = False,
) -> Walk:
    """Return a walk through the latents and classes of samples, one after the other.

    The samples pair seeds with labels: the first seed with the first label, and so on. The shorter list starts again
    until the longer one ends. At each sample, latent and class are exactly those of ``TrainedGenerator.sample``;
    between two classes, the embeddings of the classes are interpolated linearly.

    Args:
        generator: the generator.
        seeds: seeds of the samples; one seed keeps the latent.
        labels: numbers or names of their classes; one label keeps the class. Empty gives each seed its own class.
        steps: number of images from one sample to the next, both included.
        method: of latents; see ``walk``.
        loop: return to the first sample, which is not repeated at the end.
        num: number of walks. Each adds the same number to all seeds of the one before, so that no seed occurs twice.
        truncation: factor of the latents, in (0, 1].
        keep_class: without labels, give all images of a walk the class of its first seed.

    Raises:
        ConfigError: fewer than two samples, a number is out of range, a class is unknown, or the classes differ and
            the network cannot mix them.
    """
    num_keys = max(len(seeds), len(labels))
    if num_keys < 2 or not seeds:
        raise ConfigError(
            f"seeds: got {len(seeds)} seeds and {len(labels)} labels; expected at least two seeds or two labels"
        )
    _check_rows(num, truncation)
    span = max(seeds) - min(seeds) + 1
    keys = [[seeds[i % len(seeds)] + row * span for i in range(num_keys)] for row in range(num)]
    _check_seeds(*(seed for row in keys for seed in row))
    drawn = [generator.draw(row) for row in keys]
    classes = _classes(generator, labels, [own for _, own in drawn], num_keys)
    if keep_class and classes is not None:
        classes = classes[:, :1].expand_as(classes)
    way = _through(generator, torch.stack([z for z, _ in drawn]), classes, steps, method, loop)
    return replace(way, z=way.z * truncation)


def chain_latents(
    generator: TrainedGenerator,
    latents: Float32[Tensor, "n z"],
    labels: Int64[Tensor, "k"] | NDArray[np.int64] | None = None,
    *,
    steps: int = 8,
    method: Method = "slerp",
    loop: bool = False,
    truncation: float = 1.0,
) -> Walk:
    """Return a walk through latents and classes, such as those of a projection, one after the other.

    Args:
        generator: the generator.
        latents: the latents; one keeps it.
        labels: numbers of their classes, paired as in ``chain``; None if unconditional.
        steps: see ``chain``, as for the other arguments.
        method: see ``walk``.
        loop: return to the first latent.
        truncation: factor of the latents, in (0, 1].

    Raises:
        ConfigError: fewer than two latents or labels, a number is out of range, or the network cannot mix classes.
    """
    numbers = None if labels is None else torch.as_tensor(labels)
    num = max(len(latents), 0 if numbers is None else len(numbers))
    if num < 2:
        raise ConfigError(f"latents: got {num}; expected at least two latents or two labels")
    _check_rows(1, truncation)
    places = torch.arange(num)
    classes = None if numbers is None else numbers[places % len(numbers)][None]
    way = _through(generator, latents[places % len(latents)][None], classes, steps, method, loop)
    return replace(way, z=way.z * truncation)


def _through(
    generator: TrainedGenerator,
    ends: Float32[Tensor, "rows keys z"],
    classes: Int64[Tensor, "rows keys"] | None,
    steps: int,
    method: Method,
    loop: bool,
) -> Walk:
    """Return walks through samples; where classes differ, their embeddings are mixed."""
    require_bytes(8 * steps * ends.numel(), torch.device("cpu"), "steps", f"walks of {steps:,} steps")
    z = torch.stack([walk_through(row, steps, method, loop=loop) for row in ends])
    if classes is None or bool((classes == classes[:, :1]).all()):
        return Walk(z=z, labels=None if classes is None else classes[:, :1].repeat(1, z.shape[1]), loop=loop)
    weights = [walk_through(row, steps, "lerp", loop=loop) for row in _weights(generator, classes)]
    return Walk(z=z, labels=torch.stack(weights), loop=loop)


def random_walk(
    generator: TrainedGenerator,
    seed: int = 0,
    labels: Sequence[int | str] = (),
    *,
    steps: int = 120,
    num: int = 1,
    truncation: float = 1.0,
) -> Walk:
    """Return a smooth random walk that begins at a seed's latent and returns to it.

    The latents are a periodic Gaussian process: a sum of sines and cosines with normal coefficients, given that it
    passes the seed's latent. Each latent by itself is distributed as those of seeds, so all images are typical.
    Uniform latents are normal ones through the normal distribution function.

    Args:
        generator: the generator.
        seed: seed of the first image and of the walk.
        labels: numbers or names of the classes to pass, evenly spaced. Empty keeps the class of the seed.
        steps: number of images of a turn.
        num: number of walks, with the seeds ``seed``, ``seed`` + 1, ...
        truncation: factor of the latents, in (0, 1].

    Raises:
        ConfigError: as for ``chain``.
    """
    if not 2 <= steps <= MOST_STEPS:
        raise ConfigError(f"steps: {steps} is out of range; expected 2 to {MOST_STEPS:,}")
    _check_rows(num, truncation)
    seeds = range(seed, seed + num)
    _check_seeds(seeds[0], seeds[-1])
    z = torch.stack([_orbit(generator, each, steps) for each in seeds]) * truncation
    classes = _classes(generator, labels, [generator.draw([each])[1] for each in seeds], max(1, len(labels)))
    if classes is None or bool((classes == classes[:, :1]).all()):
        return Walk(z=z, labels=None if classes is None else classes[:, :1].repeat(1, steps), loop=True)
    weights, num_keys = _weights(generator, classes), classes.shape[1]
    position = torch.arange(steps, dtype=torch.float64) * num_keys / steps
    before = position.floor().long()
    share = (position - before)[None, :, None]
    mixed = (1 - share) * weights[:, before] + share * weights[:, (before + 1) % num_keys]
    return Walk(z=z, labels=mixed.float(), loop=True)


def _orbit(generator: TrainedGenerator, seed: int, steps: int) -> Float32[Tensor, "{steps} z"]:
    """Return a closed curve of latents through a seed's."""
    model, stream = generator.model, torch.Generator().manual_seed(seed)
    start = model.draw_latents(1, stream)
    uniform = model.latent == "uniform"
    origin = start[0].double()
    if uniform:
        origin = math.sqrt(2) * torch.erfinv(origin.clamp(-1 + 1e-7, 1 - 1e-7))
    num = max(1, steps // TURN)
    weight = num**-0.5
    cosines, sines = torch.randn(2, num, len(origin), generator=stream, dtype=torch.float64)
    cosines += weight * (origin - weight * cosines.sum(dim=0))  # the distribution given the first latent
    angles = torch.arange(steps, dtype=torch.float64)[:, None] * torch.arange(1, num + 1) * (2 * math.pi / steps)
    z = weight * (angles.cos() @ cosines + angles.sin() @ sines)
    z = (torch.erf(z / math.sqrt(2)) if uniform else z).float()
    z[0] = start[0]
    return z


def _check_rows(num: int, truncation: float) -> None:
    if not 1 <= num <= MOST_ROWS:
        raise ConfigError(f"num: {num} is out of range; expected 1 to {MOST_ROWS:,} walks")
    if not 0 < truncation <= 1:
        raise ConfigError(f"truncation: {truncation} is out of range; expected more than 0 and at most 1")


def _check_seeds(*seeds: int) -> None:
    for seed in seeds:
        if not -MOST_SEED <= seed <= MOST_SEED:
            raise ConfigError(f"seeds: {seed} is out of range; expected from {-MOST_SEED} to {MOST_SEED}")


def _classes(
    generator: TrainedGenerator, labels: Sequence[int | str], own: Sequence[Tensor | None], num_keys: int
) -> Int64[Tensor, "rows keys"] | None:
    """Return the class at each sample of each row: the labels in turn, or each seed's own."""
    numbers = [generator.class_number(label) for label in labels]
    if numbers:
        return torch.tensor([[numbers[i % len(numbers)] for i in range(num_keys)]] * len(own))
    kept = [each for each in own if each is not None]
    return torch.stack(kept) if kept else None


def _weights(generator: TrainedGenerator, classes: Int64[Tensor, "rows keys"]) -> Float32[Tensor, "rows keys k"]:
    """Return the weights of classes at each sample.

    Raises:
        ConfigError: the network cannot mix classes.
    """
    if not generator.can_mix_classes():
        raise ConfigError(
            f"labels: {type(generator.network).__qualname__} does not read the class through embeddings only, so there "
            "is nothing between two classes; give one label for all images"
        )
    return torch.eye(generator.spec.num_classes)[classes]


def interpolate(
    generator: TrainedGenerator,
    from_seed: int,
    to_seed: int,
    *,
    steps: int = 8,
    method: Method = "slerp",
    label: int | str | None = None,
) -> Samples:
    """Generate images on a walk from one seed's latent to another's.

    Args:
        generator: the generator.
        from_seed: seed of the first image, and of the class unless ``label`` is given.
        to_seed: seed of the last latent.
        steps: number of images, both ends included.
        method: the method of ``walk``.
        label: number or name of the class of all images; None takes the class of ``from_seed``.
    """
    z, labels = generator.draw([from_seed, to_seed], generator.class_number(label))
    if labels is not None:
        labels = labels[:1].repeat(steps)
    images = generator.images(walk(z[0], z[1], steps, method), labels)
    numbers = None if labels is None else labels.numpy()
    return Samples(images=images, labels=numbers, class_names=generator.class_names)


def save_walk(samples: Samples, path: Path | str, fps: float = 10.0) -> Path:
    """Write a walk and return its path: x.png is one row, x.gif or x.mp4 goes back and forth, a folder gets PNGs."""
    kind = file_kind(path)
    if kind in ("gif", "mp4"):
        frames = [grid(image[None]) for image in samples.images]  # grids of one image: on white and enlarged
        return write_animation(_to_and_fro(frames), Path(path), fps)
    if kind == "png":
        return save_png(grid(samples.images, columns=len(samples)), Path(path))
    return samples.save(path)


def _to_and_fro(frames: Sequence[PixelArray]) -> list[PixelArray]:
    return [*frames, *frames[-2:0:-1]]
