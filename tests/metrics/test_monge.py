"""MIND: equal to a plain sum over sorted projections, and to SciPy's distance for unequal numbers of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.metric import MetricInputs
from gansmith.metrics.monge import MIND, SEED, _transport_cost, monge_distance


def rows(num: int, dims: int = 6, shift: float = 0.0, seed: int = 0) -> Tensor:
    return torch.randn(num, dims, generator=torch.Generator().manual_seed(seed)) + shift


def test_it_is_the_plain_sum() -> None:
    real, fake, directions = rows(40), rows(40, shift=0.5, seed=1), 130
    drawn = torch.randn(directions, 6, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64).numpy()
    total = 0.0
    for direction in drawn:
        direction = direction / np.sqrt((direction**2).sum())
        one, other = (np.sort(side.double().numpy() @ direction) for side in (real, fake))
        total += float(((one - other) ** 2).mean())
    value, _ = monge_distance(real, fake, directions)
    assert value == pytest.approx(3 * 6 * total / directions, rel=1e-9)


def test_unequal_numbers_are_matched_by_quantiles() -> None:
    one, other = (torch.sort(rows(num, 1, seed=num)[:, 0].double())[0] for num in (12, 8))
    repeated = one.repeat_interleave(2), other.repeat_interleave(3)  # the same distributions, of 24 values each
    expected = float((repeated[0] - repeated[1]).square().mean())
    assert float(_transport_cost(one[None], other[None])) == pytest.approx(expected, rel=1e-12)
    apart = one + 100  # where the first power of the distance is nearly the difference of the means
    first = wasserstein_distance(apart.numpy(), other.numpy())
    assert float(_transport_cost(apart[None], other[None])) == pytest.approx(first**2, rel=1e-3)


def test_a_shift_counts_with_its_square() -> None:
    real = rows(500)
    value, _ = monge_distance(real, real + 2, 2000)
    assert value == pytest.approx(3 * 6 * 4, rel=0.05)  # the mean over directions of (shift . direction)^2 is 4
    assert monge_distance(real, real, 10)[0] == 0


def test_it_needs_no_more_images_than_features() -> None:
    near, far = (monge_distance(rows(20, 64), rows(20, 64, shift=shift, seed=1), 200)[0] for shift in (0, 0.5))
    assert 0 < near < far


def test_the_error_is_the_spread_over_draws() -> None:
    draws = [monge_distance(rows(150, 3, seed=2 * i), rows(200, 3, 1.0, 2 * i + 1), 20) for i in range(60)]
    values, errors = np.array(draws).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.25)


def test_a_single_image_is_refused() -> None:
    with pytest.raises(MetricError, match="1 generated image has no spread; expected at least 2"):
        MIND().measure(MetricInputs(real=Features(values=rows(3)), fake=Features(values=rows(1))))
    found = MIND(directions=7).measure(MetricInputs(real=Features(values=rows(9)), fake=Features(values=rows(5))))
    assert 0 <= found["mind"].low <= found["mind"].value <= found["mind"].high
