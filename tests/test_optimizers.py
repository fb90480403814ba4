"""Optimizers: their hyper-parameters reach PyTorch, and the first steps are those of the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gansmith.errors import ConfigError
from gansmith.optimizers import Adam, AdamW, Optimizer

START = torch.tensor([1.0, -2.0, 0.5])
GRADIENTS = [torch.tensor([0.3, -4.0, 2.0]), torch.tensor([-0.1, 1.0, 5.0])]


def after_two_steps(optimizer: Optimizer) -> torch.Tensor:
    weight = nn.Parameter(START.clone())
    built = optimizer.build([weight])
    for gradient in GRADIENTS:
        weight.grad = gradient.clone()
        built.step()
    return weight.detach()


def adam_by_the_paper(lr: float, betas: tuple[float, float], eps: float, decay: float = 0.0) -> torch.Tensor:
    """Kingma and Ba 2015, algorithm 1; with decay, Loshchilov and Hutter 2019, algorithm 2."""
    weight, m, v = START.double(), torch.zeros(3).double(), torch.zeros(3).double()
    for t, gradient in enumerate(GRADIENTS, start=1):
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        step = m / (1 - betas[0] ** t) / ((v / (1 - betas[1] ** t)).sqrt() + eps)
        weight = weight - lr * decay * weight - lr * step
    return weight.float()


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.0, 0.99)])
def test_adam_is_the_paper_s(betas: tuple[float, float]) -> None:
    ours = after_two_steps(Adam(lr=0.1, betas=betas, eps=1e-3))
    torch.testing.assert_close(ours, adam_by_the_paper(0.1, betas, 1e-3))


def test_adamw_decays_apart_from_the_gradient() -> None:
    ours = after_two_steps(AdamW(lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.2))
    torch.testing.assert_close(ours, adam_by_the_paper(0.1, (0.5, 0.9), 1e-3, decay=0.2))


def test_updates_are_fused() -> None:
    for optimizer in (Adam(), AdamW()):
        (group,) = optimizer.build([nn.Parameter(START.clone())]).param_groups
        assert group["fused"] is True


def test_the_defaults_are_the_dcgan_paper_s() -> None:
    assert (Adam().lr, Adam().betas) == (2e-4, (0.5, 0.999))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 0}, "Adam.lr: 0.0 is out of range; expected more than 0"),
        ({"betas": (0.5, 1)}, "Adam.betas[1]: 1.0 is out of range; expected from 0 to below 1"),
        ({"betas": (0.5,)}, "Adam.betas: expected 2 entries, got 1"),
        ({"schedule": "cosin"}, "Adam.schedule: no schedule is called 'cosin'; did you mean 'cosine'?"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Adam(**fields)
    assert str(caught.value) == message
