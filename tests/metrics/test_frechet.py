"""Fréchet distances: closed forms, batches of any size, what is refused, and what the extrapolation repairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics.features import Features
from gansmith.metrics.frechet import FID, FIDInfinity, IntraClassFID, Moments, frechet_distance
from gansmith.metrics.intervals import bootstrap
from gansmith.metrics.metric import Estimate, MetricInputs


def drawn(num: int, num_features: int, seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed)) * scale + shift


def features(values: Tensor, labels: NDArray[np.int64] | None = None) -> Features:
    return Features(values=values, logits=None, labels=labels, images=np.zeros((len(values), 1, 1, 1), np.uint8))


def comparison(real: Tensor, fake: Tensor, seed: int = 0) -> MetricInputs:
    return MetricInputs(real=features(real), fake=features(fake), seed=seed)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# --- moments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 399, 1000])
def test_moments_are_the_same_in_whatever_batches(size: int) -> None:
    rows = drawn(1000, 8, seed=0, shift=1000)  # far from 0, where sums of squares would lose digits
    whole, batched = Moments.of(rows), Moments.of(rows[:0])
    for batch in rows.split(size):
        batched = batched.add(batch)
    assert batched.count == 1000
    torch.testing.assert_close(batched.mean, whole.mean, rtol=1e-14, atol=0)
    torch.testing.assert_close(batched.covariance, whole.covariance, rtol=0, atol=1e-12)
    other = Moments.of(drawn(300, 8, seed=1, shift=1000))
    assert distance(batched, other) == pytest.approx(distance(whole, other), rel=1e-12)


def distance(one: Moments, other: Moments) -> float:
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def test_moments_merge() -> None:
    rows = drawn(100, 5, seed=0)
    merged, whole = Moments.of(rows[:30]).merge(Moments.of(rows[30:])), Moments.of(rows)
    torch.testing.assert_close(merged.scatter, whole.scatter, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12)
    nothing = Moments.of(rows[:0])
    assert torch.equal(nothing.merge(whole).scatter, whole.scatter)
    assert nothing.merge(nothing).mean.isfinite().all()


def test_the_covariance_is_the_unbiased_one() -> None:
    rows = torch.tensor([[0.0], [2.0]])
    assert Moments.of(rows).covariance.item() == 2  # over n - 1, not 1 over n


# --- the distance of two Gaussians -------------------------------------------------------------------------


def positive_definite(size: int, seed: int) -> Tensor:
    root = torch.randn(size, 2 * size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.T / size


def test_gaussians_on_the_same_axes() -> None:
    mean1, mean2 = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([1.0, 0.0, 3.5]).double()
    cov1, cov2 = torch.tensor([1.0, 4.0, 9.0]).double().diag(), torch.tensor([4.0, 4.0, 0.0]).double().diag()
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx((4 + 0.25) + (1 + 0 + 9), rel=1e-14)


@pytest.mark.parametrize("size", [8, 64, 256])
def test_gaussians_on_any_axes(size: int) -> None:
    # x -> T x with T positive definite is the optimal transport, so S2 = T S1 T gives tr(S1 S2)^½ = tr(S1 T)
    cov, transport, mean = positive_definite(size, 0), positive_definite(size, 1), torch.ones(size).double()
    moved = transport @ cov @ transport
    wanted = float(size + cov.trace() + moved.trace() - 2 * (cov @ transport).trace())
    assert frechet_distance(mean, cov, 0 * mean, moved) == pytest.approx(wanted, rel=1e-13)
    assert frechet_distance(0 * mean, moved, mean, cov) == pytest.approx(wanted, rel=1e-13)


def test_a_gaussian_is_at_no_distance_from_itself() -> None:
    rows = drawn(500, 64, seed=0).relu()
    rows[:, :20] = 0  # features that never fire leave the covariance singular
    moments = Moments.of(rows)
    assert 0 <= distance(moments, moments) < 1e-12


@pytest.mark.parametrize("seed", range(5))  # rounding alone would take most of them below 0
def test_no_distance_is_negative(seed: int) -> None:
    moments = Moments.of(drawn(500, 64, seed))
    assert 0 <= distance(moments, moments) < 1e-12


# --- FID ---------------------------------------------------------------------------------------------------


def test_fid_of_a_set_and_itself_is_0() -> None:
    values = drawn(300, 8, seed=0)
    assert FID().measure(comparison(values, values))["fid"].value < 1e-12


def test_fid_of_a_set_and_the_shifted_set_is_the_shift_squared() -> None:
    values = drawn(300, 8, seed=0).double()
    estimate = FID().measure(comparison(values, values + 0.5))["fid"]
    assert estimate.value == pytest.approx(8 * 0.5**2, rel=1e-12)
    assert estimate.interval == "delta method"


def test_fid_and_its_interval_on_known_gaussians() -> None:
    wanted = 4 * 0.5**2 + 4 * (1 - 1.5) ** 2
    estimates = [
        FID().measure(comparison(drawn(2000, 4, seed), drawn(2000, 4, seed + 100, 1.5, 0.5)))["fid"]
        for seed in range(10)
    ]
    values = [estimate.value for estimate in estimates]
    assert np.mean(values) == pytest.approx(wanted, rel=0.02)
    assert sum(holds(estimate, wanted) for estimate in estimates) >= 9
    widths = [(estimate.high - estimate.low) / 4 for estimate in estimates]
    assert np.mean(widths) == pytest.approx(np.std(values, ddof=1), rel=0.5)


def test_the_interval_is_about_both_sides() -> None:
    def width(num_real: int, num_fake: int) -> float:
        real, fake = drawn(num_real, 4, 0), drawn(num_fake, 4, 1, shift=0.5)
        estimate = FID().measure(comparison(real, fake))["fid"]
        return estimate.high - estimate.low

    assert width(200, 3000) == pytest.approx(width(3000, 200), rel=0.3)
    assert width(3000, 3000) < 0.4 * width(3000, 200)


def test_the_interval_is_what_a_bootstrap_of_many_images_gives() -> None:
    real, fake = drawn(4000, 3, 0), drawn(3000, 3, 1, scale=1.3, shift=0.4)
    estimate = FID().measure(comparison(real, fake))["fid"]

    def again(*counts: NDArray[np.int64]) -> float:
        chosen = [
            side[np.repeat(np.arange(len(side)), count)] for side, count in zip((real, fake), counts, strict=True)
        ]
        return FID().measure(comparison(*chosen))["fid"].value

    error = float(bootstrap(again, [4000, 3000], seed=0, replicates=200))
    assert (estimate.high - estimate.low) / 2 / 1.96 == pytest.approx(error, rel=0.15)


def test_directions_in_which_images_do_not_differ_make_no_trouble() -> None:
    flat = torch.cat([drawn(200, 3, 0), torch.zeros(200, 2)], dim=1)
    estimate = FID().measure(comparison(flat, flat + 0.5))["fid"]
    assert estimate.value == pytest.approx(5 * 0.5**2)
    assert 0 < estimate.high - estimate.low < 1


@pytest.mark.parametrize(("num_real", "num_fake", "whose"), [(9, 8, "generated"), (8, 9, "real")])
def test_fid_needs_more_images_than_features(num_real: int, num_fake: int, whose: str) -> None:
    with pytest.raises(MetricError, match=rf"8 {whose} images are too few .* 8 features; expected at least 9: .* kid"):
        FID().measure(comparison(drawn(num_real, 8, 0), drawn(num_fake, 8, 1)))
    assert FID().measure(comparison(drawn(9, 8, 0), drawn(9, 8, 1)))["fid"].value > 0


# --- FID of endless samples --------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.2, 0.1)])
def test_the_extrapolation_takes_the_bias_away(scale: float, shift: float) -> None:
    wanted = 32 * (shift**2 + (1 - scale) ** 2)
    finite, endless = [], []
    for seed in range(6):
        compared = comparison(drawn(700, 32, seed), drawn(700, 32, seed + 100, scale, shift))
        finite.append(FID().measure(compared)["fid"].value)
        endless.append(FIDInfinity().measure(compared)["fid_infinity"])
    assert min(finite) > wanted + 0.7  # FID is far off
    values = [estimate.value for estimate in endless]
    assert np.mean(values) == pytest.approx(wanted, abs=0.1)
    assert sum(holds(estimate, wanted) for estimate in endless) >= 5
    assert endless[0].note == "extrapolated from 1 to 10 parts"


def test_the_order_of_the_images_makes_no_difference_beyond_chance() -> None:
    sorted_real, _ = drawn(600, 2, 0).sort(dim=0)
    sorted_fake, _ = drawn(600, 2, 1).sort(dim=0)
    estimate = FIDInfinity().measure(comparison(sorted_real, sorted_fake))["fid_infinity"]
    reversed_ = FIDInfinity().measure(comparison(sorted_real, sorted_fake.flip(0)))["fid_infinity"]
    assert estimate.value == pytest.approx(reversed_.value, abs=0.02)
    assert holds(estimate, FID().measure(comparison(sorted_real, sorted_fake))["fid"].value)


def test_the_extrapolation_needs_four_images_a_feature() -> None:
    with pytest.raises(MetricError, match=r"31 generated images are too few .* expected at least 32"):
        FIDInfinity().measure(comparison(drawn(40, 8, 0), drawn(31, 8, 1)))
    estimate = FIDInfinity().measure(comparison(drawn(40, 8, 0), drawn(32, 8, 1)))["fid_infinity"]
    assert estimate.note == "extrapolated from 1 to 2 parts"


# --- FID within classes ------------------------------------------------------------------------------------

NAMES = ("stop", "yield", "go", "turn")


def classes(sizes: tuple[int, ...], shifts: tuple[float, ...], seed: int) -> Features:
    parts = [drawn(size, 4, seed + i, shift=shift) for i, (size, shift) in enumerate(zip(sizes, shifts, strict=True))]
    return features(torch.cat(parts), np.repeat(np.arange(len(sizes)), sizes))


def test_the_mean_of_the_classes_distances() -> None:
    real = classes((50, 40, 30, 20), (0, 1, 2, 3), seed=0)
    assert real.labels is not None
    shift = torch.tensor([0.0, 0.5, 1.0, 1.5])[torch.from_numpy(real.labels)]
    fake = features(real.values + shift[:, None], real.labels)
    estimate = IntraClassFID().measure(MetricInputs(real=real, fake=fake, class_names=NAMES))["intra_fid"]
    assert estimate.value == pytest.approx(4 * np.mean([0, 0.25, 1, 2.25]), rel=1e-5)
    assert estimate.note == "4 of 4 classes"
    assert estimate.interval == "delta method"


def test_swapped_classes_are_seen_within_them_alone() -> None:
    real, fake = classes((400, 400), (0, 3), seed=0), classes((400, 400), (3, 0), seed=10)
    compared = MetricInputs(real=real, fake=fake, class_names=NAMES[:2])
    assert FID().measure(compared)["fid"].value < 0.2
    estimate = IntraClassFID().measure(compared)["intra_fid"]
    assert holds(estimate, 4 * 3**2)


def test_its_interval_is_that_of_a_mean() -> None:
    wanted, values, widths = 4 * 1.0, [], []
    for seed in range(8):
        real = classes((500,) * 4, (0, 1, 2, 3), seed=100 * seed)
        fake = classes((500,) * 4, (1, 2, 3, 4), seed=100 * seed + 50)
        estimate = IntraClassFID().measure(MetricInputs(real=real, fake=fake))["intra_fid"]
        values.append(estimate.value)
        widths.append((estimate.high - estimate.low) / 4)
    assert np.mean(values) == pytest.approx(wanted, rel=0.03)
    assert np.mean(widths) == pytest.approx(np.std(values, ddof=1), rel=0.5)


def test_classes_with_too_few_images_are_left_out_and_named() -> None:
    real, fake = classes((50, 4, 50, 50), (0, 0, 0, 0), seed=0), classes((50, 50, 50, 0), (0, 0, 0, 0), seed=9)
    estimate = IntraClassFID().measure(MetricInputs(real=real, fake=fake, class_names=NAMES))["intra_fid"]
    assert estimate.note == "2 of 4 classes; too few images of yield, turn"
    few = classes((50, 4, 4, 5), (0, 0, 0, 0), seed=9)
    with pytest.raises(MetricError, match=r"2 of 5 classes; .* of yield, go, left; expected more than 4 real and"):
        IntraClassFID().measure(MetricInputs(real=real, fake=few, class_names=(*NAMES, "left")))


def test_without_labels_there_are_no_classes() -> None:
    labelled, bare = classes((50, 50), (0, 0), seed=0), features(drawn(100, 4, 0))
    for real, fake, whose in ((bare, labelled, "real"), (labelled, bare, "generated")):
        with pytest.raises(MetricError, match=f"^needs labels: the {whose} images have none; "):
            IntraClassFID().measure(MetricInputs(real=real, fake=fake))
