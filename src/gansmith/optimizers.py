"""Optimizers: one value each for the generator and the discriminator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import nn

from gansmith.component import Between, Component, NonNegative, Positive
from gansmith.schedules import Constant, Schedule

__all__ = ["OPTIMIZERS", "Adam", "AdamW", "Optimizer"]

Beta = Annotated[float, Between(0, 1, open_high=True)]


@dataclass(frozen=True, kw_only=True)
class Optimizer(Component):
    """How a network's weights follow its gradients.

    Args:
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: keeps the division by the latter finite.
        schedule: what the rate is multiplied with as training goes on.
    """

    table: ClassVar[str] = "gansmith.optimizers:OPTIMIZERS"

    lr: Positive = 2e-4
    betas: tuple[Beta, Beta] = (0.5, 0.999)
    eps: Positive = 1e-8
    schedule: Schedule = Constant()

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimizer of these parameters, fused where PyTorch has it."""

    def set_rate(self, optimizer: torch.optim.Optimizer, fraction: float) -> None:
        """Give the optimizer the rate that is due after this fraction of training."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr * self.schedule.factor(fraction)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019)."""

    weight_decay: NonNegative = 0.01

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


OPTIMIZERS: dict[str, type[Optimizer] | str] = {"adam": Adam, "adamw": AdamW}
