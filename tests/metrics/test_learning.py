"""What networks learn from and are judged on, and how they are kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gansmith.data.batches import split
from gansmith.data.store import Store
from gansmith.errors import DataError
from gansmith.metrics.backbone import Backbone
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.learning import split_validation, train_once
from gansmith.types import ImageSpec

SMALL = Classifier(width=8, num_features=6, kimg=0.2)


def store_of(labels: list[int] | np.ndarray, groups: np.ndarray | None = None) -> Store:
    labels = np.asarray(labels)
    num_classes = int(labels.max()) + 1
    images = np.random.default_rng(0).integers(0, 100, (len(labels), 8, 8, 1)) + 50 * labels[:, None, None, None]
    return Store(
        path=Path("nowhere"),
        title="squares",
        kind="photos",
        spec=ImageSpec(height=8, width=8, channels=1, num_classes=num_classes),
        images=images.clip(0, 255).astype(np.uint8),
        labels=labels,
        class_names=tuple(map(str, range(num_classes))),
        groups=groups,
        digest="squares",
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))
    return tmp_path / "extractors"


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_groups_stay_whole_and_shares_are_kept() -> None:
    store = store_of(np.repeat(np.arange(4), 100), groups=np.arange(400) // 5)
    training, held_out = split(store, 0.2)
    learnt, judged = split_validation(store, training)
    assert store.groups is not None and store.labels is not None
    assert np.array_equal(np.union1d(learnt, judged), training)
    assert not np.intersect1d(learnt, judged).size and not np.intersect1d(judged, held_out).size
    assert not np.intersect1d(store.groups[learnt], store.groups[judged]).size
    assert 0.05 * len(training) < len(judged) < 0.2 * len(training)
    assert set(store.labels[judged]) == set(range(4))


def test_no_class_goes_unlearnt() -> None:
    store = store_of(np.arange(60) // 2)  # two images a class, so that a part of the classes would be judged on alone
    training = np.union1d(np.arange(0, 60, 2), [1, 3])
    assert store.labels is not None
    learnt, judged = split_validation(store, training)
    assert set(store.labels[learnt]) == set(range(30))
    assert np.array_equal(np.union1d(learnt, judged), training)


def test_without_labels_groups_stay_whole_all_the_same() -> None:
    store = dataclasses.replace(store_of(np.zeros(100, int)), labels=None, groups=np.arange(100) // 10)
    learnt, judged = split_validation(store, np.arange(90))
    assert (len(learnt), len(judged)) in ((80, 10), (90, 0))  # the judging group may be among those left out
    assert store.groups is not None and not np.intersect1d(store.groups[learnt], store.groups[judged]).size


def test_what_is_kept_can_be_read_by_a_person(cache: Path) -> None:
    made = SMALL.network(store_of(np.arange(60) % 3), np.arange(50))
    (folder,) = kept(cache)
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    assert about["extractor"]["name"] == "classifier" and about["data"] == "squares" and about["note"] == made.note
    assert sorted(path.name for path in folder.iterdir()) == ["about.json", "weights.safetensors"]


def emptied(path: Path) -> None:
    path.write_bytes(b"{}")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(content)


def missing(path: Path) -> None:
    path.unlink()


def of_an_earlier_version(path: Path) -> None:
    about = json.loads(path.with_name("about.json").read_text())
    path.with_name("about.json").write_text(json.dumps({name: about[name] for name in ("extractor", "data", "note")}))


@pytest.mark.parametrize("name", ["weights.safetensors", "about.json"])
@pytest.mark.parametrize("damage", [emptied, flipped, missing, of_an_earlier_version], ids=lambda f: f.__name__)
def test_a_damaged_cache_is_made_anew(name: str, damage: Callable[[Path], None], cache: Path) -> None:
    store = store_of(np.arange(60) % 3)
    first = SMALL.network(store, np.arange(50))
    (folder,) = kept(cache)
    damage(folder / name)
    again: list[int] = []
    second = SMALL.network(store, np.arange(50), lambda done, total: again.append(done))
    assert again and second.digest == first.digest and second.note == first.note
    SMALL.network(store, np.arange(50), lambda done, total: pytest.fail("learnt again"))


def test_a_network_in_the_place_of_another_is_not_taken_for_it(cache: Path) -> None:
    store = store_of(np.arange(60) % 3)
    digest = SMALL.network(store, np.arange(50)).digest
    (mine,) = kept(cache)
    SMALL.network(store, np.arange(40))
    (other,) = set(kept(cache)) - {mine}
    shutil.rmtree(mine)
    other.rename(mine)
    assert SMALL.network(store, np.arange(50)).digest == digest


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written \(.*\); free disk space, or set GANSMITH_CACHE to another"):
        SMALL.network(store_of(np.arange(60) % 3), np.arange(50))


def test_an_interrupted_learning_leaves_nothing(cache: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SMALL.network(store_of(np.arange(60) % 3), np.arange(50), interrupt)
    assert not cache.exists() or not kept(cache)


def test_progress_is_reported_to_the_end() -> None:
    reports: list[tuple[int, int]] = []
    SMALL.network(store_of(np.arange(60) % 3), np.arange(50), lambda *report: reports.append(report))
    assert reports == sorted(reports) and reports[-1][0] == reports[-1][1]


def test_networks_of_other_images_of_the_same_data_are_others(cache: Path) -> None:
    store = store_of(np.arange(60) % 3)
    digests = {SMALL.network(store, np.arange(num)).digest for num in (40, 50)}
    assert len(digests) == 2 == len(kept(cache))


def test_of_several_at_a_time_one_learns_and_the_others_wait(cache: Path) -> None:
    store, taught = store_of(np.arange(60) % 3), []

    def made() -> str:
        backbone = Backbone(store.spec, width=8, num_features=6)
        return train_once(SMALL, store, np.arange(50), backbone, lambda device: taught.append(1) or "well").digest

    with ThreadPoolExecutor(4) as pool:
        digests = {future.result() for future in [pool.submit(made) for _ in range(4)]}
    assert len(taught) == len(digests) == 1
