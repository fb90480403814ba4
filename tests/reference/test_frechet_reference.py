"""FID against SciPy and torchmetrics, to the digits that docs/explain/precision.md promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from gansmith.metrics.frechet import Moments, frechet_distance

NUM_FEATURES = 64


def correlated(seed: int, shift: float = 0.0, offset: float = 0.0, rectified: bool = True) -> Tensor:
    mix = torch.randn(NUM_FEATURES, NUM_FEATURES, generator=torch.Generator().manual_seed(99)) / NUM_FEATURES**0.5
    values = torch.randn(2000, NUM_FEATURES, generator=torch.Generator().manual_seed(seed)) @ mix + shift
    return (values.relu() if rectified else values) + offset


CASES = {
    "rectified": (correlated(1), correlated(2, shift=0.1)),
    "of one kind": (correlated(1), correlated(2)),
    "far from 0": (correlated(1, offset=1000), correlated(2, shift=0.1, offset=1000)),
    "linear": (correlated(1, rectified=False), correlated(2, shift=0.1, rectified=False)),
}


def fid(real: Tensor, fake: Tensor) -> float:
    one, other = Moments.of(real), Moments.of(fake)
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


@pytest.mark.parametrize("case", CASES)
def test_fid_agrees_with_scipy_to_11_digits(case: str) -> None:
    real, fake = (side.double().numpy() for side in CASES[case])
    cov_real, cov_fake = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    apart = np.square(real.mean(0) - fake.mean(0)).sum()
    wanted = apart + np.trace(cov_real + cov_fake - 2 * sqrtm(cov_real @ cov_fake).real)
    assert fid(*CASES[case]) == pytest.approx(wanted, rel=1e-11)


class Identity(nn.Module):
    num_features = NUM_FEATURES

    def forward(self, values: Tensor) -> Tensor:
        return values


@pytest.mark.parametrize("case", CASES)
def test_fid_agrees_with_torchmetrics_to_6_digits(case: str) -> None:
    real, fake = CASES[case]
    theirs = FrechetInceptionDistance(feature=Identity())
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert fid(real, fake) == pytest.approx(theirs.compute().item(), rel=1e-6)  # which is rounded to float32
