"""How smoothly images change along walks through the latent space: perceptual path length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import ConfigError
from gansmith.metrics.intervals import bootstrap, normal
from gansmith.metrics.metric import Estimate
from gansmith.metrics.perceptual import Perception
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.paths import walk
from gansmith.types import Images, Labels, Latents, send

__all__ = ["PathLength", "measure_path_length"]

STEPS = 1000  # of the walk between two seeds
BATCH_SIZE = 64
REPLICATES = 200
MOST_WALKS = 10_000


@dataclass(frozen=True, kw_only=True)
class PathLength:
    """The perceptual path length of a generator.

    Args:
        length: the mean of distance / step², in perceptual distances per squared walk from seed to seed.
        ends: the mean distance between the two ends of a walk.
        detour: length / ends: 1 if images change evenly and without detours; never less in expectation.
        cross_fade: the path length of pixel means between the same two images at the same places.
    """

    length: Estimate
    ends: Estimate
    detour: Estimate
    cross_fade: Estimate


@torch.no_grad()
def measure_path_length(
    generator: TrainedGenerator, perception: Perception, num: int = 200, *, seed: int = 0
) -> PathLength:
    """Measure the perceptual path length between seeds (Karras et al. 2019, section 4.1).

    Each walk rotates (slerp) from the latent of one seed to that of another. At a random one of 1,000 steps, the
    distance of the images before and after it is divided by the square of its length, 0.001. Both images have the class
    of the first seed. The distance is that of ``metrics.perceptual``, so values are comparable with each other, but not
    with published ones, which use VGG.

    Squared distances of embeddings are squared lengths, so by the inequality of Cauchy and Schwarz the mean of the
    squared speed along a walk is at least the squared distance of its ends: ``detour`` is at least 1 in expectation.

    Args:
        generator: the generator.
        perception: the distance.
        num: number of walks.
        seed: the walks use seeds ``seed`` to ``seed`` + 2 ``num`` - 1.
    """
    if not 2 <= num <= MOST_WALKS:
        raise ConfigError(f"num: {num} is out of range; expected 2 to {MOST_WALKS:,} walks")
    z, labels = generator.draw(range(seed, seed + 2 * num))
    starts, ends = z[:num], z[num:]
    classes = None if labels is None else labels[:num]
    places = torch.randint(STEPS, (num,), generator=torch.Generator().manual_seed(seed))
    pairs = zip(starts, ends, places.tolist(), strict=True)
    points = torch.stack([walk(start, end, STEPS + 1)[place : place + 2] for start, end, place in pairs])
    images = [_generate(generator, side, classes) for side in (starts, ends)]
    steps = [_generate(generator, points[:, i], classes) for i in (0, 1)]
    fades = [_fade(images[0], images[1], (places + i).double() / STEPS) for i in (0, 1)]
    near, faded = (STEPS**2 * _distances(perception, *pair) for pair in (steps, fades))
    return _summarise(near, _distances(perception, *images), faded, seed)


def _fade(first: Images, second: Images, places: Float64[Tensor, "n"]) -> Images:
    share = places.to(first.device)[:, None, None, None]
    mixed: Images = ((1 - share) * first.double() + share * second.double()).float()
    return mixed


def _distances(perception: Perception, first: Images, second: Images) -> NDArray[np.float64]:
    found = []
    for parts in zip(torch.split(first, BATCH_SIZE), torch.split(second, BATCH_SIZE), strict=True):
        near, far = (perception.embed(part).double() for part in parts)
        found.append((near - far).square().sum(dim=1).cpu())
    return torch.cat(found).numpy()


def _generate(generator: TrainedGenerator, z: Latents, labels: Labels | None) -> Images:
    """Return images in [-1, 1] that are not rounded to 255 steps, which a short step would not survive."""
    device = next(generator.network.parameters()).device
    was_training = generator.network.training
    generator.network.eval()
    made = torch.cat(
        [
            generator.network(send(z[i : i + BATCH_SIZE].float(), device), _part(labels, i, device)).float()
            for i in range(0, len(z), BATCH_SIZE)
        ]
    )
    generator.network.train(was_training)
    low, high = generator.model.value_range
    images: Images = (made - low) / (high - low) * 2 - 1
    return images


def _part(labels: Labels | None, start: int, device: torch.device) -> Labels | None:
    return None if labels is None else send(labels[start : start + BATCH_SIZE], device)


def _summarise(
    near: NDArray[np.float64], far: NDArray[np.float64], faded: NDArray[np.float64], seed: int
) -> PathLength:
    num = len(near)

    def means(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        length, ends, fade = (drawn @ values / num for values in (near, far, faded))
        return np.array([length, ends, length / np.maximum(ends, 1e-12), fade])

    values, errors = means(np.ones(num, np.int64)), bootstrap(means, [num], seed=seed, replicates=REPLICATES)
    interval = f"bootstrap of {REPLICATES}"
    length, ends, detour, fade = (
        normal(float(value), float(error), interval, within=(0, np.inf))
        for value, error in zip(values, errors, strict=True)
    )
    return PathLength(length=length, ends=ends, detour=detour, cross_fade=fade)
