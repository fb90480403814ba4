"""Features of a pretrained network, classes of a classifier: each used where it belongs, and recorded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansmith.component import from_plain
from gansmith.data.store import Store
from gansmith.metrics import combined, extractor, list_metrics
from gansmith.metrics.arrays import measure_arrays
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.combined import build_network
from gansmith.metrics.efficientnet import EfficientNetLite0, EfficientNetLite1
from gansmith.metrics.extractor import default_extractor, explain_default
from gansmith.metrics.features import _cached_path
from gansmith.metrics.fidelity import ClassCoverage, LabelFidelity
from gansmith.metrics.frechet import FID
from gansmith.metrics.inception_score import InceptionScore
from gansmith.metrics.kernel import KID
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference, list_differences
from gansmith.metrics.random_conv import RandomConv
from gansmith.metrics.self_supervised import SelfSupervised
from gansmith.schedules import Duration
from gansmith.types import ImageSpec

TRAINING = np.arange(50)
LITE = EfficientNetLite1(side=32)


def store_of(channels: int = 3) -> Store:
    """Noise, lighter from class to class."""
    labels = np.arange(60) % 3
    noise = np.random.default_rng(0).integers(0, 100, (60, 16, 16, channels)) + 70 * labels[:, None, None, None]
    return Store(
        path=Path("nowhere"),
        title="noise",
        kind="photos",
        spec=ImageSpec(height=16, width=16, channels=channels, num_classes=3),
        images=noise.astype(np.uint8),
        labels=labels,
        class_names=("dark", "gray", "light"),
        groups=None,
        digest=f"{channels}",
    )


def measured_by(extractor: ExtractorFacts) -> Measurement:
    return Measurement(
        kind="evaluation",
        when="2026-11-29T00:00:00+00:00",
        generated=Generated(path="samples", num=9),
        reference=Reference(title="noise", split="all", num=60, digest="d", selection="s"),
        extractor=extractor,
        values={},
        gansmith="0",
    )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier that is quickly trained."""
    monkeypatch.setattr(combined, "Classifier", lambda: Classifier(width=8, num_features=6, kimg=0.3))


def pixels_of(store: Store) -> torch.Tensor:
    return torch.from_numpy(store.images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("metric", [LabelFidelity(), ClassCoverage(), InceptionScore()])
def test_classes_come_from_a_classifier_and_features_from_the_network(metric: Any) -> None:
    store = store_of()
    made = build_network(LITE, store, TRAINING, [FID(), metric])
    alone, classifier = LITE.network(store, TRAINING), combined.Classifier().network(store, TRAINING)
    features, logits = made(pixels_of(store))
    assert torch.equal(features, alone(pixels_of(store))[0])
    expected = classifier(pixels_of(store))[1]
    assert logits is not None and expected is not None and torch.equal(logits, expected)
    assert (made.name, made.digest, made.num_classes) == ("efficientnet-lite1", alone.digest, 3)
    assert made.classifier_digest == classifier.digest and made.validation is not None
    assert made.note.startswith(alone.note) and made.note.endswith(classifier.note)


def test_no_classifier_is_trained_without_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combined, "Classifier", lambda: pytest.fail("was trained"))
    store = store_of()
    assert not build_network(LITE, store, TRAINING, [FID(), KID()]).num_classes
    every = list_metrics()
    assert not build_network(LITE, dataclasses.replace(store, labels=None), TRAINING, every).num_classes
    one = dataclasses.replace(store, labels=np.where(np.arange(len(store)) < 50, 0, 1))
    assert not build_network(LITE, one, TRAINING, every).num_classes
    assert not build_network(RandomConv(width=8), store, TRAINING, every).num_classes


def test_which_metrics_read_classes() -> None:
    found = {type(metric) for metric in list_metrics() if metric.needs_classes}
    assert found == {LabelFidelity, ClassCoverage, InceptionScore}


def test_cached_logits_belong_to_their_classifier() -> None:
    store = store_of()
    made = build_network(LITE, store, TRAINING, [LabelFidelity()])
    path, plain = _cached_path(made, store, TRAINING), _cached_path(LITE.network(store, TRAINING), store, TRAINING)
    made.classifier_digest = "another"
    assert len({path, plain, _cached_path(made, store, TRAINING)}) == 3


def test_arrays_are_measured_so_too() -> None:
    store = store_of()
    labels = np.asarray(store.labels)
    found, expected = (
        measure_arrays(
            "label-fidelity", store.images, store.images, extractor=each, real_labels=labels, fake_labels=labels
        )
        for each in (LITE, combined.Classifier())
    )
    assert found == expected


# --- what is recorded --------------------------------------------------------------------------------------


def test_titles_name_the_network_of_each_value() -> None:
    facts = ExtractorFacts(name="efficientnet-lite1", digest="d", classifier_digest="c")
    fid, score = FID.quantities["fid"], InceptionScore.quantities["inception_score"]
    assert (facts.name_for(fid), facts.name_for(score)) == ("efficientnet-lite1", "classifier")
    assert dataclasses.replace(facts, classifier_digest="").name_for(score) == "efficientnet-lite1"


def test_another_classifier_is_a_difference() -> None:
    def by(digest: str) -> Measurement:
        return measured_by(ExtractorFacts(name="efficientnet-lite1", digest="d", classifier_digest=digest))

    assert list_differences(by("a"), by("")) == list_differences(by("a"), by("a")) == []
    assert list_differences(by("a"), by("b")) == ["the classifier of the classes differs (a and b)"]
    assert Measurement.from_plain(by("a").to_plain()).extractor.classifier_digest == "a"


# --- the default -------------------------------------------------------------------------------------------


def test_photographs_are_seen_by_a_network_that_the_discriminator_does_not_use() -> None:
    store = store_of()
    for labels in (store.labels, None):
        photographs = dataclasses.replace(store, labels=labels)
        assert default_extractor(photographs) == EfficientNetLite1()
        assert default_extractor(photographs, avoid={"lite0"}) == EfficientNetLite1()
        assert default_extractor(photographs, avoid={"lite1"}) == EfficientNetLite0()
        learnt = SelfSupervised() if labels is None else Classifier()
        assert default_extractor(photographs, avoid={"lite0", "lite1"}) == learnt
    assert default_extractor(store_of(4)) == Classifier()
    assert default_extractor(store_of(1)) == EfficientNetLite1()
    for kind in ("digits", "signs"):
        assert default_extractor(dataclasses.replace(store, kind=kind)) == Classifier()


def test_the_reason_names_what_is_avoided() -> None:
    store = store_of()
    assert "nothing has to be trained" in explain_default(store) and "discriminator" not in explain_default(store)
    assert explain_default(store, {"lite1"}).endswith("the discriminator looks through lite1, so the metric must not")
    assert "signs" in explain_default(dataclasses.replace(store, kind="signs"))


def test_short_trainings_are_tracked_with_smaller_images() -> None:
    store = store_of()
    assert default_extractor(store, Duration(5, "min")) == EfficientNetLite1(side=64)
    assert default_extractor(store, Duration(10, "min")) == EfficientNetLite1()
    assert from_plain(extractor.Extractor, "efficientnet-lite1", "extractor") == EfficientNetLite1()
