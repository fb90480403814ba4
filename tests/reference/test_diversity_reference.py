"""Diversity against SciPy's distances and the Vendi score of the whole kernel, n x n."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import eigvalsh
from scipy.spatial.distance import pdist, squareform
from scipy.stats import entropy
from torch import Tensor

from gansmith.metrics.diversity import Diversity
from gansmith.metrics.features import Features
from gansmith.metrics.metric import MetricInputs


def rectified(num: int, num_features: int, seed: int, shift: float = 0.0) -> Tensor:
    values = torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed))
    return (values + shift).relu() + 2


CASES = {
    "shifted": (rectified(500, 32, 1), rectified(500, 32, 2, shift=0.5)),
    "more features than images": (rectified(60, 100, 1), rectified(60, 100, 2)),
    "collapsed": (rectified(300, 32, 1), rectified(3, 32, 2).repeat(100, 1) + 1e-4 * rectified(300, 32, 3)),
}


def wanted(values: Tensor, centre: np.ndarray) -> tuple[float, float, float]:  # type: ignore[type-arg]
    """Mean distance, Vendi score with the kernel's eigenvalues, and mean distance to the nearest."""
    rows = values.double().numpy()
    distances = pdist(rows)
    directions = (rows - centre) / np.linalg.norm(rows - centre, axis=1, keepdims=True)
    eigenvalues = eigvalsh(directions @ directions.T / len(rows)).clip(0)
    square = squareform(distances)
    np.fill_diagonal(square, np.inf)
    return distances.mean(), np.exp(entropy(eigenvalues)), square.min(axis=1).mean()


@pytest.mark.parametrize("case", CASES)
def test_diversity_agrees_with_scipy(case: str) -> None:
    real, fake = CASES[case]
    sides = [
        Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for values in (real, fake)
    ]
    found = Diversity().measure(MetricInputs(real=sides[0], fake=sides[1]))
    centre = real.double().numpy().mean(axis=0)
    ours, theirs = wanted(fake, centre), wanted(real, centre)
    for estimate, one, other in zip(found.values(), ours, theirs, strict=True):
        assert estimate.value == pytest.approx(one / other, rel=1e-11)
