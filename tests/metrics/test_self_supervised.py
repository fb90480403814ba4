"""The self-supervised network: it learns without labels to know images again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics.self_supervised import SelfSupervised
from gansmith.types import ImageSpec

SMALL = SelfSupervised(width=16, num_features=12, kimg=12)


@pytest.fixture
def patches() -> Store:
    """Four by four patches of colours that differ from image to image."""
    coarse = np.random.default_rng(0).integers(0, 256, (400, 4, 4, 3), np.uint8)
    return Store(
        path=Path("nowhere"),
        title="patches",
        kind="photos",
        spec=ImageSpec(height=16, width=16, channels=3),
        images=coarse.repeat(4, axis=1).repeat(4, axis=2),
        labels=None,
        class_names=(),
        groups=None,
        digest="patches",
    )


@pytest.fixture(autouse=True)
def _nothing_made_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))


def test_it_learns_to_know_images_again(patches: Store) -> None:
    known = {}
    for kimg in (0.06, 12):
        note = dataclasses.replace(SMALL, kimg=kimg).network(patches, np.arange(400)).note
        found = re.fullmatch(r"matches ([\d.]+)% of 40 held-out images", note)
        assert found is not None
        known[kimg] = float(found[1])
    assert known[12] > known[0.06] + 20


def test_it_gives_features_and_no_logits(patches: Store) -> None:
    network = dataclasses.replace(SMALL, kimg=0.06).network(patches, np.arange(400))
    features, logits = network(torch.from_numpy(patches.images[:5]).permute(0, 3, 1, 2))
    assert features.shape == (5, 12) and logits is None and network.num_classes == 0


def test_one_image_is_not_enough(patches: Store) -> None:
    with pytest.raises(MetricError, match="patches has fewer than two images"):
        SMALL.network(patches, np.arange(1))
    assert SMALL.network(patches, np.arange(2)).note == "too few images to measure its accuracy"
