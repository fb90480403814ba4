"""What the page computes: images of seeds, walks, directions. One request at a time, so none depends on another.

A request computes the batches that ``gansmith sample`` computes for the same number of images, and shares them with no
other request. So its images are bit for bit those of the command line.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.app.shelf import Shelf
from gansmith.deploy.web import find_directions
from gansmith.errors import ConfigError
from gansmith.sampling.generator import MOST_SEED, Samples, TrainedGenerator
from gansmith.sampling.walks import Method, walk

__all__ = ["DIRECTIONS", "REACH", "Spot", "Studio"]

DIRECTIONS = 6
REACH = 3.0  # of a slider, in standard deviations of the latents
MAP_SIDE = 5  # images of the pad in each direction
MOST_SEEDS = 32  # of one walk
MOST_COMPARED = 6


@dataclass(frozen=True, kw_only=True)
class Spot:
    """What the controls of the page say: one image, or the first of several.

    Args:
        run: the run's name.
        seed: the seed.
        label: number of a class; None draws classes in the data's proportions.
        truncation: factor of the latents, in (0, 1].
    """

    run: str
    seed: int
    label: int | None = None
    truncation: float = 1.0

    def __post_init__(self) -> None:
        if not -MOST_SEED <= self.seed <= MOST_SEED - 10**6:
            raise ConfigError(f"seed: {self.seed} is out of range; expected a whole number of at most 18 digits")
        if not 0 < self.truncation <= 1:
            raise ConfigError(f"truncation: {self.truncation} is out of range; expected more than 0 and at most 1")


class Studio:
    """Computes what visitors ask for.

    Args:
        shelf: the runs.
        settings: the limits.
    """

    def __init__(self, shelf: Shelf, settings: AppSettings) -> None:
        self.shelf, self.settings = shelf, settings
        self._one = threading.RLock()

    def sample(self, spot: Spot, num: int) -> Samples:
        """Return the images of the seeds from ``spot.seed`` on.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            RunError: the run's generator cannot be used.
        """
        with self._one:
            generator = self.shelf.generator(spot.run)
            self._check_size("images", num, self.settings.most_images, generator)
            return generator.sample(num, seed=spot.seed, label=spot.label, truncation=spot.truncation)

    def walk(
        self, spot: Spot, seeds: Sequence[int], frames: int, *, method: Method = "slerp", loop: bool = False
    ) -> Samples:
        """Return the images between the seeds, one leg after the other.

        Args:
            spot: run, class and truncation; without a class, all images have that of the first seed.
            seeds: at least two.
            frames: images of each leg without its end.
            method: see ``sampling.walks.walk``.
            loop: go back to the first seed.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            RunError: the run's generator cannot be used.
        """
        if not 2 <= len(seeds) <= MOST_SEEDS:
            raise ConfigError(f"seeds: got {len(seeds)}; expected 2 to {MOST_SEEDS}, such as 1, 2, 3")
        for seed in seeds:
            Spot(run=spot.run, seed=seed)
        if not 1 <= frames <= self.settings.most_frames:
            raise ConfigError(f"frames: {frames} is out of range; expected 1 to {self.settings.most_frames}")
        stops = [*range(len(seeds)), *([0] if loop else [])]
        with self._one:
            generator = self.shelf.generator(spot.run)
            self._check_size("frames", (len(stops) - 1) * frames + (not loop), self.settings.most_frames, generator)
            ends, labels = generator.draw(seeds, generator.class_number(spot.label))
            legs = [walk(ends[a], ends[b], frames + 1, method)[:-1] for a, b in itertools.pairwise(stops)]
            z = torch.cat([*legs, *([] if loop else [ends[-1:]])])
            numbers = None if labels is None else labels[:1].repeat(len(z))
            return _samples(generator, z * spot.truncation, numbers)

    def move(self, spot: Spot, steps: Sequence[float]) -> Samples:
        """Return one image whose latent is moved along the directions, by ``steps`` standard deviations each.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            RunError: the run's generator cannot be used.
        """
        return self._moved(spot, [steps])

    def map(self, spot: Spot, steps: Sequence[float], across: int, down: int) -> Samples:
        """Return the images of the pad, row by row from the top: MAP_SIDE steps along two directions.

        Args:
            spot: the latent.
            steps: along the other directions.
            across: the direction from left to right.
            down: the direction from bottom to top.
        """
        if across == down or not {across, down} <= set(range(DIRECTIONS)):
            raise ConfigError("pad: expected two different directions")
        places = np.linspace(-REACH, REACH, MAP_SIDE).tolist()
        moved = []
        for y, x in itertools.product(reversed(places), places):
            here = [*steps, *[0.0] * (DIRECTIONS - len(steps))]
            here[across], here[down] = x, y
            moved.append(here)
        return self._moved(spot, moved)

    def shares(self, run: str) -> list[float | None]:
        """Return for each direction of a run the share of the variance that it explains, None where unknown."""
        with self._one:
            return [None] * min(DIRECTIONS, self.shelf.generator(run).model.z_dim)

    def directions(self, run: str) -> Tensor:
        """Return the directions of a run, float32 [num z], of length 1."""
        with self._one:
            return self._directions(self.shelf.generator(run))

    def compare(self, spots: Sequence[Spot], num: int) -> list[Samples]:
        """Return the images of the same seeds from several runs."""
        if not 1 <= len(spots) <= MOST_COMPARED:
            raise ConfigError(f"runs: got {len(spots)}; expected 1 to {MOST_COMPARED}")
        return [self.sample(spot, num) for spot in spots]

    def _moved(self, spot: Spot, moves: Sequence[Sequence[float]]) -> Samples:
        with self._one:
            generator = self.shelf.generator(spot.run)
            self._check_size("images", len(moves), self.settings.most_images, generator)
            directions = self._directions(generator)
            z, labels = generator.draw([spot.seed], generator.class_number(spot.label))
            offsets = torch.stack([_offset(directions, steps) for steps in moves])
            numbers = None if labels is None else labels.repeat(len(moves))
            return _samples(generator, (z + offsets) * spot.truncation, numbers)

    def _directions(self, generator: TrainedGenerator) -> Tensor:
        return find_directions(generator.network, generator.model.z_dim, DIRECTIONS)

    def _check_size(self, name: str, num: int, most: int, generator: TrainedGenerator) -> None:
        spec = generator.spec
        most = min(most, max(1, self.settings.most_pixels // (spec.height * spec.width)))
        if not 1 <= num <= most:
            raise ConfigError(f"{name}: {num} are out of range; expected 1 to {most}")


def _offset(directions: Tensor, steps: Sequence[float]) -> Tensor:
    if any(not math.isfinite(step) or abs(step) > REACH for step in steps):
        raise ConfigError(f"directions: expected steps from {-REACH:g} to {REACH:g}")
    used = torch.tensor(steps[: len(directions)], dtype=torch.float32)
    return used @ directions[: len(used)]


def _samples(generator: TrainedGenerator, z: Tensor, labels: Tensor | None) -> Samples:
    numbers = None if labels is None else labels.numpy()
    return Samples(images=generator.images(z, labels), labels=numbers, class_names=generator.class_names)
