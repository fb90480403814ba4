"""Labelled data sets of generated images: what is in them, what is left out, and that nothing is left half."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import gansmith
from gansmith.cli import main
from gansmith.data import resolve
from gansmith.data.check import check
from gansmith.data.integrity import hash_tensors
from gansmith.data.store import Preparation
from gansmith.deploy import dataset as module
from gansmith.deploy.containers import MANIFEST, LabelledPicture, open_container
from gansmith.deploy.dataset import DatasetOptions, export_data, name_folders, plan_classes
from gansmith.errors import ConfigError, GansmithError
from gansmith.metrics.features import FeatureNetwork
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator

CHANGES = {"model.width": 4, "batch_size": 4, "preparation.size": [16, 16], "guard": None, "tracking": None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on digits, hardly trained."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    return gansmith.train("digits", preset="dcgan-r1", length="2 steps", run=path, overrides=CHANGES).folder


@pytest.fixture(scope="module")
def folder(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of each class."""
    return export_data(run, tmp_path_factory.mktemp("made") / "set", DatasetOptions(per_class=3)).path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def manifest(path: Path) -> list[dict[str, Any]]:
    return lines((path / MANIFEST).read_text(encoding="utf-8"))


def contents(path: Path) -> dict[str, bytes]:
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in path.rglob("*") if each.is_file()}


# --- what is in it -----------------------------------------------------------------------------------------


def test_each_image_is_that_of_its_seed_and_class(folder: Path, run: RunFolder) -> None:
    generator = gansmith.open_run(run.path).generator()
    known = manifest(folder)
    assert [line["label"] for line in known] == [label for label in range(10) for _ in range(3)]
    assert len({line["seed"] for line in known}) == 30 and min(line["seed"] for line in known) == 10_000_000
    assert sorted(contents(folder)) == sorted([MANIFEST, *(line["file"] for line in known)])
    for line in known:
        assert line["file"] == f"{line['class_name']}/seed{line['seed']:010d}.png"
        assert line["generator"] == hash_tensors(generator.network.state_dict()) and line["truncation"] == 1
        with Image.open(folder / line["file"]) as image:
            wanted = generator.sample(1, seed=line["seed"], label=line["label"]).images[0, :, :, 0]
            assert np.abs(np.asarray(image).astype(int) - wanted).max() <= 1


def test_the_same_command_writes_the_same_bytes_and_more_images_keep_the_first(
    folder: Path, run: RunFolder, tmp_path: Path
) -> None:
    again = export_data(run, tmp_path / "again", DatasetOptions(per_class=3)).path
    assert contents(again) == contents(folder)
    more = contents(export_data(run, tmp_path / "more", DatasetOptions(per_class=40)).path)
    assert {name: more[name] for name in contents(folder) if name != MANIFEST} == {
        name: content for name, content in contents(folder).items() if name != MANIFEST
    }
    other = export_data(run, tmp_path / "other", DatasetOptions(per_class=3, seed=5, truncation=0.5)).path
    assert manifest(other)[0]["seed"] == 5 and manifest(other)[0]["truncation"] == 0.5


