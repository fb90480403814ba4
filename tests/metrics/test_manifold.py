"""Neighbours found exactly; precision, recall, density and coverage by hand, on collapse, outliers and copies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.errors import MetricError
from gansmith.metrics import manifold
from gansmith.metrics.features import Features
from gansmith.metrics.manifold import DensityCoverage, PrecisionRecall, find_nearest, squared_distances
from gansmith.metrics.metric import Metric, MetricInputs


def drawn(num: int, num_features: int, seed: int, scale: float = 1.0, offset: float = 0.0) -> Tensor:
    return torch.randn(num, num_features, generator=torch.Generator().manual_seed(seed)) * scale + offset


def comparison(real: Tensor, fake: Tensor) -> MetricInputs:
    sides = [
        Features(values=values, logits=None, labels=None, images=np.zeros((len(values), 1, 1, 1), np.uint8))
        for values in (real, fake)
    ]
    return MetricInputs(real=sides[0], fake=sides[1])


def figures(metric: Metric, real: Tensor, fake: Tensor) -> dict[str, float]:
    return {name: estimate.value for name, estimate in metric.measure(comparison(real, fake)).items()}


def on_a_line(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[:, None]


# --- neighbours --------------------------------------------------------------------------------------------


def test_neighbours_by_hand_nearest_first() -> None:
    distances, numbers = find_nearest(on_a_line(0, 10), on_a_line(9, 1, 4, -3), 2)
    assert distances.tolist() == [[1, 3], [1, 6]] and distances.dtype == torch.float64
    assert numbers.tolist() == [[1, 3], [0, 2]]


def test_nothing_is_its_own_neighbour_but_its_copy_is() -> None:
    points = on_a_line(5, 5, 8)
    distances, numbers = find_nearest(points, points, 1, among_themselves=True)
    assert distances[:, 0].tolist() == [0, 0, 3]
    assert numbers[:2, 0].tolist() == [1, 0]


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
def test_an_exact_copy_is_at_distance_0_wherever_it_lies(offset: float) -> None:
    points = drawn(500, 64, 0, offset=offset)
    which = torch.arange(0, 500, 7)
    distances, numbers = find_nearest(points[which], points, 1)
    assert (distances == 0).all()
    assert (points[numbers[:, 0]] == points[which]).all()


def test_near_duplicates_keep_their_digits() -> None:
    """Squares of float32 products would lose all of a distance of a millionth of the norm."""
    points = drawn(200, 64, 0, offset=3)
    near = points.clone()
    near[:, 5] += 2e-5
    distances, numbers = find_nearest(near, points, 1)
    assert numbers[:, 0].tolist() == list(range(200))
    exact = (near.double() - points.double()).norm(dim=1)
    torch.testing.assert_close(distances[:, 0], exact, rtol=1e-14, atol=0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points, queries = drawn(150, 6, 0), drawn(90, 6, 1)
    alone = find_nearest(points, points, 3, among_themselves=True), find_nearest(queries, points, 3)
    before = figures(PrecisionRecall(), points, queries), figures(DensityCoverage(), points, queries)
    for block in (1, 1000):
        monkeypatch.setattr(manifold, "BLOCK", block)
        again = find_nearest(points, points, 3, among_themselves=True), find_nearest(queries, points, 3)
        for (mine, numbers), (theirs, wanted) in zip(again, alone, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=0)
            assert torch.equal(numbers, wanted)
        assert (figures(PrecisionRecall(), points, queries), figures(DensityCoverage(), points, queries)) == before


def test_squared_distances_come_in_the_order_of_the_queries() -> None:
    blocks = list(squared_distances(drawn(3000, 2, 0), drawn(5000, 2, 1)))
    assert [start for start, _ in blocks] == np.cumsum([0, *(len(block) for _, block in blocks[:-1])]).tolist()
    assert sum(len(block) for _, block in blocks) == 3000 and len(blocks) > 1


def test_a_block_holds_32_mib_at_most_and_gives_its_place_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    assert manifold.BLOCK * 8 == 32 * 2**20
    for size, num in ((1, 1), (25, 3)):
        monkeypatch.setattr(manifold, "BLOCK", size)
        blocks = list(squared_distances(drawn(9, 2, 0), drawn(8, 2, 1)))
        assert [len(block) for _, block in blocks] == [num] * (9 // num)
        assert len({block.data_ptr() for _, block in blocks}) == 1


def test_distances_keep_their_digits_wherever_the_points_lie() -> None:
    """In each direction at another place, so that no one number lies in the middle."""
    offset = 1e6 * torch.tensor([1.0, -1.0, 3.0, 0.0], dtype=torch.float64)
    queries, points = drawn(20, 4, 0).double() + offset, drawn(30, 4, 1).double() + offset
    ((_, found),) = squared_distances(queries, points)
    torch.testing.assert_close(found, (queries[:, None] - points).square().sum(dim=2), rtol=1e-7, atol=1e-7)


# --- precision and recall ----------------------------------------------------------------------------------


def test_precision_and_recall_by_hand() -> None:
    real, fake = on_a_line(0, 1, 2, 10), on_a_line(1.5, 2.9, 30)  # radii of the nearest: 1 1 1 8 and 1.4 1.4 27.1
    found = figures(PrecisionRecall(neighbours=1), real, fake)
    assert found == {"precision": 2 / 3, "recall": 3 / 4}  # 30 is on no ball; 0 is 1.5 from 1.5, others are reached


def test_collapsed_samples_have_high_precision_and_low_recall() -> None:
    real = drawn(1000, 8, 0)
    fake = real[:1] + drawn(1000, 8, 1, scale=0.01)
    found = figures(PrecisionRecall(), real, fake)
    assert found["precision"] > 0.99 and found["recall"] < 0.01


def test_samples_all_over_the_place_have_low_precision_and_high_recall() -> None:
    found = figures(PrecisionRecall(), drawn(1000, 8, 0), drawn(1000, 8, 1, scale=4))
    assert found["precision"] < 0.05 and found["recall"] > 0.95


def test_exchanging_real_and_fake_exchanges_precision_and_recall() -> None:
    real, fake = drawn(300, 6, 0), drawn(400, 6, 1, scale=1.3)
    there, back = figures(PrecisionRecall(), real, fake), figures(PrecisionRecall(), fake, real)
    assert (there["precision"], there["recall"]) == (back["recall"], back["precision"])
    assert there["precision"] != there["recall"]


def test_of_one_kind_both_are_equal_but_for_chance() -> None:
    found = figures(PrecisionRecall(), drawn(2000, 4, 0), drawn(2000, 4, 1))
    assert found["precision"] == pytest.approx(found["recall"], abs=0.02)


def test_the_intervals_are_those_of_shares_of_images() -> None:
    found = PrecisionRecall().measure(comparison(drawn(300, 8, 0), drawn(100, 8, 1)))
    for name, of, num in (("precision", "real", 100), ("recall", "generated", 300)):
        share = found[name].value
        assert (found[name].interval, found[name].note) == ("Wilson", f"given the manifold of the {of} images")
        width = 2 * 1.96 * math.sqrt(share * (1 - share) / num)
        assert found[name].high - found[name].low == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_a_ball_without_extent_still_holds_copies(offset: float) -> None:
    """Where real images come in fours, the third neighbour is at distance 0."""
    real = drawn(50, 16, 0, offset=offset).repeat_interleave(4, dim=0)
    fake = torch.cat([real[::4], drawn(50, 16, 1, offset=offset + 50)])
    assert figures(PrecisionRecall(), real, fake)["precision"] == 0.5
    assert figures(DensityCoverage(neighbours=3), real, fake)["coverage"] == 1


def test_a_ball_ends_at_its_neighbour_wherever_the_points_lie() -> None:
    real = 1e6 * torch.tensor([[1.0, -1.0]], dtype=torch.float64) + torch.arange(5.0, dtype=torch.float64)[:, None]
    outside, inside = real[-1:] + 1.001, real[-1:] + 0.999
    for fake, wanted in ((outside, 0), (inside, 1)):
        found = figures(PrecisionRecall(neighbours=1), real, torch.cat([fake, fake + 1e-9]))
        assert found["precision"] == wanted


def test_copies_of_large_features_lie_in_balls_without_extent() -> None:
    """Products leave a small part of the norms' squares where the distance is 0."""
    real = drawn(50, 16, 0, scale=1e4).repeat_interleave(4, dim=0)
    assert figures(PrecisionRecall(), real, real[::4])["precision"] == 1


