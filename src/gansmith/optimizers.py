"""Optimizers of the networks; generator and discriminator have one each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from gansmith.component import Between, Component, NonNegative, Positive
from gansmith.schedules import Constant, Cosine, Schedule

__all__ = ["OPTIMIZERS", "Adam", "AdamW", "Optimizer"]

Beta = Annotated[float, Between(0, 1, open_high=True)]


@dataclass(frozen=True, kw_only=True)
class Optimizer(Component):
    """An optimizer of a network's weights.

    Args:
        lr: learning rate.
        betas: decay rates of the moving averages of the gradient and of its square.
        eps: number added to the denominator for numerical stability.
        schedule: factor of the learning rate over training.
        beta2_end: final value of the second beta, which changes along half a cosine (Huang et al. 2024); None keeps it
            constant.
    """

    table: ClassVar[str] = "gansmith.optimizers:OPTIMIZERS"

    lr: Positive = 2e-4
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    eps: Positive = 1e-8
    schedule: Schedule = Constant()
    beta2_end: Beta | None = None

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Create a fused optimizer of these parameters."""

    def set_rates(self, optimizer: torch.optim.Optimizer, fraction: float) -> None:
        """Set the learning rate and the betas for this fraction of training."""
        beta1, beta2 = self.betas
        if self.beta2_end is not None:
            beta2 = self.beta2_end + (beta2 - self.beta2_end) * Cosine().factor(fraction)
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = self.lr * self.schedule.factor(fraction), (beta1, beta2)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    Args:
        weight_decay: weight decay per step, as a factor of the learning rate.
    """

    weight_decay: NonNegative = 0.01

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


OPTIMIZERS: dict[str, type[Optimizer] | str] = {"adam": Adam, "adamw": AdamW}
