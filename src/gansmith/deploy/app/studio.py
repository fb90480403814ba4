"""What the page computes: images of seeds, walks, directions. One request at a time, so none depends on another.

A request computes the batches that ``gansmith sample`` computes for the same number of images, and shares them with no
other request. So its images are bit for bit those of the command line.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from gansmith.data.outside import fit_images
from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.app.shelf import Shelf
from gansmith.deploy.app.training_images import FEATURES, NeighbourFinder
from gansmith.errors import ConfigError
from gansmith.evaluation.nearest import Neighbours
from gansmith.evaluation.options import EvaluationOptions
from gansmith.sampling.directions import Directions, find_directions
from gansmith.sampling.generator import MOST_SEED, Samples, TrainedGenerator
from gansmith.sampling.paths import Method
from gansmith.sampling.projection import Search, choose_backbone, project
from gansmith.sampling.projections import Projections
from gansmith.sampling.walks import chain
from gansmith.training.config import load_config

__all__ = ["DIRECTIONS", "MOST_COMPARED", "MOST_NEAREST", "MOST_STOPS", "NUM_LATENTS", "REACH", "Spot", "Studio"]

DIRECTIONS = 6
NUM_LATENTS = 500  # that directions are found with: a fraction of a second
REACH = 3.0  # of a slider, in standard deviations of the latents
MAP_SIDE = 5  # images of the pad in each direction
MOST_STOPS = 32  # of one walk
MOST_COMPARED = 6
MOST_NEAREST = 12  # training images of one sample
SEARCH = Search(num_candidates=512, starts=4, steps=80)  # less than gansmith project, as a visitor waits


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
        search: how latents of visitors' pictures are searched for; None takes ``SEARCH``.
        evaluation: chooses the features in which training images are compared.
    """

    def __init__(
        self,
        shelf: Shelf,
        settings: AppSettings,
        search: Search | None = None,
        evaluation: EvaluationOptions = FEATURES,
    ) -> None:
        self.shelf, self.settings, self.search = shelf, settings, search or SEARCH
        self._finder = NeighbourFinder(shelf, evaluation)
        self._one, self._searching = threading.RLock(), threading.Lock()
        self._known: WeakKeyDictionary[TrainedGenerator, Directions] = WeakKeyDictionary()

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
        self,
        spot: Spot,
        seeds: Sequence[int],
        frames: int,
        *,
        classes: Sequence[int] = (),
        method: Method = "slerp",
        loop: bool = False,
    ) -> Samples:
        """Return the images from seed to seed and from class to class.

        Args:
            spot: run and truncation, and the class if ``classes`` is empty. Without any, each seed has its own, as far
                as the network can mix classes; else all images have that of the first seed.
            seeds: one or more; with the classes, they make at least two samples (see ``sampling.walks.chain``).
            frames: images from one sample to the next without the end.
            classes: numbers of classes.
            method: see ``sampling.paths.walk``.
            loop: go back to the first sample.

        Raises:
            ConfigError: a value is out of range, or a class is unknown.
            RunError: the run's generator cannot be used.
        """
        num = max(len(seeds), len(classes))
        if not seeds or not 2 <= num <= MOST_STOPS:
            raise ConfigError(f"seeds: got {num} seeds or classes; expected 2 to {MOST_STOPS}, such as 1, 2, 3")
        for seed in seeds:
            Spot(run=spot.run, seed=seed)
        if not 1 <= frames <= self.settings.most_frames:
            raise ConfigError(f"frames: {frames} is out of range; expected 1 to {self.settings.most_frames}")
        with self._one:
            generator = self.shelf.generator(spot.run)
            legs = num if loop else num - 1
            self._check_size("frames", legs * frames + (not loop), self.settings.most_frames, generator)
            labels = list(classes) or ([] if spot.label is None else [spot.label])
            if not labels and not generator.can_mix_classes():
                _, own = generator.draw(seeds[:1])
                labels = [] if own is None else own.tolist()
            walk = chain(
                generator, seeds, labels, steps=frames + 1, method=method, loop=loop, truncation=spot.truncation
            )
            return Samples(images=walk.draw(generator).images[0])

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

    def project(self, spot: Spot, picture: Image) -> Projections:
        """Return a picture, fitted as the training images were, with the generator's nearest image.

        Others need not wait: the generator is only read.

        Args:
            spot: the run, and the class; without one, all classes are tried.
            picture: of any size.

        Raises:
            ConfigError: the class is unknown.
            DataError: the picture cannot be used.
            RunError: the run's generator cannot be used.
        """
        with self._one:
            generator = self.shelf.generator(spot.run)
            config = load_config(self.shelf.open(spot.run).config)
        search = replace(self.search, backbone=choose_backbone(config.backbones))
        with self._searching:
            return project(
                generator, fit_images(picture, generator.spec, config.preparation), label=spot.label, search=search
            )

    def knows_training_images(self, run: str) -> bool:
        """Return whether ``nearest`` answers at once: the features of the run's training images are in memory."""
        return self._finder.knows(run)

    def nearest(self, spot: Spot, num: int, neighbours: int) -> Neighbours:
        """Return the images of the seeds from ``spot.seed`` on, with the training images nearest to each.

        Args:
            spot: the first image.
            num: number of images.
            neighbours: training images for each.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
            RunError: the run's generator cannot be used, or its training images cannot be read.
        """
        with self._one:
            generator = self.shelf.generator(spot.run)
            if not 1 <= neighbours <= MOST_NEAREST:
                raise ConfigError(f"training images: {neighbours} is out of range; expected 1 to {MOST_NEAREST}")
            self._check_size("images", num * (1 + neighbours), self.settings.most_images, generator)
            return self._finder.find(spot.run, self.sample(spot, num), neighbours)

    def directions(self, run: str) -> Directions:
        """Return the principal directions of a run, at most ``DIRECTIONS``.

        Raises:
            RunError: the run's generator cannot be used.
        """
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
            moved = torch.cat([_move(directions, z, steps) for steps in moves])
            numbers = None if labels is None else labels.repeat(len(moves))
            images = generator.images(moved * spot.truncation, numbers)
        shown = None if numbers is None else numbers.numpy()
        return Samples(images=images, labels=shown, class_names=generator.class_names)

    def _directions(self, generator: TrainedGenerator) -> Directions:
        if generator not in self._known:
            self._known[generator] = find_directions(
                generator, num=min(DIRECTIONS, generator.model.z_dim), num_latents=NUM_LATENTS
            )
        return self._known[generator]

    def _check_size(self, name: str, num: int, most: int, generator: TrainedGenerator) -> None:
        spec = generator.spec
        most = min(most, max(1, self.settings.most_pixels // (spec.height * spec.width)))
        if not 1 <= num <= most:
            raise ConfigError(f"{name}: {num} are out of range; expected 1 to {most}")


def _move(directions: Directions, z: Tensor, steps: Sequence[float]) -> Tensor:
    """Return a latent [1 z] moved along the directions."""
    if any(not math.isfinite(step) or abs(step) > REACH for step in steps):
        raise ConfigError(f"directions: expected steps from {-REACH:g} to {REACH:g}")
    for i, step in enumerate(steps[: len(directions)]):
        z = directions.move(z, i, torch.tensor([float(step)]))[:, 0] if step else z
    return z