def test_a_set_of_one_image_holds_that_image() -> None:
    one = torch.full((5, 3), 2.0)
    assert figures(PrecisionRecall(), one, one) == {"precision": 1, "recall": 1}


# --- density and coverage ----------------------------------------------------------------------------------


def test_density_and_coverage_by_hand() -> None:
    real, fake = on_a_line(0, 1, 3, 10), on_a_line(0.5, 1.5, 40)  # radii of the second: 3 2 3 9
    found = figures(DensityCoverage(neighbours=2), real, fake)
    assert found["density"] == pytest.approx((3 + 4 + 0) / (2 * 3))
    assert found["coverage"] == 1
    assert figures(DensityCoverage(neighbours=2), real, on_a_line(-2, -2.5, -3))["coverage"] == 1 / 4


def test_the_intervals_of_density_and_coverage() -> None:
    """Density's error is that of a mean over generated images, which the bootstrap estimates."""
    real, fake = drawn(300, 8, 0), drawn(100, 8, 1)
    found = DensityCoverage().measure(comparison(real, fake))
    inside = (
        torch.cdist(fake.double(), real.double()) <= torch.cdist(real.double(), real.double()).sort(dim=1).values[:, 5]
    )
    each = inside.sum(dim=1).double() / 5
    density, coverage = found["density"], found["coverage"]
    assert density.value == pytest.approx(each.mean().item())
    reach = 1.96 * each.std().item() / 10
    assert density.high - density.value == pytest.approx(reach, rel=0.15)
    assert density.value - density.low == pytest.approx(density.high - density.value)
    note = "given the manifold of the real images"
    assert (density.interval, density.note) == ("bootstrap of 200", note)
    assert (coverage.interval, coverage.note) == ("Wilson", note)
    again = DensityCoverage().measure(
        MetricInputs(real=comparison(real, fake).real, fake=comparison(real, fake).fake, seed=1)
    )
    assert again["density"].high != density.high and again["density"].value == density.value


