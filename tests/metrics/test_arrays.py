"""Metrics of two arrays: the values of an evaluation, features alone where images are not read, clear mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gansmith.errors import ConfigError, MetricError
from gansmith.metrics import density_coverage, fid, kid, measure_arrays, precision_recall
from gansmith.metrics.features import Features
from gansmith.metrics.frechet import FID
from gansmith.metrics.metric import MetricInputs
from gansmith.metrics.random_conv import RandomConv

DRAW = np.random.default_rng(0)
REAL = DRAW.normal(0, 1, (300, 5))
FAKE = DRAW.normal(0.5, 1, (250, 5))
PICTURES = DRAW.integers(0, 256, (90, 16, 16, 3), np.uint8)
OTHERS = DRAW.integers(0, 200, (80, 16, 16, 3), np.uint8)


def test_arrays_and_tensors_of_features_are_measured_as_they_are() -> None:
    sides = {"real": Features(values=torch.from_numpy(REAL)), "fake": Features(values=torch.from_numpy(FAKE))}
    wanted = FID().measure(MetricInputs(**sides))["fid"]
    assert fid(REAL, FAKE) == fid(torch.from_numpy(REAL), torch.from_numpy(FAKE)) == wanted
    assert wanted.low <= wanted.value <= wanted.high


def test_images_are_measured_through_an_extractor_by_name_or_value() -> None:
    by_name = fid(PICTURES, OTHERS, extractor="random-conv")
    assert by_name == fid(PICTURES, OTHERS, extractor=RandomConv())
    assert by_name != fid(PICTURES, OTHERS, extractor=RandomConv(num_features=8))
    assert fid(PICTURES, PICTURES, extractor="random-conv").value == pytest.approx(0, abs=1e-9)


def test_without_a_name_the_extractor_is_the_one_that_suits_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansmith.metrics.learning.MOST_EPOCHS", 0.02)  # the extractor need not be good
    labels = np.arange(90) % 2
    found = measure_arrays("label-fidelity", PICTURES, OTHERS, real_labels=labels, fake_labels=labels[:80])
    assert 0 <= found["label_fidelity"].value <= 1
    assert kid(PICTURES, OTHERS).interval == "asymptotic variance"


def test_metrics_that_read_images_alone_need_no_extractor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RandomConv, "network", lambda *_: pytest.fail("an extractor was made"))
    found = measure_arrays("sliced-wasserstein", PICTURES, OTHERS, extractor=RandomConv())
    assert found["sliced_wasserstein"].value > 0


def test_memorisation_is_measured_against_held_out_images() -> None:
    found = measure_arrays("memorisation", PICTURES, PICTURES[:40], held_out=OTHERS, extractor="random-conv")
    assert found["copies"].value == 1 and found["memorisation"].value > 0.9


@pytest.mark.parametrize("metric", ["sliced-wasserstein", "memorisation"])
def test_features_alone_are_refused_by_metrics_that_read_images(metric: str) -> None:
    with pytest.raises(MetricError, match=r"needs images: only features were given; pass uint8 images \[n h w c\]"):
        measure_arrays(metric, REAL, FAKE, held_out=REAL)


def test_two_values_come_as_two_estimates() -> None:
    precision, recall = precision_recall(REAL, FAKE, neighbours=2)
    assert 0 < recall.value < 1 and 0 < precision.value < 1
    assert precision_recall(REAL, FAKE, neighbours=20) != (precision, recall)
    density, coverage = density_coverage(REAL, FAKE)
    assert density.value > 0 and 0 < coverage.value < 1


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (REAL[0], FAKE, r"real: float64 \[5\] cannot be measured; expected uint8 images \[n h w c\]"),
        (REAL, FAKE[:0], r"fake: float64 \[0, 5\] cannot be measured"),
        (PICTURES / 255, PICTURES, r"real: float64 \[90, 16, 16, 3\] cannot be measured"),
        (PICTURES.transpose(0, 3, 1, 2), PICTURES, r"real: uint8 \[90, 3, 16, 16\] cannot be measured"),
        (REAL, FAKE[:, :4], r"arrays differ in shape: real \[300, 5\], fake \[250, 4\]"),
        (PICTURES, FAKE, r"arrays differ in shape"),
        (PICTURES, OTHERS[:, :8], r"arrays differ in shape: real \[90, 16, 16, 3\], fake \[80, 8, 16, 3\]"),
        (REAL[:3], FAKE, "3 real images are too few"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(real: Any, fake: Any, message: str) -> None:
    with pytest.raises(MetricError, match=message) as caught:
        fid(real, fake)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [[0, 1], [-1] * 250])
def test_labels_that_do_not_fit_are_one_clear_line(labels: list[int]) -> None:
    with pytest.raises(MetricError, match="labels: expected 250 integers from 0"):
        measure_arrays("fid", REAL, FAKE, fake_labels=labels)


def test_an_unknown_metric_or_extractor_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="fdi"):
        measure_arrays("fdi", REAL, FAKE)
    with pytest.raises(ConfigError, match="random"):
        fid(PICTURES, OTHERS, extractor="random-cnv")
