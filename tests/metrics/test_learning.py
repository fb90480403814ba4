"""What networks learn from and are judged on, and how they are kept."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gansmith.data.batches import split
from gansmith.data.store import Store
from gansmith.errors import DataError
from gansmith.metrics.backbone import Backbone
from gansmith.metrics.classifier import Classifier
from gansmith.metrics.extractor import LIGHT, default_extractor
from gansmith.metrics.learning import Pace, fit, split_validation, train_once
from gansmith.metrics.self_supervised import SelfSupervised
from gansmith.schedules import Duration
from gansmith.training import stages
from gansmith.training.presets import configure
from gansmith.types import Batch, ImageSpec

MOST_OPERATIONS = 2.4e12  # of training: some 20 s on two cores that make 110 GFLOP/s together
SMALL = Classifier(width=8, num_features=6, kimg=0.2)


def store_of(labels: list[int] | np.ndarray, groups: np.ndarray | None = None) -> Store:
    labels = np.asarray(labels)
    num_classes = int(labels.max()) + 1
    images = np.random.default_rng(0).integers(0, 100, (len(labels), 8, 8, 1)) + 50 * labels[:, None, None, None]
    return Store(
        path=Path("nowhere"),
        title="squares",
        kind="digits",
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


@pytest.mark.parametrize(
    "extractor, views", [(Classifier(**LIGHT["classifier"]), 1), (SelfSupervised(**LIGHT["self-supervised"]), 2)]
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128)])
def test_training_costs_some_seconds_at_most(
    extractor: Classifier | SelfSupervised, views: int, shape: tuple[int, int, int]
) -> None:
    spec = ImageSpec(height=shape[1], width=shape[2], channels=shape[0])
    backbone = Backbone(spec, width=extractor.width, num_features=extractor.num_features, light=True)
    with FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(2, *shape))
    forward = counter.get_total_flops() / 2
    assert MOST_OPERATIONS / 3 < 3 * forward * views * 1000 * extractor.kimg < MOST_OPERATIONS


@pytest.mark.parametrize("extractor", [Classifier, SelfSupervised])
def test_trained_networks_are_light(extractor: type[Classifier | SelfSupervised]) -> None:
    layers = (
        extractor(width=8, num_features=6, kimg=0.1, light=True)
        .network(store_of(np.arange(60) % 3), np.arange(50))
        .backbone.layers
    )
    light, whole = (
        Backbone(ImageSpec(height=8, width=8, channels=1), width=8, num_features=6, light=light).layers
        for light in (True, False)
    )
    assert len(layers) == len(light) == len(whole) - 3


def test_the_pace_sets_batches_and_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    sizes: list[int] = []
    weight = torch.nn.Linear(1, 1)

    class Recorded(torch.optim.AdamW):
        def step(self) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim, "AdamW", Recorded)

    def loss(batch: Batch) -> torch.Tensor:
        sizes.append(len(batch.images))
        return weight(torch.ones(1, 1)).sum()

    fit(weight, loss, store_of(np.arange(60) % 3), np.arange(50), Pace(kimg=0.2, batch_size=8, lr=0.5))
    assert sizes == [8] * 25
    assert max(rates) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("length", "light"), [("2 min", True), ("599 s", True), ("10 min", False), ("2 h", False), ("5 epochs", False)]
)
def test_trainings_of_less_than_ten_minutes_get_a_light_extractor(length: str, light: bool) -> None:
    labelled = store_of(np.arange(60) % 3)
    for store in (labelled, dataclasses.replace(labelled, labels=None)):
        chosen = default_extractor(store, Duration.from_text(length))
        assert isinstance(chosen, Classifier | SelfSupervised) and chosen.light == light
        assert (chosen == default_extractor(store)) == (not light)


def test_the_length_of_a_training_decides_what_tracks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []
    monkeypatch.setattr(stages, "open_tracker", lambda tracking, *rest: used.append(tracking.extractor))
    prepared: Any = SimpleNamespace(store=store_of(np.arange(60) % 3), training=np.arange(50))
    unused: Any = None
    for overrides in ({"length": "1 min"}, {"length": "20 min"}, {"length": "1 min", "tracking.extractor": SMALL}):
        config = configure("digits", overrides=overrides)
        stages._open_tracker(unused, prepared, config, unused)
    assert used == [Classifier(**LIGHT["classifier"]), Classifier(), SMALL]
