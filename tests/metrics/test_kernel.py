"""The kernel distance: closed forms, no bias, blocks that make no difference, and an interval that holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics import kernel
from gansmith.metrics.features import Features
from gansmith.metrics.kernel import KID, kernel_distance
from gansmith.metrics.metric import MetricInputs


def drawn(num: int, num_features: int, seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed)) * scale


def comparison(real: Tensor, fake: Tensor) -> MetricInputs:
    sides = [
        Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for values in (real, fake)
    ]
    return MetricInputs(real=sides[0], fake=sides[1])


def test_two_images_against_two_by_hand() -> None:
    real, fake = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[2.0, 2.0], [4.0, 0.0]])
    among_real = (0 / 2 + 1) ** 3
    among_fake = (8 / 2 + 1) ** 3
    mixed = ((2 / 2 + 1) ** 3 + (4 / 2 + 1) ** 3 + (4 / 2 + 1) ** 3 + (0 / 2 + 1) ** 3) / 4
    value, error = kernel_distance(real, fake)
    assert value == pytest.approx(among_real + among_fake - 2 * mixed, rel=1e-14)
    terms_real = among_real - np.array([(8 + 27) / 2, (27 + 1) / 2])
    terms_fake = among_fake - np.array([(8 + 27) / 2, (27 + 1) / 2])
    assert error == pytest.approx(np.sqrt(4 * terms_real.var(ddof=1) / 2 + 4 * terms_fake.var(ddof=1) / 2))


def test_no_bias_and_an_interval_that_holds_on_known_gaussians() -> None:
    # without means only the square of x·y/d counts: MMD² = 3 |S1 - S2|² / d²
    for scale, wanted in ((1.0, 0.0), (1.3, 3 / 4 * (1.3**2 - 1) ** 2)):
        found = [
            KID().measure(comparison(drawn(150, 4, seed), drawn(100, 4, seed + 500, scale)))["kid"]
            for seed in range(60)
        ]
        values = np.array([estimate.value for estimate in found])
        assert abs(values.mean() - wanted) < 3 * values.std(ddof=1) / np.sqrt(60)
        assert sum(estimate.low <= wanted <= estimate.high for estimate in found) >= 54
        widths = [(estimate.high - estimate.low) / 3.92 for estimate in found]
        assert 0.8 < np.median(widths) / values.std(ddof=1) < 1.8


def test_an_image_is_not_paired_with_itself() -> None:
    values = drawn(50, 4, 0)
    assert kernel_distance(values, values)[0] < 0  # with the diagonal it would be 0


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = drawn(70, 8, 0).double(), drawn(45, 8, 1, 1.5).double()
    whole = kernel_distance(real, fake)
    for size in (1, 7, 45, 64):
        monkeypatch.setattr(kernel, "BLOCK", size)
        assert kernel_distance(real, fake) == pytest.approx(whole, rel=1e-12)


def test_the_sides_may_be_swapped() -> None:
    real, fake = drawn(70, 8, 0), drawn(45, 8, 1, 1.5)
    assert kernel_distance(real, fake) == pytest.approx(kernel_distance(fake, real), rel=1e-6)


def test_one_image_cannot_be_paired() -> None:
    assert KID().measure(comparison(drawn(2, 4, 0), drawn(2, 4, 1)))["kid"].interval == "asymptotic variance"
    for real, fake, whose in ((1, 2, "real"), (2, 1, "generated")):
        with pytest.raises(MetricError, match=f"1 {whose} image has no pair; expected at least 2"):
            KID().measure(comparison(drawn(real, 4, 0), drawn(fake, 4, 1)))
