"""The average of weights: its decay has the half-life that it says, and buffers follow."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gansmith.ema import ema_decay, update_ema

RAMP = 0.05


def test_a_half_life_halves() -> None:
    long_ago = 10**9
    assert ema_decay(64, long_ago, halflife_kimg=10, ramp=RAMP) ** (10_000 / 64) == pytest.approx(0.5)
    assert ema_decay(500, long_ago, halflife_kimg=0.5, ramp=RAMP) == pytest.approx(0.5)


def test_two_half_batches_are_one_batch() -> None:
    assert ema_decay(32, 10**6, 10, RAMP) ** 2 == pytest.approx(ema_decay(64, 10**6, 10, RAMP))


def test_the_start_is_soon_forgotten() -> None:
    assert ema_decay(64, 0, 10, RAMP) == 0.0
    nimg = 6400  # the half-life is a share of what was seen, not the 10 kimg asked for
    assert ema_decay(64, nimg, 10, RAMP) == pytest.approx(math.pow(0.5, 64 / (nimg * RAMP)))


def network(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.fill_(value)
    return made


def test_after_k_steps_towards_constant_weights_decay_to_the_k_is_left() -> None:
    average, model = network(0.0), network(1.0)
    for _ in range(5):
        update_ema(average, model, decay=0.9)
    floats = [tensor for tensor in average.state_dict().values() if tensor.is_floating_point()]
    assert len(floats) == 6  # weight, bias, scale, shift, and the buffers: running mean and variance
    for tensor in floats:
        torch.testing.assert_close(tensor, torch.full_like(tensor, 1 - 0.9**5))


def test_the_model_is_left_alone_and_no_graph_is_kept() -> None:
    average, model = network(0.0), network(1.0)
    update_ema(average, model, decay=0.5)
    assert all((tensor == 1).all() for tensor in model.state_dict().values())
    assert all(parameter.grad_fn is None and parameter.is_leaf for parameter in average.parameters())


@pytest.mark.parametrize(("decay", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_the_ends(decay: float, value: float) -> None:
    average = network(0.0)
    update_ema(average, network(1.0), decay)
    assert all((parameter == value).all() for parameter in average.parameters())
