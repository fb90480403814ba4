"""Evaluation: of runs and of files, with where each figure comes from, and one clear line for each mistake."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import gansmith
from forks import run_ranks
from gansmith import api, devices
from gansmith.component import member_name, override
from gansmith.data.batches import Indices, split
from gansmith.data.store import Store, prepare
from gansmith.errors import ConfigError, DataError, GansmithError, MetricError, RunError
from gansmith.evaluation import EvaluationOptions, evaluate, evaluate_run
from gansmith.metrics import list_metrics, list_quantities
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.fidelity import ClassCoverage
from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity
from gansmith.plain_json import write_json
from gansmith.training.tracker import MOST_TO_DECIDE
from gansmith.training.tracking import Tracking
from gansmith.types import Pixels

CLASSES = 3
NUM_REAL = 60


class Blocks(FeatureNetwork):
    """Mean colours of the quarters of an image; logits from its brightness."""

    name, digest, note, num_classes = "blocks", "b" * 64, "no network at all", CLASSES

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    def __call__(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        values = torch.nn.functional.adaptive_avg_pool2d(pixels.float() / 255, 2).flatten(1)
        if self.broken:
            values[3:5] = float("nan")
        brightness = values.mean(1, keepdim=True)
        return values, -(brightness - torch.linspace(0, 1, CLASSES)).square()


@dataclass(frozen=True, kw_only=True)
class QuarterColours(Extractor):
    """Features that need no learning."""

    broken: bool = False

    def network(self, store: Store, training: Indices, progress: Any = None) -> FeatureNetwork:
        return Blocks(self.broken)


@dataclass(frozen=True, kw_only=True)
class Counts(Metric):
    """How many images the metrics were shown."""

    quantities: ClassVar[Mapping[str, Quantity]] = {
        name: Quantity(title=name, better="higher") for name in ("real", "fake", "training", "held_out")
    }
    needs_training: ClassVar[bool] = True

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        sides = {name: getattr(comparison, name) for name in self.quantities}
        return {name: exactly(len(side)) for name, side in sides.items() if side is not None}


@dataclass(frozen=True, kw_only=True)
class MeanDistance(Metric):
    """How far the mean features are apart, and the labels' sum, which tell other images and labels apart."""

    quantities: ClassVar[Mapping[str, Quantity]] = {
        "distance": Quantity(title="Distance", better="lower"),
        "labels": Quantity(title="Labels", better="lower"),
    }

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        apart = (comparison.real.values.double().mean(0) - comparison.fake.values.double().mean(0)).norm()
        labels = comparison.fake.labels
        weights = np.arange(len(comparison.fake))
        return {"distance": exactly(float(apart)), "labels": exactly(-1 if labels is None else int(labels @ weights))}


@dataclass(frozen=True, kw_only=True)
class Refuses(Metric):
    """Cannot be had."""

    quantities: ClassVar[Mapping[str, Quantity]] = {"refused": Quantity(title="Refused", better="lower")}

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        raise MetricError("refuses: nothing pleases it; try another")


def exactly(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, interval="none")


