"""Every metric: its figures and no others, inside their intervals, the same again and in whatever order images come."""

from __future__ import annotations

import dataclasses
import functools
import json
import math

import numpy as np
import pytest
import torch

from gansmith.component import from_plain, member, to_plain
from gansmith.errors import MetricError
from gansmith.metrics import METRICS
from gansmith.metrics.features import Features
from gansmith.metrics.metric import Estimate, Metric, MetricInputs

CLASSES = 4
FEATURES = 6
PARTS_AT_RANDOM = {"fid-infinity", "inception-score"}  # which parts images fall into changes their figures a little
OF_ONE_IMAGE = {"label-fidelity"}  # a share, with an interval from 0.2 to 1


@pytest.fixture(params=METRICS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def metric(name: str) -> Metric:
    return member(Metric, name, "metric")()


def features(num: int, seed: int, shift: float = 0.0) -> Features:
    """What an ordinary classifier makes of ordinary images: rectified features, logits that see most classes right."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, num)
    images = draw.integers(0, 120, (num, 16, 18, 3)) + 40 * labels[:, None, None, None]
    centres = np.random.default_rng(99).normal(0, 1, (CLASSES, FEATURES))
    values = np.maximum(centres[labels] + draw.normal(shift, 1, (num, FEATURES)), -1)
    logits = 3 * np.eye(CLASSES)[labels] + draw.normal(0, 1, (num, CLASSES))
    return Features(
        values=torch.from_numpy(values).float(),
        logits=torch.from_numpy(logits).float(),
        labels=labels,
        images=images.astype(np.uint8),
    )


@functools.cache
def ordinary() -> MetricInputs:
    return MetricInputs(
        real=features(400, 0),
        fake=features(400, 1, shift=0.3),
        training=features(600, 2),
        held_out=features(60, 3),
        class_names=("stop", "yield", "go", "turn"),
        seed=5,
    )


@functools.cache
def measured(metric: Metric) -> dict[str, Estimate]:
    """What a metric finds in them."""
    return metric.measure(ordinary())


def of(part: Features, which: np.ndarray) -> Features:  # type: ignore[type-arg]
    """Some of the images, in another order."""
    assert part.logits is not None and part.labels is not None
    return Features(
        values=part.values[which], logits=part.logits[which], labels=part.labels[which], images=part.images[which]
    )


def values(found: dict[str, Estimate]) -> dict[str, float]:
    return {figure: estimate.value for figure, estimate in found.items()}


def test_its_figures_are_those_that_it_names(metric: Metric) -> None:
    assert list(measured(metric)) == list(metric.quantities)
    assert all(quantity.title for quantity in metric.quantities.values())


def test_no_two_metrics_have_a_figure_of_one_name() -> None:
    figures = [figure for name in METRICS for figure in member(Metric, name, "metric").quantities]
    assert len(figures) == len(set(figures))


def test_a_figure_is_a_number_inside_its_interval(metric: Metric) -> None:
    for estimate in measured(metric).values():
        assert all(map(math.isfinite, (estimate.value, estimate.low, estimate.high)))
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.interval and "\n" not in estimate.interval + estimate.note
        assert json.loads(json.dumps(estimate.to_plain())) == estimate.to_plain()


def test_the_same_seed_gives_the_same_figures(metric: Metric) -> None:
    assert metric.measure(ordinary()) == measured(metric)


def test_another_seed_gives_much_the_same_figures(metric: Metric) -> None:
    found, again = measured(metric), metric.measure(dataclasses.replace(ordinary(), seed=1))
    for figure, estimate in found.items():
        reach = estimate.high - estimate.low
        assert estimate.low - reach <= again[figure].value <= estimate.high + reach


def test_the_images_order_changes_nothing_but_rounding(name: str, metric: Metric) -> None:
    draw, before = np.random.default_rng(7), measured(metric)
    parts = {
        part: of(getattr(ordinary(), part), draw.permutation(len(getattr(ordinary(), part))))
        for part in ("real", "fake", "training", "held_out")
    }
    after = values(metric.measure(dataclasses.replace(ordinary(), **parts)))
    if name not in PARTS_AT_RANDOM:
        assert after == pytest.approx(values(before), rel=1e-4)
    assert all(before[figure].low <= after[figure] <= before[figure].high for figure in after)


def test_nothing_that_it_was_given_is_changed(metric: Metric) -> None:
    comparison = ordinary()
    copies = {part: getattr(comparison, part).values.clone() for part in ("real", "fake", "training", "held_out")}
    metric.measure(comparison)
    assert all(torch.equal(getattr(comparison, part).values, copy) for part, copy in copies.items())


@pytest.mark.parametrize("part", ["real", "fake"])
def test_too_few_images_are_one_clear_line_not_a_number(name: str, metric: Metric, part: str) -> None:
    one = of(getattr(ordinary(), part), np.arange(1))
    few = dataclasses.replace(ordinary(), **{part: one})
    try:
        found = metric.measure(few)
    except MetricError as error:
        assert "\n" not in str(error) and ("expected" in str(error) or "choose" in str(error))
        return
    needless = {"real": {"inception-score", "memorisation"} | OF_ONE_IMAGE, "fake": OF_ONE_IMAGE | {"classes"}}
    assert name in needless[part]
    assert all(math.isfinite(estimate.value) for estimate in found.values())


def test_without_training_or_held_out_images_only_those_that_need_them_fail(metric: Metric) -> None:
    for part in ("training", "held_out"):
        missing = dataclasses.replace(ordinary(), **{part: None})
        if metric.needs_training:
            with pytest.raises(MetricError, match="needs"):
                metric.measure(missing)
        else:
            assert values(metric.measure(missing)) == values(measured(metric))


def test_it_reads_images_only_if_it_says_that_it_needs_them(name: str, metric: Metric) -> None:
    parts = ("real", "fake", "training", "held_out")
    bare = {part: dataclasses.replace(getattr(ordinary(), part), images=None) for part in parts}
    if name in {"sliced-wasserstein", "memorisation"}:
        with pytest.raises(MetricError, match="needs images: only features were given"):
            metric.measure(dataclasses.replace(ordinary(), **bare))
    else:
        assert metric.measure(dataclasses.replace(ordinary(), **bare)) == measured(metric)


def test_it_reads_features_only_if_it_says_that_it_needs_them(name: str, metric: Metric) -> None:
    assert metric.needs_features == (name != "sliced-wasserstein")
    if not metric.needs_features:
        sides = {part: getattr(ordinary(), part) for part in ("real", "fake")}
        empty = {part: dataclasses.replace(side, values=torch.empty(len(side), 0)) for part, side in sides.items()}
        assert metric.measure(dataclasses.replace(ordinary(), **empty)) == measured(metric)


def test_it_can_be_written_down_and_read_back(name: str, metric: Metric) -> None:
    assert from_plain(Metric, to_plain(metric), "metric") == metric
    assert to_plain(metric)["name"] == name