def test_density_is_never_below_0() -> None:
    fake = torch.cat([drawn(2, 8, 1), drawn(98, 8, 1, offset=50)])
    density = DensityCoverage().measure(comparison(drawn(300, 8, 0), fake))["density"]
    assert density.low == 0 < density.value < density.high


def test_identical_sets_are_covered_wholly() -> None:
    real = drawn(400, 8, 0)
    found = figures(DensityCoverage(), real, real.clone())
    assert found["coverage"] == 1
    assert found["density"] == pytest.approx(1 + 1 / 5)  # each image lies in its own ball and, on average, 5 others


def test_an_outlier_spoils_precision_but_not_density() -> None:
    real = torch.cat([drawn(500, 8, 0), torch.full((1, 8), 30.0)])  # whose ball reaches to the others
    fake = drawn(500, 8, 1, offset=15)
    assert figures(PrecisionRecall(), real, fake)["precision"] == 1
    assert figures(DensityCoverage(neighbours=3), real, fake)["density"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_coverage_of_one_kind_is_that_of_the_closed_form(k: int) -> None:
    """With n images each: 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)) (Naeem et al. 2020, lemma 2)."""
    n = 1500
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    found = figures(DensityCoverage(neighbours=k), drawn(n, 16, 0), drawn(n, 16, 1))
    assert found["coverage"] == pytest.approx(expected, abs=0.03)
    assert found["density"] == pytest.approx(1, abs=0.1)


# --- too few -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "needed"), [(PrecisionRecall(), 4), (DensityCoverage(), 6)])
def test_too_few_images_are_one_clear_line(metric: Metric, needed: int) -> None:
    enough, few = drawn(needed, 2, 0), drawn(needed - 1, 2, 1)
    metric.measure(comparison(enough, enough + 1))
    for kind, real, fake in (("real", few, enough), ("generated", enough, few)):
        with pytest.raises(MetricError, match=rf"{needed - 1} {kind} images are too few .* at least {needed}: "):
            metric.measure(comparison(real, fake))