BY: dict[str, Any] = {"extractor": QuarterColours(), "metrics": [MeanDistance()]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photos.npz"
    draw = np.random.default_rng(0)
    labels = np.arange(NUM_REAL) % CLASSES
    images = draw.integers(0, 80, (NUM_REAL, 8, 8, 3), np.uint8) + (80 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """Hardly trained, a fifth held out."""
    overrides = {"batch_size": 4, "model.width": 4, "held_out": 0.2, "tracking": "none", "samples.at_start": False}
    return api.train(photos, run=tmp_path_factory.mktemp("runs") / "run", length="3 steps", overrides=overrides)


@pytest.fixture
def own_run(run: api.Run, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(run.path, tmp_path / "run"))


@pytest.fixture(scope="module")
def samples(run: api.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of the run."""
    return run.generator().sample(20).save(tmp_path_factory.mktemp("samples") / "samples.npz")


def save_images(folder: Path, images: np.ndarray[Any, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{i:03}.png")
    return folder


# --- a run -------------------------------------------------------------------------------------------------


def test_a_measurement_of_a_run_says_where_it_comes_from(own_run: Path, photos: Path) -> None:
    measurement = evaluate(own_run, num=20, overrides={"seed": 5}, **BY)
    store = prepare(api.open_run(own_run).config.source)
    training, _ = split(store, 0.2)
    sampled = api.open_run(own_run).generator().sample(20, seed=5).images
    generated, reference = measurement.generated, measurement.reference
    assert (generated.path, generated.num, generated.seed) == (str(own_run), 20, 5)
    assert (generated.snapshot, generated.ema, generated.nimg, generated.step) == ("last", True, 12, 3)
    assert generated.seconds is not None and generated.seconds > 0
    assert generated.digest == hashlib.sha256(sampled.tobytes()).hexdigest()
    assert (reference.title, reference.split, reference.num, reference.digest) == (
        "photos",
        "training",
        20,
        store.digest,
    )
    assert reference.selection != hashlib.sha256(training.tobytes()).hexdigest()
    assert (measurement.extractor.name, measurement.extractor.note) == ("blocks", "no network at all")
    assert measurement.kind == "evaluation" and measurement.gansmith == gansmith.__version__


def test_no_seed_selects_and_reports() -> None:
    """Tracking measures seeds 0 to num - 1, and the decision at the end at most MOST_TO_DECIDE times as many after."""
    with pytest.raises(ConfigError, match=r"tracking\.num: 100001 is out of range"):
        override(Tracking(), {"num": 100_001}, "tracking")
    assert override(Tracking(), {"num": 100_000}, "tracking").num * (1 + MOST_TO_DECIDE) <= EvaluationOptions().seed


def test_the_range_of_seeds_is_recorded(own_run: Path) -> None:
    generated = evaluate(own_run, num=20, **BY).generated
    assert (generated.seed, generated.num) == (1_000_000, 20)
    sampled = api.open_run(own_run).generator().sample(20, seed=1_000_000).images
    assert generated.digest == hashlib.sha256(sampled.tobytes()).hexdigest()


def test_a_measurement_of_a_run_is_added_to_its_metrics(own_run: Path) -> None:
    measurements = [evaluate(own_run, num=num, **BY) for num in (10, 20)]
    lines = api.open_run(own_run).folder.read_measurements()
    assert [Measurement.from_plain(line) for line in lines] == measurements


def test_the_same_again_is_the_same(own_run: Path) -> None:
    first, again = (evaluate(own_run, num=16, **BY) for _ in range(2))  # the real features come from the cache
    assert first == dataclasses.replace(again, when=first.when)
    other = evaluate(own_run, num=16, overrides={"seed": 1}, **BY)
    assert other.values != first.values
    assert other.reference == first.reference


def test_metrics_see_all_training_images_and_all_held_out_if_they_ask(own_run: Path) -> None:
    measurement = evaluate(own_run, num=20, extractor=QuarterColours(), metrics=[Counts()])
    assert {name: figure.value for name, figure in measurement.values.items()} == {
        "real": 20,
        "fake": 20,
        "training": 48,
        "held_out": 12,
    }
    with Image.open(api.open_run(own_run).folder.nearest) as sheet:
        assert sheet.mode == "RGB"


def test_training_images_are_not_looked_at_for_nothing(own_run: Path) -> None:
    evaluate(own_run, num=20, **BY)
    assert not api.open_run(own_run).folder.nearest.exists()


def test_the_drawn_real_images_are_the_same_however_they_are_looked_at(own_run: Path) -> None:
    alone = evaluate(own_run, num=20, **BY)
    beside = evaluate(own_run, num=20, extractor=QuarterColours(), metrics=[MeanDistance(), Counts()])
    assert beside.reference == alone.reference
    assert beside.values["distance"].value == pytest.approx(alone.values["distance"].value, rel=1e-6)


def test_a_run_against_other_images(own_run: Path, photos: Path, tmp_path: Path) -> None:
    with np.load(photos) as arrays:
        larger = np.repeat(np.repeat(arrays["images"], 2, axis=1), 2, axis=2)[:30]
    np.savez(tmp_path / "others.npz", images=larger)
    measurement = evaluate(own_run, tmp_path / "others.npz", extractor=QuarterColours(), metrics=[Counts()])
    assert (measurement.reference.title, measurement.reference.split, measurement.reference.num) == (
        "others",
        "all",
        30,
    )
    assert set(measurement.values) == {"real", "fake"}  # its training images are unknown


def test_two_processes_equal_one(own_run: Path) -> None:
    one = evaluate(own_run, num=33, extractor=QuarterColours(), metrics=[MeanDistance(), Counts()])
    code = (
        "import sys; from gansmith.evaluation import evaluate; import test_evaluation as t\n"
        "evaluate(sys.argv[1], num=33, extractor=t.QuarterColours(), metrics=[t.MeanDistance(), t.Counts()])"
    )
    script = own_run.parent / "evaluation.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run_ranks([str(script), str(own_run)], script.parent, environment=environment)
    first, second = map(Measurement.from_plain, api.open_run(own_run).folder.read_measurements())
    assert first == one
    assert second == dataclasses.replace(one, when=second.when)


# --- files -------------------------------------------------------------------------------------------------


def test_a_folder_an_npz_and_the_run_say_the_same(own_run: Path, samples: Path, photos: Path, tmp_path: Path) -> None:
    with np.load(samples) as arrays:
        folder = save_images(tmp_path / "pngs", arrays["images"])
    of_run = evaluate(own_run, photos, num=20, overrides={"seed": 0}, **BY)
    of_npz, of_folder = (evaluate(path, photos, num=20, **BY) for path in (samples, folder))
    assert of_npz.generated.digest == of_folder.generated.digest == of_run.generated.digest
    assert of_npz.values == of_run.values
    assert of_folder.values["distance"] == of_run.values["distance"]
    assert of_folder.values["labels"].value == -1
    assert (of_npz.generated.snapshot, of_npz.generated.ema, of_npz.generated.nimg) == (None, None, None)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_of_many_files_some_are_taken(samples: Path, photos: Path) -> None:
    measurement = evaluate(samples, photos, num=8, **BY)
    assert (measurement.generated.num, measurement.reference.num) == (8, 8)


def test_held_out_images_make_the_others_the_training_images(samples: Path, photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "unseen.npz", images=np.zeros((7, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    measurement = evaluate(
        samples, photos, held_out=tmp_path / "unseen.npz", extractor=QuarterColours(), metrics=[Counts()]
    )
    assert measurement.values["held_out"].value == 7
    assert measurement.values["training"].value == NUM_REAL


@pytest.mark.parametrize("folders", [("b", "c"), ("01", "2")])
def test_classes_are_known_by_name_or_number(folders: tuple[str, ...], tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for name in "abc":
        save_images(tmp_path / "real" / name, draw.integers(0, 256, (4, 8, 8, 3), np.uint8))
    for name in folders:
        save_images(tmp_path / "fake" / name, draw.integers(0, 256, (2, 8, 8, 3), np.uint8))
    measurement = evaluate(tmp_path / "fake", tmp_path / "real", **BY)
    assert measurement.values["labels"].value == np.array([1, 1, 2, 2]) @ np.arange(4)


# --- what can and cannot be measured -----------------------------------------------------------------------


def test_one_metric_that_cannot_be_had_stops_no_other(own_run: Path) -> None:
    measurement = evaluate(own_run, num=20, extractor=QuarterColours(), metrics=[Refuses(), MeanDistance()])
    (name,) = measurement.failures
    assert name.endswith(":Refuses")
    assert measurement.failures[name] == "refuses: nothing pleases it; try another"
    assert set(measurement.values) == {"distance", "labels"}


def test_every_metric_of_ours_gives_a_figure_or_a_reason(own_run: Path) -> None:
    measurement = evaluate(own_run, num=30, extractor=QuarterColours())
    assert set(measurement.values) <= set(list_quantities())
    for metric in list_metrics():
        missing = set(metric.quantities) - set(measurement.values)
        assert not missing or "\n" not in measurement.failures[member_name(metric)]
    assert measurement.values
    json.dumps(measurement.to_plain(), allow_nan=False)


def test_metrics_are_named_with_their_fields() -> None:
    options = EvaluationOptions.of(
        overrides={"metrics": "kid,precision-recall", "metrics.1.neighbours": 9, "extractor": "random-conv"}
    )
    assert options.metrics is not None and [type(metric).__name__ for metric in options.metrics] == [
        "KID",
        "PrecisionRecall",
    ]
    assert options.metrics[1].neighbours == 9  # type: ignore[attr-defined]
    assert type(options.extractor).__name__ == "RandomConv"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"metrics": "fidd"}, "evaluate.metrics[0]: no metric is called 'fidd'; did you mean 'fid'?"),
        (
            {"extractor": "inceptoin"},
            "evaluate.extractor: no extractor is called 'inceptoin'; did you mean 'inception'?",
        ),
        ({"num": 1}, "evaluate.num: 1 is out of range; expected from 2 to 1000000"),
        ({"seed": -1}, "evaluate.seed: -1 is out of range; expected from 0 to 9223372036854775807"),
        ({"nmu": 5}, "evaluate.nmu: no such field; did you mean 'num'?"),
        ({"snapshot": "first"}, "evaluate.snapshot: 'first' is not known"),
    ],
)
def test_a_wrong_option_is_one_clear_line(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        EvaluationOptions.of(overrides=changes)
    assert str(caught.value).startswith(error)


def refused(error: type[GansmithError], *words: Any, **options: Any) -> str:
    """The one line in which an evaluation is refused."""
    with pytest.raises(error) as caught:
        evaluate(*words, **{**BY, **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_features_that_are_not_numbers(own_run: Path) -> None:
    message = refused(MetricError, own_run, num=20, extractor=QuarterColours(broken=True))
    assert "features of 2 of 20 images contain NaN or infinity" in message
    assert "--extractor" in message


def test_a_run_without_checkpoints(own_run: Path) -> None:
    shutil.rmtree(own_run / "training_checkpoints")
    assert "no checkpoint yet" in refused(RunError, own_run)


def test_a_run_whose_images_have_gone(own_run: Path, photos: Path, tmp_path: Path) -> None:
    config = json.loads((own_run / "config.json").read_text(encoding="utf-8"))
    config["data"]["path"] = str(tmp_path / "gone.npz")
    write_json(own_run / "config.json", config)
    message = refused(RunError, own_run)
    assert "gone.npz" in message and "--against DATA" in message
    assert evaluate(own_run, photos, num=20, **BY).values


def test_a_run_whose_images_have_changed(own_run: Path, tmp_path: Path) -> None:
    config = json.loads((own_run / "config.json").read_text(encoding="utf-8"))
    config["data"]["path"] = str(tmp_path / "changed.npz")
    np.savez(tmp_path / "changed.npz", images=np.zeros((60, 8, 8, 3), np.uint8), labels=np.arange(60) % 3)
    write_json(own_run / "config.json", config)
    message = refused(RunError, own_run)
    assert "digest differs" in message and "--against DATA" in message


def test_a_runs_own_images_are_not_prepared_otherwise(own_run: Path) -> None:
    assert "leave it out" in refused(ConfigError, own_run, overrides={"preparation.fit": "pad"})


def test_a_folder_of_runs_names_them(own_run: Path) -> None:
    assert f"did you mean {own_run}" in refused(RunError, own_run.parent)


def test_nothing_there(tmp_path: Path, photos: Path) -> None:
    message = refused(RunError, tmp_path / "nowhere", photos)
    assert "does not exist; expected a run's folder" in message


def test_files_need_real_images(samples: Path) -> None:
    assert "--against DATA" in refused(ConfigError, samples)
    assert "--against" in refused(ConfigError, samples, root=".")


def test_samples_larger_than_the_real_images(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", images=np.zeros((9, 16, 12, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    message = refused(MetricError, tmp_path / "large.npz", photos)
    assert "12x16" in message and "8x8" in message and "--size 12x16" in message
    assert evaluate(tmp_path / "large.npz", photos, overrides={"preparation.size": [16, 12]}, **BY).values


def test_samples_of_another_size_than_was_asked_for(samples: Path, photos: Path) -> None:
    message = refused(MetricError, samples, photos, overrides={"preparation.size": [4, 4]})
    assert "the samples are 8x8 RGB, but photos is 4x4 RGB" in message and "--size 8x8" in message


def test_samples_of_another_number_of_channels(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "gray.npz", images=np.arange(9 * 64, dtype=np.uint8).reshape(9, 8, 8))
    message = refused(MetricError, tmp_path / "gray.npz", photos)
    assert "the samples are 8x8 gray, but photos is 8x8 RGB" in message
    assert "--preparation.channels gray" in message
    for channels in ("gray", "rgb"):
        assert evaluate(tmp_path / "gray.npz", photos, overrides={"preparation.channels": channels}, **BY).values


def test_samples_of_several_sizes(photos: Path, tmp_path: Path) -> None:
    save_images(tmp_path / "fake", np.zeros((3, 8, 8, 3), np.uint8))
    save_images(tmp_path / "fake" / "b", np.zeros((3, 9, 8, 3), np.uint8))
    message = refused(MetricError, tmp_path / "fake", photos)
    assert "samples of 2 sizes, as 8x8, 8x9 (width x height)" in message


def test_a_sample_that_cannot_be_read(photos: Path, tmp_path: Path) -> None:
    save_images(tmp_path / "fake", np.zeros((30, 8, 8, 3), np.uint8))
    (tmp_path / "fake" / "029.png").write_bytes(b"no image")
    message = refused(DataError, tmp_path / "fake", photos)
    assert "1 of 30 samples cannot be read, first 029.png" in message


def test_a_hostile_npz(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", images=np.array([{"a": 1}, print], dtype=object), allow_pickle=True)
    assert "objects.npz" in refused(DataError, tmp_path / "objects.npz", photos)
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 and then nothing")
    assert "noise.npz: cannot be read as .npz" in refused(DataError, tmp_path / "noise.npz", photos)


def test_an_npz_of_floats(photos: Path, samples: Path, tmp_path: Path) -> None:
    with np.load(samples) as arrays:
        images = arrays["images"]
    np.savez(tmp_path / "unit.npz", images=images.astype(np.float32) / 255)
    assert (
        evaluate(tmp_path / "unit.npz", photos, **BY).generated.digest
        == evaluate(samples, photos, **BY).generated.digest
    )
    np.savez(tmp_path / "wide.npz", images=images.astype(np.float32) * 2)
    assert "expected most of the range 0 to 1, -1 to 1 or 0 to 255" in refused(DataError, tmp_path / "wide.npz", photos)


@pytest.mark.parametrize("metrics", ["classes", "classes,memorisation"])
def test_mistakes_are_counted_on_images_that_the_network_has_not_learnt_from(
    photos: Path, samples: Path, metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[MetricInputs] = []
    measure = ClassCoverage.measure
    monkeypatch.setattr(ClassCoverage, "measure", lambda *given: shown.append(given[1]) or measure(*given))
    network = QuarterColours.network

    def knowing(self: Any, store: Any, training: Any, progress: Any = None) -> Any:
        made = network(self, store, training, progress)
        made.validation = training[3:9:2]
        return made

    monkeypatch.setattr(QuarterColours, "network", knowing)
    evaluate(samples, photos, extractor=QuarterColours(), metrics=metrics, held_out=photos)
    validation, real = shown[0].validation, shown[0].real
    assert validation is not None and validation.logits is not None and real.logits is not None
    assert torch.equal(validation.values, real.values[3:9:2]) and torch.equal(validation.logits, real.logits[3:9:2])
    assert validation.labels is not None and real.labels is not None
    assert validation.labels.tolist() == real.labels[3:9:2].tolist()
    evaluate(samples, photos, extractor=QuarterColours(), metrics="kid")
    assert len(shown) == 1


def test_samples_of_classes_that_nobody_knows(photos: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    for name in ("stop", "yield"):
        save_images(tmp_path / "fake" / name, draw.integers(0, 256, (3, 8, 8, 3), np.uint8))
    measurement = evaluate(
        tmp_path / "fake", photos, extractor=QuarterColours(), metrics="kid,classes,intra-fid,label-fidelity"
    )
    assert {"kid", "classes_covered"} <= set(measurement.values)
    assert set(measurement.failures) == {"intra-fid", "label-fidelity"}
    for why in measurement.failures.values():
        assert why.startswith("needs labels: the samples' classes do not match: photos: no class is called 'stop'; ")


def test_a_run_of_other_classes_is_measured_without_labels(own_run: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    for name in ("stop", "yield"):
        save_images(tmp_path / "real" / name, draw.integers(0, 256, (12, 8, 8, 3), np.uint8))
    measurement = evaluate(own_run, tmp_path / "real", num=20, **BY)
    assert measurement.values["labels"].value == -1


@pytest.mark.parametrize(("other", "part"), [("test", "its folder train/"), ("more", "")])
def test_the_reference_says_which_folder_was_read(samples: Path, tmp_path: Path, other: str, part: str) -> None:
    draw = np.random.default_rng(5)
    for name, num in (("train", 9), (other, 4)):
        save_images(tmp_path / "set" / name, draw.integers(0, 256, (num, 8, 8, 3), np.uint8))
    reference = evaluate(samples, tmp_path / "set", **BY).reference
    assert (reference.part, reference.num) == (part, 9 if part else 13)


def test_the_reference_says_which_split_was_read(tmp_path: Path) -> None:
    records = np.random.default_rng(6).integers(0, 10, (30, 3073), np.uint8)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records.tofile(tmp_path / name)
    np.savez(tmp_path / "samples.npz", images=records[:20, 1:].reshape(20, 32, 32, 3))
    for split_, part in (("train", "its split 'train'"), ("all", "")):
        reference = evaluate(
            tmp_path / "samples.npz", "cifar10", root=tmp_path, overrides={"against.split": split_}, **BY
        ).reference
        assert reference.part == part


def test_labels_are_needed_by_some_metrics_only(samples: Path, photos: Path, tmp_path: Path) -> None:
    with np.load(photos) as arrays:
        np.savez(tmp_path / "bare.npz", images=arrays["images"])
    measurement = evaluate(
        samples, tmp_path / "bare.npz", extractor=QuarterColours(), metrics="intra-fid,label-fidelity"
    )
    assert set(measurement.failures) == {"intra-fid", "label-fidelity"}
    assert not measurement.values


def test_a_class_without_samples_is_a_reason_or_a_note(samples: Path, photos: Path, tmp_path: Path) -> None:
    with np.load(photos) as arrays:
        some = arrays["labels"] > 0
        np.savez(tmp_path / "some.npz", images=arrays["images"][some], labels=arrays["labels"][some])
    measurement = evaluate(tmp_path / "some.npz", photos, extractor=QuarterColours(), metrics="intra-fid,classes")
    assert "\n" not in " ".join(measurement.failures.values())
    assert measurement.failures.keys() | measurement.values.keys()


def test_too_few_images_for_a_metric(photos: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8))
    measurement = evaluate(tmp_path / "few.npz", photos, extractor=QuarterColours(), metrics="fid,precision-recall")
    assert not set(measurement.values) & {"fid"}
    assert "3" in measurement.failures["fid"]


def test_a_study_judges_a_run_by_its_folder(own_run: Path) -> None:
    options = EvaluationOptions(metrics=(MeanDistance(),), extractor=QuarterColours(), num=20)
    assert evaluate_run(api.open_run(own_run).folder, options).values == evaluate(own_run, num=20, **BY).values


def test_an_evaluation_that_cannot_fit_is_refused_before_samples_are_made(
    own_run: Path, samples: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 10**8)
    large = refused(ConfigError, own_run, num=1_000_000)
    assert "evaluate.num: 1,000,000 images of" in large and "choose a smaller value" in large
    monkeypatch.setattr(devices, "free_bytes", lambda device: 1000)
    message = refused(ConfigError, samples, against=photos)
    assert "features each need at least" in message
