"""What training learns from the discriminator's logits: their averages, overfitting, and how much to augment."""

from __future__ import annotations

import math
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

LOGIT_DECAY = 0.99  # of the moving averages of logits and of their signs, a step (Tseng et al. 2021)
NAMES = ("augment_p", "held_out", "sign", "logit_averages")


@dataclass(kw_only=True, eq=False)
class Feedback:
    """Running values, on the device, so that reading them never waits for it.

    Args:
        augment_p: the probability of each augmentation, float32 [].
        held_out: the guard's last estimate of overfitting: where the discriminator's logits of real images held out
            lie between those of training images (0) and of samples (1), float32 []; NaN while it is undefined.
        sign: moving average of the measure "sign" of ``AdaptiveAugment``, float32 [].
        logit_averages: moving averages of the real and the fake logits, float32 [2].
    """

    augment_p: Float[Tensor, ""]
    held_out: Float[Tensor, ""]
    sign: Float[Tensor, ""]
    logit_averages: Float[Tensor, "2"]

    @classmethod
    def on(cls, device: torch.device) -> Feedback:
        """Return the values before the first step."""
        return cls(
            augment_p=torch.zeros((), device=device),
            held_out=torch.full((), math.nan, device=device),
            sign=torch.zeros((), device=device),
            logit_averages=torch.zeros(2, device=device),
        )

    @property
    def overfitting(self) -> Float[Tensor, ""]:
        """The guard's estimate, or the average sign while that is undefined; 0: none, 1: complete, float32 []."""
        return torch.where(self.held_out.isnan(), self.sign, self.held_out)

    def follow_schedule(self, config: Config, fraction: float) -> None:
        """Set the probability that a fixed augmentation has after this fraction of training."""
        if isinstance(config.augment, FixedAugment):
            self.augment_p.fill_(config.augment.p_at(fraction))

    @torch.no_grad()
    def learn_from_logits(self, config: Config, real: Logits, fake: Logits) -> None:
        """Update the moving averages that a penalty reads, and the probability of an adaptive augmentation."""
        if any(penalty.averages for penalty in config.penalties):
            means = dist.sum_over_ranks(torch.stack([real.mean(), fake.mean()])) / dist.world_size()
            self.logit_averages.lerp_(means, 1 - LOGIT_DECAY)
        adaptive = config.augment if isinstance(config.augment, AdaptiveAugment) else None
        read_by_penalty = any(penalty.reads_overfitting for penalty in config.penalties)
        if adaptive is None and not read_by_penalty:
            return
        sign = _mean_sign(config, real, fake)
        if read_by_penalty:
            self.sign.lerp_(sign, 1 - LOGIT_DECAY)
        if adaptive is not None:
            p = adaptive.adjust(self.augment_p, config.batch_size, sign=sign, held_out=self.held_out)
            self.augment_p.copy_(p)

    def learn_from_probes(self, values: Mapping[str, float]) -> None:
        """Store the guard's overfitting estimate; no values at all leave the last one."""
        if values:
            self.held_out.fill_(values.get("guard/overfitting", math.nan))

    def to_plain(self) -> dict[str, Any]:
        """Return the values for state.json, where null stands for NaN."""
        values = {name: getattr(self, name).tolist() for name in NAMES}
        return {**values, "held_out": None if math.isnan(values["held_out"]) else values["held_out"]}

    def load_plain(self, plain: Mapping[str, Any]) -> None:
        """Take over the values of a state.json."""
        values = {**plain, "held_out": math.nan if plain["held_out"] is None else plain["held_out"]}
        for name in NAMES:
            getattr(self, name).copy_(torch.tensor(values[name]))


def _mean_sign(config: Config, real: Logits, fake: Logits) -> Tensor:
    signs = (real - fake if config.loss.pairs else real).sign()  # pairs fix only the distance of the logits
    return dist.sum_over_ranks(signs.mean()) / dist.world_size()
