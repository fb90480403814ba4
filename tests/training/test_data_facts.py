"""What a run remembers of its data, and what is refused to be remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith.data.npz import Npz
from gansmith.data.store import prepare
from gansmith.errors import RunError
from gansmith.training.data_facts import DataFacts
from gansmith.types import ImageSpec

PLAIN: dict[str, Any] = {
    "title": "signs",
    "num_images": 4,
    "height": 24,
    "width": 32,
    "channels": 3,
    "class_names": ["stop", "yield"],
    "class_counts": [1, 3],
    "digest": "0" * 64,
}


def test_facts_are_those_of_the_store_and_survive_the_disk(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz",
        images=np.resize(np.arange(256, dtype=np.uint8), (4, 24, 32, 3)),
        labels=np.array([0, 1, 1, 1]),
    )
    store = prepare(Npz(path=tmp_path / "x.npz"))
    facts = DataFacts.of(store)
    assert (facts.num_images, facts.class_counts, facts.digest) == (4, (1, 3), store.digest)
    assert facts.spec(use_labels=True) == ImageSpec(height=24, width=32, channels=3, num_classes=2)
    assert facts.spec(use_labels=False).num_classes == 0
    facts.write(tmp_path / "data.json")
    assert DataFacts.read(tmp_path / "data.json") == facts


@pytest.mark.parametrize(
    "change",
    [
        {"height": 10**9},
        {"height": 0},
        {"width": "32"},
        {"channels": 2},
        {"num_images": -1},
        {"class_counts": [1]},
        {"class_counts": [1, -3]},
        {"class_names": [1, 2]},
        {"class_names": 7},
        {"digest": None},
        {"surprise": 1},
    ],
)
def test_damaged_or_hostile_facts_are_one_clear_line(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps(PLAIN))
    assert DataFacts.read(path).width == 32
    path.write_text(json.dumps(PLAIN | change))
    with pytest.raises(RunError, match=r"data\.json: cannot be read") as caught:
        DataFacts.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "7", "{}"])
def test_no_facts_at_all_are_one_clear_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        DataFacts.read(tmp_path / "data.json")
