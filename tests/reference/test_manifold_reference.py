"""Neighbours and the figures made of them against scikit-learn's brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from gansmith.metrics.features import Features
from gansmith.metrics.manifold import DensityCoverage, PrecisionRecall, find_nearest
from gansmith.metrics.metric import MetricInputs


def rectified(num: int, seed: int, shift: float = 0.0, offset: float = 0.0) -> Tensor:
    values = torch.randn(num, 64, generator=torch.Generator().manual_seed(seed))
    return (values + shift).relu() + offset


NEAR = rectified(600, 1) + 1e-5 * rectified(600, 3)
CASES = {
    "of one kind": (rectified(900, 1), rectified(900, 2)),
    "shifted": (rectified(900, 1), rectified(900, 2, shift=0.3)),
    "far from 0": (rectified(900, 1, offset=100), rectified(900, 2, offset=100)),
    "unequal numbers": (rectified(900, 1), rectified(400, 2, shift=0.1)),
    "near duplicates": (rectified(600, 1), NEAR),
}


def in_float64(values: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    return values.double().numpy()


def theirs(queries: Tensor, points: Tensor, num: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Distances and numbers; where queries and points are one, scikit-learn leaves each point itself out."""
    found = NearestNeighbors(n_neighbors=num, algorithm="brute").fit(in_float64(points))
    distances, numbers = found.kneighbors(None if queries is points else in_float64(queries))
    return distances, numbers


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("num", [1, 5])
def test_neighbours_and_distances_agree(case: str, num: int) -> None:
    real, fake = CASES[case]
    for queries, points, among_themselves in ((fake, real, False), (real, real, True)):
        distances, numbers = find_nearest(queries, points, num, among_themselves=among_themselves)
        wanted, wanted_numbers = theirs(queries, points, num)
        np.testing.assert_array_equal(numbers.numpy(), wanted_numbers)
        # scikit-learn takes products too, and so has few digits of small distances: the differences have all of them
        exact = np.linalg.norm(in_float64(queries)[:, None] - in_float64(points)[wanted_numbers], axis=2)
        np.testing.assert_allclose(distances.numpy(), exact, rtol=1e-14)
        np.testing.assert_allclose(wanted, exact, rtol=1e-4 if case == "near duplicates" else 1e-9)


def balls(queries: Tensor, points: Tensor, neighbours: int) -> np.ndarray:  # type: ignore[type-arg]
    """Whether each query [n] lies in each point's ball [m], all differences in float64."""
    radii = theirs(points, points, neighbours)[0][:, -1]
    apart = [np.linalg.norm(in_float64(points) - query, axis=1) for query in in_float64(queries)]
    inside: np.ndarray = np.array(apart) <= radii  # type: ignore[type-arg]
    return inside


@pytest.mark.parametrize("case", CASES)
def test_precision_recall_density_and_coverage_are_counted_alike(case: str) -> None:
    real, fake = CASES[case]
    sides = [
        Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for values in (real, fake)
    ]
    comparison = MetricInputs(real=sides[0], fake=sides[1])
    found = PrecisionRecall().measure(comparison) | DensityCoverage().measure(comparison)
    assert found["precision"].value == balls(fake, real, 3).any(axis=1).mean()
    assert found["recall"].value == balls(real, fake, 3).any(axis=1).mean()
    inside = balls(fake, real, 5)
    assert found["density"].value == pytest.approx(inside.sum(axis=1).mean() / 5, rel=1e-14)
    assert found["coverage"].value == inside.any(axis=0).mean()
