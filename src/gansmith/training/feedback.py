"""What training learns from the discriminator's logits: their averages, overfitting, and how much to augment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith import dist
from gansmith.augment import AdaptiveAugment, FixedAugment
from gansmith.types import Logits

if TYPE_CHECKING:
    from gansmith.training.config import Config

__all__ = ["Feedback"]

LOGIT_DECAY = 0.99  # of the logits' moving averages, a step (Tseng et al. 2021)


@dataclass(kw_only=True, eq=False)
class Feedback:
    """Three running values, on the device, so that reading them never waits for it.

    Args:
        augment_p: the probability of each augmentation, float32 [].
        overfitting: the guard's last estimate: where the discriminator's logits of real images held out lie between
            those of training images (0) and of samples (1), float32 [].
        logit_averages: moving averages of the real and the fake logits, float32 [2].
    """

    augment_p: Float[Tensor, ""]
    overfitting: Float[Tensor, ""]
    logit_averages: Float[Tensor, "2"]

    @classmethod
    def on(cls, device: torch.device) -> Feedback:
        """Return zeros on a device."""
        return cls(
            augment_p=torch.zeros((), device=device),
            overfitting=torch.zeros((), device=device),
            logit_averages=torch.zeros(2, device=device),
        )

    def follow_schedule(self, config: Config, fraction: float) -> None:
        """Set the probability that a fixed augmentation has after this fraction of training."""
        if isinstance(config.augment, FixedAugment):
            self.augment_p.fill_(config.augment.p_at(fraction))

    @torch.no_grad()
    def learn_from_logits(self, config: Config, real: Logits, fake: Logits) -> None:
        """Update the moving averages, if a penalty reads them, and the probability of an adaptive augmentation."""
        if any(penalty.averages for penalty in config.penalties):
            means = dist.sum_over_ranks(torch.stack([real.mean(), fake.mean()])) / dist.world_size()
            self.logit_averages.lerp_(means, 1 - LOGIT_DECAY)
        augment = config.augment
        if isinstance(augment, AdaptiveAugment):
            estimate = self.overfitting if augment.by == "held-out" else _mean_sign(config, real, fake)
            self.augment_p.copy_(augment.adjust(self.augment_p, estimate, config.batch_size))

    def learn_from_probes(self, values: Mapping[str, float]) -> None:
        """Store the guard's overfitting estimate; 0 if it could not be computed."""
        if values:
            self.overfitting.fill_(values.get("guard/overfitting", 0.0))

    def to_plain(self) -> dict[str, Any]:
        """Return the values for state.json."""
        return {name: getattr(self, name).tolist() for name in ("augment_p", "overfitting", "logit_averages")}

    def load_plain(self, plain: Mapping[str, Any]) -> None:
        """Take over the values of a state.json."""
        self.augment_p.fill_(plain["augment_p"])
        self.overfitting.fill_(plain["overfitting"])
        self.logit_averages.copy_(torch.tensor(plain["logit_averages"]))


def _mean_sign(config: Config, real: Logits, fake: Logits) -> Tensor:
    signs = (real - fake if config.loss.pairs else real).sign()  # pairs fix only the distance of the logits
    return dist.sum_over_ranks(signs.mean()) / dist.world_size()
