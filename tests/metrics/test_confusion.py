"""A classifier's mistakes: shares against scipy's optimiser, chances against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from gansmith.metrics.confusion import ALWAYS, SHAPE, Confusion

RATES = np.array([[0.7, 0.2, 0.05], [0.1, 0.75, 0.05], [0.0, 0.3, 0.6]])  # the rest is clearly none


def counted(num: int, seed: int = 0) -> Confusion:
    """So many images of each class, seen with these rates."""
    rows = np.concatenate([RATES, 1 - RATES.sum(axis=1, keepdims=True)], axis=1)
    draw = np.random.default_rng(seed)
    return Confusion(counts=np.stack([draw.multinomial(num, row) for row in rows]))


def test_images_are_counted_by_their_class_and_by_what_is_seen() -> None:
    found = Confusion.of(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 2, 0]), 2)
    np.testing.assert_array_equal(found.counts, [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(Confusion.without_errors(2).counts, [[ALWAYS, 0, 0], [0, ALWAYS, 0]])


def test_shares_are_those_of_the_greatest_likelihood() -> None:
    confusion, seen = counted(10_000), np.array([420, 380, 150, 50])
    rows = np.concatenate([RATES, 1 - RATES.sum(axis=1, keepdims=True)], axis=1)

    def loss(free: np.ndarray) -> float:
        return -float(seen @ np.log(np.append(free, 1 - free.sum()) @ rows))

    found = optimize.minimize(
        loss, [0.3, 0.3], method="trust-constr", bounds=[(0, 1)] * 2,
        constraints=optimize.LinearConstraint([[1, 1]], 0, 1),
    )  # fmt: skip
    expected = np.append(found.x, 1 - found.x.sum())
    np.testing.assert_allclose(confusion.estimate_shares(seen), expected, atol=0.02)
    assert confusion.estimate_shares(seen).sum() == pytest.approx(1)


def test_a_class_that_the_others_explain_has_no_share() -> None:
    seen = np.array([700, 200, 50, 50])  # as of the first class alone
    shares = counted(100_000).estimate_shares(seen)
    assert shares[0] > 0.97 and shares[1:].max() < 0.03
    np.testing.assert_allclose(Confusion.without_errors(3).estimate_shares(seen), seen[:3] / 950, atol=1e-3)


def test_chances_are_as_often_small_as_they_say() -> None:
    """Rates are drawn from what was counted, images with them: the chance of the second class is then uniform."""
    draw, confusion = np.random.default_rng(0), counted(200)
    shares, num = np.array([0.6, 0.0, 0.4]), 500
    totals, counts = confusion.counts.sum(axis=1), confusion.counts[:, :-1]
    prior = SHAPE * (totals.sum() - 200 + 1) / (counts[0, 1] + counts[2, 1] + 0.5)
    above, below = [], []
    for _ in range(1500):
        rates = draw.gamma(counts[[0, 2], 1] + SHAPE) / (200 + prior)
        seen = np.zeros(4, np.int64)
        seen[1] = draw.poisson(num * (shares[[0, 2]] @ rates))
        seen[3] = num - seen[1]
        chances = confusion.tail_probabilities(seen, shares, np.zeros(3))
        above.append(chances[0][1])
        below.append(chances[1][1])
    for found in (above, below):
        for level in (0.01, 0.05, 0.2):
            assert np.mean(np.array(found) <= level) <= level + 2.6 * np.sqrt(level / 1500)
        assert np.mean(np.array(found) <= 0.2) > 0.12
    assert np.min(np.array(above) + np.array(below)) >= 1  # as often counts for both


def test_without_mistakes_one_image_shows_a_class() -> None:
    confusion, seen = Confusion.without_errors(3), np.array([99, 1, 0, 0])
    above, below = confusion.tail_probabilities(seen, confusion.estimate_shares(seen), np.zeros(3))
    assert above[1] < 1e-6 and above[2] == pytest.approx(1)
    above, below = confusion.tail_probabilities(seen, confusion.estimate_shares(seen), np.full(3, 0.05))
    assert below[1] == pytest.approx(stats.poisson.cdf(1, 5), rel=1e-3)
    assert above[1] == pytest.approx(stats.poisson.sf(0, 5), rel=1e-3)
