"""FID against SciPy and torchmetrics, to the digits that docs/explain/precision.md promises."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from gansmith.metrics.features import Features
from gansmith.metrics.frechet import FID, FIDInfinity, IntraClassFID, Moments, _influence, frechet_distance
from gansmith.metrics.metric import MetricInputs

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


# --- parts, classes and errors, in NumPy and SciPy ---------------------------------------------------------


def drawn(num: int, num_features: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    mix = torch.randn(num_features, num_features, generator=torch.Generator().manual_seed(77)) / num_features**0.5
    values = torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed)).double()
    return values @ (torch.eye(num_features) + scale * mix).double() + shift


def plain_distance(real: np.ndarray, fake: np.ndarray) -> float:  # type: ignore[type-arg]
    covariances = [np.cov(side, rowvar=False) for side in (real, fake)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    return float(np.square(real.mean(0) - fake.mean(0)).sum() + np.trace(sum(covariances) - 2 * root))


def sides(real: Tensor, fake: Tensor, labels: Mapping[str, np.ndarray] = MappingProxyType({})) -> MetricInputs:  # type: ignore[type-arg]
    made = [
        Features(values=values, logits=None, labels=labels.get(name), images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for name, values in (("real", real), ("fake", fake))
    ]
    return MetricInputs(real=made[0], fake=made[1], seed=11)


@pytest.mark.parametrize(("num_real", "num_fake", "most"), [(47, 60, 5), (90, 64, 8), (400, 300, 10)])
def test_the_extrapolation_is_a_line_through_the_means_of_parts(num_real: int, num_fake: int, most: int) -> None:
    real, fake = drawn(num_real, 4, 1), drawn(num_fake, 4, 2, scale=1.5, shift=0.2)
    rows = [side.numpy()[np.random.default_rng(seed).permutation(len(side))] for side, seed in ((real, 11), (fake, 12))]
    means = [
        np.mean([plain_distance(*pair) for pair in zip(*(np.array_split(side, k) for side in rows), strict=True)])
        for k in range(1, most + 1)
    ]
    slope = np.cov(np.arange(1, most + 1), means)[0, 1] / np.var(np.arange(1, most + 1), ddof=1)
    wanted = np.mean(means) - slope * (most + 1) / 2
    found = FIDInfinity().measure(sides(real, fake))["fid_infinity"]
    assert found.value == pytest.approx(wanted, rel=1e-9)
    assert (found.interval, found.note) == ("delta method", f"extrapolated from 1 to {most} parts")


def test_the_distance_within_classes_is_the_mean_of_theirs_and_of_their_errors() -> None:
    draw = np.random.default_rng(0)
    labels = {"real": draw.integers(0, 3, 240), "fake": draw.integers(0, 3, 300)}
    real, fake = drawn(240, 3, 1), drawn(300, 3, 2, scale=1.2, shift=0.3)
    found = IntraClassFID().measure(sides(real, fake, labels))["intra_fid"]
    values, errors = [], []
    for label in range(3):
        pair = [side[torch.from_numpy(labels[name] == label)] for name, side in (("real", real), ("fake", fake))]
        values.append(plain_distance(*(side.numpy() for side in pair)))
        alone = FID().measure(sides(*pair))["fid"]
        errors.append((alone.high - alone.value) / 1.959963984540054)
    assert found.value == pytest.approx(np.mean(values), rel=1e-9)
    assert found.high - found.value == pytest.approx(1.959963984540054 * np.sqrt(np.square(errors).sum()) / 3, rel=1e-6)
    assert found.note == "3 of 3 classes"


def test_intervals_end_at_0_but_for_the_extrapolated_one() -> None:
    labels = {"real": np.arange(40) % 2, "fake": np.arange(40) % 2}
    near = sides(drawn(40, 2, 1), drawn(40, 2, 1) + 1e-3, labels)
    for metric, name in ((FID(), "fid"), (IntraClassFID(), "intra_fid")):
        found = metric.measure(near)[name]
        assert found.low == 0 < found.value < found.high
    assert FIDInfinity().measure(sides(drawn(200, 2, 1), drawn(200, 2, 2)))["fid_infinity"].low < 0


def test_an_images_influence_is_the_slope_of_the_distance_in_its_weight() -> None:
    """The mean moves towards the image, and the covariance by the square of its distance from the mean."""
    rows, other = drawn(30, 4, 1), Moments.of(drawn(50, 4, 2, scale=2.0, shift=0.4))
    mean, cov, cov2 = rows.numpy().mean(0), np.cov(rows.numpy(), rowvar=False), other.covariance.numpy()

    def distance(moved: np.ndarray, step: float) -> float:  # type: ignore[type-arg]
        changed = cov + step * np.outer(moved, moved)
        root = sqrtm(changed @ cov2).real
        return float(np.square(mean + step * moved - other.mean.numpy()).sum() + np.trace(changed + cov2 - 2 * root))

    wanted = [(distance(row - mean, 1e-5) - distance(row - mean, -1e-5)) / 2e-5 for row in rows.numpy()]
    np.testing.assert_allclose(_influence(rows, Moments.of(rows), other).numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_the_error_is_that_of_the_influences_of_both_sides() -> None:
    real, fake = drawn(60, 3, 1), drawn(45, 3, 2, scale=1.4, shift=0.3)
    one, other = Moments.of(real), Moments.of(fake)
    variance = _influence(real, one, other).var() / 60 + _influence(fake, other, one).var() / 45
    found = FID().measure(sides(real, fake))["fid"]
    assert found.high - found.value == pytest.approx(1.959963984540054 * float(variance) ** 0.5, rel=1e-9)


def test_directions_without_a_spread_do_not_count_in_the_influence() -> None:
    """Images in 6 of 24 directions, turned: as if the others were not there."""
    turn, _ = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64))
    flat, fake = drawn(80, 6, 1), drawn(300, 24, 2, shift=0.2)
    rows, other = flat @ turn[:6], Moments.of(fake)
    found = _influence(rows, Moments.of(rows), other)
    cov, inner = np.cov(flat.numpy(), rowvar=False), (turn[:6] @ other.covariance @ turn[:6].T).numpy()
    half = sqrtm(cov).real
    transport = np.linalg.inv(half) @ sqrtm(half @ inner @ half).real @ np.linalg.inv(half)
    apart = flat.numpy() - flat.numpy().mean(0)
    shift = 2 * apart @ (turn[:6] @ (rows.mean(0) - other.mean)).numpy()
    wanted = np.square(apart).sum(1) - np.einsum("ni,ij,nj->n", apart, transport, apart) + shift
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6, atol=1e-6)


def test_images_that_are_all_one_have_no_error_of_their_own() -> None:
    one = torch.full((9, 3), 2.0)
    assert _influence(one, Moments.of(one), Moments.of(drawn(50, 3, 1))).abs().max() == 0


def test_no_rows_are_zeros_in_float64() -> None:
    nothing = Moments.of(torch.zeros(0, 3))
    assert (nothing.count, nothing.mean.dtype, nothing.scatter.dtype) == (0, torch.float64, torch.float64)
    elsewhere = Moments.of(torch.zeros(4, 3, device="meta"))
    assert elsewhere.mean.is_meta and elsewhere.scatter.is_meta
    one = Moments.of(torch.tensor([[2.0, 3.0]]))
    assert (one.count, one.mean.tolist(), one.scatter.tolist()) == (1, [2.0, 3.0], [[0.0, 0.0], [0.0, 0.0]])
