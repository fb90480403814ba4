"""An algorithm as a component: which networks it trains, what one step does, what it averages, what generates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from torch import nn

from gansmith.component import Component, from_plain
from gansmith.data.resident import BatchAt
from gansmith.models.model import GeneratorNetwork
from gansmith.optimizers import Optimizer
from gansmith.types import Images, ImageSpec, Labels, Logits

if TYPE_CHECKING:
    from gansmith.training.config import Config
    from gansmith.training.state import TrainState

__all__ = ["RECIPES", "Builders", "Recipe", "default_recipe"]

Builders: TypeAlias = Mapping[str, Callable[[], nn.Module]]


@dataclass(frozen=True, kw_only=True)
class Recipe(Component):
    """A training algorithm.

    Checkpoints, averages, gradient norms, the guard and ranks loop over the names of its networks; nothing else in
    the training engine knows which networks there are. ``gansmith.training.steps`` has what a step is made of.

    Class attributes:
        averaged: names of the networks of which an exponential moving average is kept.
        generators: names of the networks that ``generator`` needs; ``best/`` and ``gansmith sample`` load only these.
        ignores: fields of ``Config`` that the algorithm does not read; a value other than their default is refused.
    """

    table: ClassVar[str] = "gansmith.training.recipe:RECIPES"
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    generators: ClassVar[tuple[str, ...]] = ("generator",)
    ignores: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def networks(self, config: Config, spec: ImageSpec) -> Builders:
        """Return a function that builds each network, by its name, in the order in which they are initialised.

        A name is the stem of the network's file in a checkpoint: letters, digits and underscores.
        """

    @abstractmethod
    def optimizers(self, config: Config) -> Mapping[str, Optimizer]:
        """Return the optimizer of each network, under the same names."""

    @abstractmethod
    def generator(self, networks: Mapping[str, nn.Module]) -> GeneratorNetwork:
        """Return what makes images.

        Args:
            networks: those named in ``generators``, plain or averaged.
        """

    @abstractmethod
    def step(self, state: TrainState, batch_at: BatchAt) -> None:
        """Update every network once or several times, and count the real images shown in ``state.nimg``.

        Args:
            state: changed in place.
            batch_at: real images for (nimg, rank, world size), as ``Batches.batch`` returns them.
        """

    @abstractmethod
    def score(self, state: TrainState, images: Images, labels: Labels | None) -> Logits | None:
        """Return the discriminator's logits [n] of images alone, by which the guard estimates overfitting.

        Returns:
            None if the algorithm has no such discriminator; the guard then leaves that estimate out.
        """


RECIPES: dict[str, type[Recipe] | str] = {"adversarial": "gansmith.training.adversarial:Adversarial"}


def default_recipe() -> Recipe:
    """Return the adversarial recipe, which imports the engine only now."""
    made: Recipe = from_plain(Recipe, "adversarial", "config.recipe")
    return made
