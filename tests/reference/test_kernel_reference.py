"""KID against scikit-learn and torchmetrics, to the digits that docs/explain/precision.md promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from gansmith.metrics.kernel import kernel_distance

NUM_FEATURES = 64


def rectified(num: int, seed: int, shift: float = 0.0, offset: float = 0.0) -> Tensor:
    values = torch.randn(num, NUM_FEATURES, generator=torch.Generator().manual_seed(seed))
    return (values + shift).relu() + offset


CASES = {
    "shifted": (rectified(600, 1), rectified(600, 2, shift=0.1)),
    "of one kind": (rectified(1500, 1), rectified(1500, 2)),
    "far from 0": (rectified(600, 1, offset=5), rectified(600, 2, shift=0.1, offset=5)),
    "unequal numbers": (rectified(600, 1), rectified(300, 2, shift=0.1)),
}


def wanted(real: Tensor, fake: Tensor) -> float:
    """The mean of scikit-learn's kernel over different pairs of each side, less twice that over mixed ones."""
    among_real, among_fake, mixed = (
        polynomial_kernel(one.double().numpy(), other.double().numpy(), degree=3, gamma=1 / NUM_FEATURES, coef0=1)
        for one, other in ((real, real), (fake, fake), (real, fake))
    )
    different = [kernel[~np.eye(len(kernel), dtype=bool)].mean() for kernel in (among_real, among_fake)]
    return float(sum(different) - 2 * mixed.mean())


@pytest.mark.parametrize("case", CASES)
def test_kid_agrees_with_scikit_learn_to_11_digits(case: str) -> None:
    real, fake = CASES[case]
    assert kernel_distance(real.double(), fake.double())[0] == pytest.approx(wanted(real, fake), rel=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_products_in_float32_cost_a_small_part_of_the_standard_error(case: str) -> None:
    real, fake = CASES[case]
    value, error = kernel_distance(real, fake)
    assert abs(value - wanted(real, fake)) < error * (1e-4 if case == "far from 0" else 1e-7)


class Identity(nn.Module):
    num_features = NUM_FEATURES

    def forward(self, values: Tensor) -> Tensor:
        return values


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save all:UserWarning")
@pytest.mark.parametrize("case", [case for case in CASES if case != "unequal numbers"])
def test_kid_agrees_with_torchmetrics_to_10_digits(case: str) -> None:
    real, fake = (side.double() for side in CASES[case])
    theirs = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=len(real)).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert kernel_distance(real, fake)[0] == pytest.approx(theirs.compute()[0].item(), rel=1e-10)