def test_it_reads_back_and_trains(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings = check(resolve(str(folder)), Preparation())
    assert findings.num_images == 30 and not findings.unreadable
    assert main(["data", "check", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_images"] == 30 and found["classes"] == {str(number): 3 for number in range(10)}
    trained = gansmith.train(folder, preset="dcgan-r1", length="1 steps", run=tmp_path / "run", overrides=CHANGES)
    assert trained.generator().class_names == tuple(map(str, range(10)))


def test_a_zip_has_the_same_files(folder: Path, run: RunFolder, tmp_path: Path) -> None:
    words = ["export", "data", str(run.path), "--per_class", "3", "--out", str(tmp_path / "set.zip")]
    assert main(words) == 0
    first = (tmp_path / "set.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents(folder)
    assert main([*words, "--replace"]) == 0 and (tmp_path / "set.zip").read_bytes() == first
    assert resolve(str(tmp_path / "set.zip")).records().class_names == tuple(map(str, range(10)))


def test_shards_are_as_webdataset_reads_them(folder: Path, run: RunFolder, tmp_path: Path) -> None:
    options = DatasetOptions(per_class=3, container="webdataset", shard_size=8)
    path = export_data(run, tmp_path / "shards", options).path
    shards = sorted(path.glob("*.tar"))
    assert [shard.name for shard in shards] == [f"{number:06d}.tar" for number in range(4)]
    groups: list[dict[str, bytes]] = []  # files with one key, one after the other, are a sample
    for shard in shards:
        key = None
        with tarfile.open(shard) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "") and member.isreg()
                name, _, suffix = member.name.partition(".")
                if name != key:
                    groups.append({})
                    key = name
                file = archive.extractfile(member)
                assert file is not None
                groups[-1][suffix] = file.read()
    known = manifest(folder)
    assert [sorted(group) for group in groups] == [["cls", "json", "png"]] * 30
    for group, line, other in zip(groups, known, manifest(path), strict=True):
        assert group["png"] == (folder / line["file"]).read_bytes() and int(group["cls"]) == line["label"]
        assert json.loads(group["json"]) == other and {**other, "file": line["file"]} == line
    assert manifest(path)[9]["file"] == "000001.tar/00000009.png"


# --- filling up rare classes -------------------------------------------------------------------------------


@pytest.fixture
def rare(tmp_path: Path) -> Path:
    """Real digits: five of class 3, two of class 7."""
    for name, num in (("3", 5), ("7", 2)):
        for i in range(num):
            (tmp_path / "real" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16), i, np.uint8)).save(tmp_path / "real" / name / f"{i}.png")
    return tmp_path / "real"


@pytest.mark.parametrize(
    ("more", "wanted"), [([], [5, 5, 5, 0, 5, 5, 5, 3, 5, 5]), (["--target", "4"], [4, 4, 4, 0, 4, 4, 4, 2, 4, 4])]
)
def test_rare_classes_are_filled_up(
    rare: Path, run: RunFolder, more: list[str], wanted: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "data", str(run.path), "--balance", str(rare), "--out", str(tmp_path / "made"), *more]
    assert main([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["wanted"] == plain["written"] == wanted and plain["num_images"] == sum(wanted)
    assert [sum(line["label"] == label for line in manifest(tmp_path / "made")) for label in range(10)] == wanted


def test_classes_that_the_generator_cannot_draw(class_generator: TrainedGenerator, rare: Path) -> None:
    few = DatasetOptions(balance=resolve(str(rare)), target=2)
    assert plan_classes(class_generator, DatasetOptions(per_class=4)) == [4, 4, 0]
    with pytest.raises(ConfigError, match="--balance: no class 3; expected 0 to 2, or a class name"):
        plan_classes(class_generator, DatasetOptions(balance=resolve(str(rare))))
    with pytest.raises(ConfigError) as caught:
        plan_classes(dataclasses.replace(class_generator, class_names=("7", "3", "1")), few)
    assert str(caught.value) == "--balance: every class of real has 2 images or more; raise --target, or omit it"
    (rare / "3").rename(rare / "x")
    shutil.rmtree(rare / "7")
    with pytest.raises(ConfigError, match="--balance: real has no labels, so its classes cannot be counted"):
        plan_classes(class_generator, DatasetOptions(balance=resolve(str(rare))))


# --- what is left out --------------------------------------------------------------------------------------


class Judge(FeatureNetwork):
    """Says class 1 of images whose first pixel is even, and is sure of 0.9."""

    def __call__(self, pixels: Any) -> Any:
        even = (pixels[:, 0, 0, 0] % 2 == 0).long()
        probabilities = torch.full((len(pixels), 10), 0.1 / 9)
        probabilities[torch.arange(len(pixels)), even] = 0.9
        return probabilities, probabilities.log()


def test_images_that_are_not_called_by_their_class_are_dropped(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_extractor", lambda *_: Judge())
    monkeypatch.setattr(module, "MOST_TRIES", 40)
    made = export_data(run, tmp_path / "made", DatasetOptions(per_class=4, least_probability=0.8))
    assert made.written == (4, 4, *[0] * 8) and made.copies == 0
    assert made.tried[2:] == (160,) * 8 and made.unlike > 8 * 160
    for line in manifest(made.path):
        with Image.open(made.path / line["file"]) as image:
            assert np.asarray(image)[0, 0] % 2 == 1 - line["label"] and line["probability"] == pytest.approx(0.9)
    text = list(made.lines())
    assert text[0] == f"8 images of 2 classes: {made.path}"
    assert text[2] == "class 2: only 0 of 4; lower --least_probability, or train longer"


def test_copies_of_training_images_are_dropped(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.open_own_images(run, module.EvaluationOptions(), module.make_console(quiet=True))
    known = real.store.images[real.indices]
    make = TrainedGenerator.images

    def images(generator: TrainedGenerator, z: Any, labels: Any) -> Any:
        made = make(generator, z, labels)
        made[::2] = known[: len(made[::2])]  # every second one is a training image
        return made

    monkeypatch.setattr(TrainedGenerator, "images", images)
    made = export_data(run, tmp_path / "made", DatasetOptions(per_class=2, drop_copies=True))
    assert made.written == (2,) * 10 and made.copies >= 15 * 10
    kept = [
        np.asarray(Image.open(io.BytesIO(content))) for name, content in contents(made.path).items() if name != MANIFEST
    ]
    assert not any(image.tobytes() in {each.tobytes() for each in known} for image in kept)


# --- nothing half, nothing lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["folder", "zip", "webdataset"])
def test_an_interrupted_export_leaves_nothing(container: Any, tmp_path: Path) -> None:
    picture = LabelledPicture(class_folder="a", stem="x", content=b"new", facts={"label": 0})
    path = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt), open_container(path, container, shard_size=1) as add:
        add(picture)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with open_container(path, container) as add:
        add(picture)
    before = contents(tmp_path)
    with pytest.raises(ConfigError) as caught, open_container(path, container):
        pass
    assert str(caught.value) == f"{path}: exists already; choose another --out, or add --replace"
    with pytest.raises(KeyboardInterrupt), open_container(path, container, replace=True) as add:
        add(dataclasses.replace(picture, content=b"newer"))
        raise KeyboardInterrupt
    assert contents(tmp_path) == before
    with open_container(path, container, replace=True) as add:
        add(dataclasses.replace(picture, content=b"newest"))
    assert contents(tmp_path) != before and [each.name for each in tmp_path.iterdir()] == ["set"]


def test_only_an_earlier_export_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_text("mine")
    (tmp_path / "text.zip").write_text("mine")
    for name, container in (("photos", "folder"), ("photos", "zip"), ("text.zip", "zip"), ("text.zip", "folder")):
        with pytest.raises(ConfigError) as caught, open_container(tmp_path / name, container, replace=True):
            pass
        kept = "is not an earlier export of this kind, so it is kept; choose another --out"
        assert str(caught.value) == f"{tmp_path / name}: {kept}"
    assert contents(tmp_path) == {"photos/mine.jpg": b"mine", "text.zip": b"mine"}


# --- names and options -------------------------------------------------------------------------------------


def test_every_system_accepts_the_folders_of_the_classes() -> None:
    names = ["stop", "speed limit 20", "../up", "a/b", "Cat", "cat", "test", "", "x" * 120, "dot.", "ü", "-rf"]
    assert name_folders(names) == [
        "stop", "speed limit 20", "class0002-up", "class0003-a-b", "class0004-Cat", "class0005-cat", "class0006-test",
        "class0007", f"class0008-{'x' * 100}", "class0009-dot", "ü", "class0011-rf",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "export data: expected one of --per_class N and --balance DATA"),
        (["--per_class", "1", "--balance", "digits"], "export data: expected one of --per_class N and --balance DATA"),
        (["--per_class", "0"], "--per_class: 0 is out of range; expected 1 to 10,000,000"),
        (["--per_class", "1", "--target", "5"], "--target: only with --balance DATA; otherwise use --per_class N"),
        (["--per_class", "1", "--least_probability", "1"], "--least_probability: 1.0 is out of range; expected 0 to "),
        (["--per_class", "1", "--truncation", "0"], "--truncation: 0.0 is out of range; expected more than 0 and at "),
        (["--per_class", "1", "--seed", "-1"], "--seed: -1 is out of range; expected 0 to "),
        (["--per_class", "1", "--root", "x"], "--root: says where the data set of --balance lies; name that too"),
        (["--per_class", "1", "--shards", "--out", "x.zip"], "--shards: writes a folder, but --out is x.zip; name a "),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], message: str, run: RunFolder, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "data", str(run.path), *words]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}") and not list(tmp_path.iterdir())


def test_a_model_without_classes_and_an_unknown_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {**CHANGES, "use_labels": False}
    run = gansmith.train("digits", preset="dcgan-r1", length="1 steps", run=tmp_path / "run", overrides=changes)
    with pytest.raises(
        GansmithError, match="trained without labels, so its images have no class; use: gansmith sample"
    ):
        export_data(run.folder, tmp_path / "made", DatasetOptions(per_class=1))
    assert main(["export", "dta", "x"]) == 2
    assert capsys.readouterr().err == "error: gansmith export dta: no such format; did you mean 'data'?\n"
