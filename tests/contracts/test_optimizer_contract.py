"""Every optimizer goes downhill at the rate that its schedule gives it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from gansmith.component import from_plain, member, to_plain
from gansmith.optimizers import OPTIMIZERS, Optimizer
from gansmith.schedules import Linear


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request: pytest.FixtureRequest) -> Optimizer:
    return member(Optimizer, request.param, "optimizer")(lr=0.1, schedule=Linear(end=0.5))


def test_it_goes_downhill(optimizer: Optimizer) -> None:
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    built = optimizer.build([weight])
    for _ in range(100):
        built.zero_grad()
        weight.square().sum().backward()
        built.step()
    assert weight.abs().max() < 0.1


def test_its_first_rate_is_lr_and_later_ones_follow_the_schedule(optimizer: Optimizer) -> None:
    built = optimizer.build([nn.Parameter(torch.zeros(1))])
    assert [group["lr"] for group in built.param_groups] == [0.1]
    for fraction, rate in ((0.0, 0.1), (0.5, 0.075), (1.0, 0.05), (0.5, 0.075)):
        optimizer.set_rates(built, fraction)
        assert built.param_groups[0]["lr"] == pytest.approx(rate)


def test_beta2_goes_along_half_a_cosine_where_it_has_an_end(optimizer: Optimizer) -> None:
    parting = dataclasses.replace(optimizer, betas=(0.0, 0.9), beta2_end=0.99)
    built = parting.build([nn.Parameter(torch.zeros(1))])
    for fraction, beta2 in ((0.0, 0.9), (0.5, 0.945), (1.0, 0.99)):
        parting.set_rates(built, fraction)
        assert built.param_groups[0]["betas"] == pytest.approx((0.0, beta2))


def test_without_a_gradient_nothing_moves(optimizer: Optimizer) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer.build([weight]).step()
    assert torch.equal(weight, torch.ones(3))


def test_it_survives_plain_data(optimizer: Optimizer) -> None:
    assert from_plain(Optimizer, to_plain(optimizer), "optimizer") == optimizer
