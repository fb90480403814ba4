"""What penalties on the discriminator's features read besides its pass: noisy features, and those of neighbours."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith import dist
from gansmith.feature_penalties import read_features
from gansmith.models.penultimate import modulate
from gansmith.penalties import FeatureViews
from gansmith.training.memory import micro_batches
from gansmith.training.state import TrainState
from gansmith.training.steps import (
    AUGMENT_NEIGHBOURS,
    NEIGHBOURS,
    Draws,
    augment,
    draw_latents,
    generate,
    score,
    select,
)
from gansmith.types import Images, Labels

__all__ = ["FeatureSource"]


class FeatureSource:
    """The feature views of one step of the discriminator; neighbours are generated once, for all micro-batches.

    Args:
        state: whose discriminator computes the features. The step's fakes are those of ``draw_latents(state, salt=0)``.
        labels: of this rank's images.
    """

    def __init__(self, state: TrainState, labels: Labels | None) -> None:
        self.state, self.labels = state, labels
        self.neighbours = functools.cache(self._neighbours)

    def views(self, part: slice, draws: Draws) -> FeatureViews:
        """Return the views of one micro-batch, whose noise comes from ``draws``."""
        first = dist.local_share(self.state.config.batch_size).start
        rows = torch.arange(first + part.start, first + part.stop, device=self.state.compute.device)
        return FeatureViews(
            modulated=functools.partial(self._modulated, select(self.labels, part), draws),
            neighbours=self.neighbours,
            rows=rows,
            overfitting=self.state.feedback.overfitting,
        )

    def _modulated(
        self, labels: Labels | None, draws: Draws, images: Images, deviation: Float[Tensor, ""]
    ) -> Float[Tensor, "n d"]:
        network = self.state.networks["discriminator"]
        with modulate(network, lambda shape: 1 + deviation * draws.normal(shape)):
            return read_features(score(self.state, network, images, labels, features=True))

    @torch.no_grad()
    def _neighbours(self, deviation: float) -> Float[Tensor, "m d"]:
        """Return the features of all ranks' neighbours, equal on each rank, [batch_size d]."""
        state = self.state
        z = draw_latents(state, salt=0)
        everything = slice(0, len(z))
        moved = z + deviation * Draws(state, NEIGHBOURS, everything).normal(z.shape[1:])
        images = generate(state, moved / (1 + deviation**2) ** 0.5, self.labels)
        network, own = state.networks["discriminator"], []
        for part in micro_batches(state, len(z)):
            augmented = augment(state, images[part], part, AUGMENT_NEIGHBOURS)
            own.append(read_features(score(state, network, augmented, select(self.labels, part), features=True)))
        features = torch.cat(own)
        every = features.new_zeros(state.config.batch_size, features.shape[1])
        every[dist.local_share(state.config.batch_size)] = features
        return dist.sum_over_ranks(every)
