"""Metrics of two arrays against SciPy and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from gansmith.metrics import density_coverage, fid, kid, precision_recall

DRAW = np.random.default_rng(3)
REAL, FAKE = DRAW.normal(0, 1, (400, 12)), DRAW.normal(0.2, 1.1, (300, 12))


class Identity(nn.Module):
    num_features = 12

    def forward(self, values: Tensor) -> Tensor:
        return values


def test_fid_of_two_arrays_is_that_of_scipy_and_torchmetrics() -> None:
    covariances = [np.cov(side, rowvar=False) for side in (REAL, FAKE)]
    apart = np.square(REAL.mean(0) - FAKE.mean(0)).sum()
    wanted = apart + np.trace(sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert fid(REAL, FAKE).value == pytest.approx(wanted, rel=1e-10)
    theirs = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    theirs.update(torch.from_numpy(REAL), real=True)
    theirs.update(torch.from_numpy(FAKE), real=False)
    assert fid(REAL, FAKE).value == pytest.approx(float(theirs.compute()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_kid_of_two_arrays_is_that_of_torchmetrics() -> None:
    theirs = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=300)
    theirs.update(torch.from_numpy(REAL[:300]), real=True)
    theirs.update(torch.from_numpy(FAKE), real=False)
    assert kid(REAL[:300], FAKE).value == pytest.approx(float(theirs.compute()[0]), rel=1e-5)


def test_shares_of_two_arrays_are_those_of_their_definitions() -> None:
    across = cdist(FAKE, REAL)
    radii = {name: np.sort(cdist(side, side), axis=1)[:, 3] for name, side in (("real", REAL), ("fake", FAKE))}
    precision, recall = precision_recall(REAL, FAKE)
    assert precision.value == (across <= radii["real"]).any(axis=1).mean()
    assert recall.value == (radii["fake"] >= across.T).any(axis=1).mean()
    fifth = np.sort(cdist(REAL, REAL), axis=1)[:, 5]
    density, coverage = density_coverage(REAL, FAKE)
    assert density.value == pytest.approx((across <= fifth).sum(axis=1).mean() / 5)
    assert coverage.value == (across.min(axis=0) <= fifth).mean()
