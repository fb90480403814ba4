"""The classifier: it learns, from what it may alone, and says honestly how well."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.data.batches import split
from gansmith.data.digits import Digits
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.store import Preparation, Store, prepare
from gansmith.errors import MetricError
from gansmith.metrics.backbone import BackboneNetwork
from gansmith.metrics.classifier import Classifier

SMALL = Classifier(width=16, num_features=12, kimg=6)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(Digits(), cache=tmp_path_factory.mktemp("stores"))


@pytest.fixture(autouse=True)
def _nothing_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))


def accuracy(network: BackboneNetwork, store: Store, indices: np.ndarray) -> float:
    assert store.labels is not None
    _, logits = network(torch.from_numpy(store.images[indices]).permute(0, 3, 1, 2))
    assert logits is not None
    return float((logits.argmax(dim=1).numpy() == store.labels[indices]).mean())


def stated(network: BackboneNetwork) -> float:
    return float(network.note.removeprefix("held-out accuracy ").removesuffix("%")) / 100


def test_it_knows_digits_that_it_never_saw(digits: Store) -> None:
    training, held_out = split(digits, 0.3)
    network = SMALL.network(digits, training)
    assert network.num_classes == 10
    assert accuracy(network, digits, held_out) > 0.9
    assert stated(network) > 0.9


def test_what_is_outside_training_is_never_looked_at(
    digits: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, held_out = split(digits, 0.3)
    images, labels = np.array(digits.images), np.array(digits.labels)
    images[held_out] = 255 - images[held_out]
    spoilt = dataclasses.replace(digits, images=images, labels=labels)
    first = SMALL.network(digits, training)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "another"))
    assert SMALL.network(spoilt, training).digest == first.digest


def test_it_names_the_images_that_it_did_not_learn_from(digits: Store) -> None:
    training, held_out = split(digits, 0.3)
    for _ in range(2):  # taught, then from the cache
        network = SMALL.network(digits, training)
        assert network.validation is not None and 100 < len(network.validation) < 150
        assert np.isin(network.validation, training).all() and not np.isin(network.validation, held_out).any()
        assert stated(network) == pytest.approx(accuracy(network, digits, network.validation), abs=5e-4)


def test_its_accuracy_is_that_of_images_it_did_not_learn_from(digits: Store) -> None:
    nonsense = dataclasses.replace(digits, labels=np.random.default_rng(0).integers(0, 10, len(digits)))
    few = np.arange(200)
    network = Classifier(width=32, num_features=32, kimg=6).network(nonsense, few)
    assert accuracy(network, nonsense, few) > 0.7  # learnt by heart
    assert stated(network) < 0.4


def test_data_without_classes_are_refused(digits: Store) -> None:
    for store in (
        dataclasses.replace(digits, labels=None, class_names=()),
        dataclasses.replace(digits, labels=np.zeros(len(digits), np.int64)),
    ):
        with pytest.raises(MetricError, match="digits has fewer than two classes; use --extractor self-super"):
            SMALL.network(store, np.arange(100))


def test_a_class_without_images_is_only_never_seen(digits: Store) -> None:
    named = dataclasses.replace(digits, class_names=(*digits.class_names, "ten"))
    assert SMALL.network(named, np.arange(500)).num_classes == 11


def test_with_too_few_images_its_accuracy_is_unknown(digits: Store) -> None:
    assert digits.labels is not None
    two = np.array([np.flatnonzero(digits.labels == label)[0] for label in range(2)])
    assert SMALL.network(digits, two).note == "too few images to measure its accuracy"


@pytest.mark.slow
@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_it_knows_signs_of_tracks_that_it_never_saw() -> None:
    store = prepare(Gtsrb(root=Path(os.environ["GANSMITH_DATA"]) / "gtsrb"), Preparation(size=(32, 32)))
    training, held_out = split(store, 0.05)
    network = Classifier().network(store, training)
    assert stated(network) > 0.95 and accuracy(network, store, held_out) > 0.95
