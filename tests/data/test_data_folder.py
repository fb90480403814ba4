"""Folder: whatever layout people keep images in is read as they would expect, or refused in a line."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gansmith.data.folder import Folder, recognise_source
from gansmith.data.labels import sort_naturally
from gansmith.data.source import Records
from gansmith.errors import ConfigError, DataError, UnreadableImage


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, *names: str, **files: bytes | str) -> Path:
    """Images of these names, and other files, into a folder or, if the path ends so, a zip."""
    contents = {name: png() for name in names} | {
        name.replace("__", "."): text.encode() if isinstance(text, str) else text for name, text in files.items()
    }
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return path
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def labelled(records: Records) -> dict[str, str]:
    assert records.labels is not None
    return {name: records.class_names[label] for name, label in zip(records.names, records.labels, strict=True)}


@pytest.fixture(params=["data", "data.zip"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


# --- layouts -----------------------------------------------------------------------------------------------


def test_flat_images_have_no_classes(place: Path) -> None:
    records = Folder(path=write(place, "b.png", "a.PNG")).records()
    assert records.names == ["a.PNG", "b.png"] and records.labels is None and records.notes == ()


@pytest.mark.parametrize("above", ["", "flowers/", "data/flowers/"])
def test_class_folders_are_found_below_those_that_hold_everything(place: Path, above: str) -> None:
    names = [f"{above}{kind}/{i}.png" for kind in ("rose", "daisy") for i in range(2)]
    records = Folder(path=write(place, *names)).records()
    assert records.class_names == ("daisy", "rose")
    assert labelled(records) == {name: name.split("/")[-2] for name in names}


def test_one_folder_is_no_class(place: Path) -> None:
    assert Folder(path=write(place, "cats/1.png", "cats/2.png")).records().labels is None


def test_classes_are_numbered_as_people_count(place: Path) -> None:
    names = [f"{kind}/{i}.png" for kind in ("10", "2", "1") for i in range(2)]
    records = Folder(path=write(place, *names)).records()
    assert records.class_names == ("1", "2", "10")
    assert labelled(records)["10/0.png"] == "10"


def test_natural_order() -> None:
    assert sort_naturally(["b10", "B2", "b1", "a", "", "007", "8"]) == ["", "007", "8", "a", "b1", "B2", "b10"]
    assert sort_naturally(["9" * 5000, "1"]) == ["1", "9" * 5000]


def test_folders_within_classes_are_said_not_to_be_told_apart(place: Path) -> None:
    records = Folder(path=write(place, "a/x/1.png", "a/2.png", "b/y/1.png", "b/y/2.png")).records()
    assert records.class_names == ("a", "b")
    assert records.notes == ("folders inside class folders (3 images) are ignored",)


def test_a_mixed_layout_has_no_classes_and_says_so(place: Path) -> None:
    path = write(place, "a/1.png", "a/2.png", "b/1.png", "b/2.png", "loose.png")
    records = Folder(path=path).records()
    assert records.labels is None and len(records) == 5
    assert "no classes, because 1 of 5 images are in no folder" in records.notes[0]
    insisted = Folder(path=path, labels="folders").records()
    assert len(insisted) == 4 and insisted.class_names == ("a", "b")
    assert insisted.notes == ("1 images are in no class folder and are skipped",)


def test_a_folder_an_image_is_no_class(place: Path) -> None:
    path = write(place, *(f"{i}/image.png" for i in range(4)))
    records = Folder(path=path).records()
    assert records.labels is None and "4 folders have only 4 images" in records.notes[0]
    assert Folder(path=path, labels="folders").records().class_names == ("0", "1", "2", "3")


def test_labels_none_ignores_folders(place: Path) -> None:
    path = write(place, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    assert Folder(path=path, labels="none").records().labels is None


def test_labels_folders_needs_two_folders(place: Path) -> None:
    with pytest.raises(DataError, match=r"no two folders of images; choose --data\.labels none"):
        Folder(path=write(place, "a/1.png"), labels="folders").records()


def test_the_training_part_is_read_and_the_rest_is_named(place: Path) -> None:
    names = [f"{part}/{kind}/{i}.png" for part in ("Train", "test") for kind in "ab" for i in range(2)]
    path = write(place, *names)
    records = Folder(path=path).records()
    assert [name.split("/")[0] for name in records.names] == ["Train"] * 4
    assert records.class_names == ("a", "b")
    assert records.notes == (
        "only Train/ is read; test/ (4 images) not read: give its path to read it, or --data.split all to read all",
    )


def test_a_class_called_train_is_a_class(place: Path) -> None:
    names = [f"{kind}/{i}.png" for kind in ("car", "train") for i in range(2)]
    assert Folder(path=write(place, *names)).records().class_names == ("car", "train")


def test_windows_separators_in_a_zip(tmp_path: Path) -> None:
    names = [f"{kind}\\{i}.png" for kind in "ab" for i in range(2)]
    assert Folder(path=write(tmp_path / "x.zip", *names)).records().class_names == ("a", "b")


# --- dataset.json ------------------------------------------------------------------------------------------

TWO = ("00000/img0.png", "00000/img1.png")


def dataset_json(labels: Any) -> str:
    return json.dumps({"labels": labels})


def test_dataset_json_gives_labels(place: Path) -> None:
    text = dataset_json([[TWO[0], 2], [TWO[1].replace("/", "\\"), 0]])
    records = Folder(path=write(place, *TWO, dataset__json=text)).records()
    assert records.labels is not None and records.labels.tolist() == [2, 0]
    assert records.class_names == ("0", "1", "2") and records.skipped == ()


def test_dataset_json_in_a_folder_that_holds_everything(place: Path) -> None:
    text = dataset_json([["a/1.png", 0], ["b/1.png", 1]])
    records = Folder(path=write(place, "set/a/1.png", "set/b/1.png", **{"set/dataset__json": text})).records()
    assert records.labels is not None and records.labels.tolist() == [0, 1]


def test_null_labels_are_no_labels(place: Path) -> None:
    names = [f"0000{k}/img{i}.png" for k in range(2) for i in range(2)]
    assert Folder(path=write(place, *names, dataset__json=dataset_json(None))).records().labels is None


def test_folders_may_be_preferred_to_dataset_json(place: Path) -> None:
    path = write(place, "a/1.png", "b/1.png", dataset__json="broken")
    assert Folder(path=path, labels="folders").records().class_names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", 'expected {"labels"'),
        (dataset_json(7), "expected entries such as"),
        (dataset_json([[TWO[0]]]), "expected entries such as"),
        (dataset_json([[TWO[0], 1.5]]), "the label of 00000/img0.png is 1.5; expected a whole number"),
        (dataset_json([[TWO[0], [0, 1]]]), "expected a whole number"),
        (dataset_json([[TWO[0], True]]), "expected a whole number"),
        (dataset_json([[TWO[0], -1]]), "expected a whole number from 0"),
        (dataset_json([[TWO[0], 10**9]]), "expected a whole number from 0 to 99999"),
        (dataset_json([[TWO[0], 0], [TWO[0], 1]]), "labelled twice"),
        (dataset_json([[TWO[0], 0]]), "has no label for 1 of 2 images, first 00000/img1.png"),
        (dataset_json([[TWO[0], 0], [TWO[1], 0], ["x.png", 0]]), "names 1 files that do not exist, first x.png"),
    ],
)
def test_a_malformed_dataset_json_is_refused_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "data", *TWO, dataset__json=text)
    with pytest.raises(DataError) as caught:
        Folder(path=path).records()
    assert message in str(caught.value) and "dataset.json: " in str(caught.value) and "\n" not in str(caught.value)


def test_labels_json_needs_the_file(place: Path) -> None:
    with pytest.raises(DataError, match=r"there is no dataset\.json"):
        Folder(path=write(place, "a.png"), labels="json").records()


# --- other files, and none ---------------------------------------------------------------------------------


def test_files_that_are_no_images_are_named(place: Path) -> None:
    records = Folder(path=write(place, "a.png", notes__txt="text", photo__psd=b"x")).records()
    assert records.skipped == (
        ("notes.txt", "the suffix is not that of an image"),
        ("photo.psd", "the suffix is not that of an image"),
    )


def test_a_folder_without_images_is_refused(place: Path) -> None:
    with pytest.raises(DataError, match=r"no image files among 1; expected names that end in \.png"):
        Folder(path=write(place, notes__txt="text")).records()


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image files among 0"):
        Folder(path=tmp_path).records()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or zip"):
        Folder(path=tmp_path / "nothing").records()


def test_hostile_names_alone_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 skipped, first \.\./up\.png: a name that points outside the archive"):
        Folder(path=write(tmp_path / "x.zip", "../up.png")).records()


def test_known_sets_are_hinted_at(place: Path) -> None:
    assert recognise_source(["x/GT-00012.csv"]) == recognise_source(["0/00000_00001_00002.png"]) == "gtsrb"
    assert recognise_source(["cifar-10-batches-bin/data_batch_1.bin"]) == "cifar10"
    assert recognise_source(["a.png"]) is None
    with pytest.raises(DataError, match="looks like mnist; use 'mnist --root"):
        Folder(path=write(place, **{"train-images-idx3-ubyte": b"x"})).records()


def test_a_known_set_with_images_gets_a_note(place: Path) -> None:
    names = [f"{k}/0000{k}_00000_0000{i}.png" for k in range(2) for i in range(2)]
    assert "this looks like gtsrb" in Folder(path=write(place, *names)).records().notes[-1]


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_the_flowers_have_five_classes() -> None:
    records = Folder(path=Path(os.environ["GANSMITH_DATA"]) / "folder" / "flowers_128.zip").records()
    assert len(records) == 4317 and records.skipped == records.notes == ()
    assert records.class_names == ("daisy", "dandelion", "rose", "sunflower", "tulip")


# --- reading -----------------------------------------------------------------------------------------------


def test_images_are_read_lazily_and_broken_ones_say_why(place: Path) -> None:
    path = write(place, "a.png", b__png="once upon a time", c__png=b"")
    records = Folder(path=path).records()
    assert len(records) == 3
    image = records.read(0)
    assert isinstance(image, Image.Image) and image.size == (4, 4)
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        records.read(1)
    with pytest.raises(UnreadableImage, match="the file is empty"):
        records.read(2)


def test_a_file_that_has_gone_is_unreadable(tmp_path: Path) -> None:
    records = Folder(path=write(tmp_path / "data", "a.png")).records()
    (tmp_path / "data" / "a.png").unlink()
    with pytest.raises(UnreadableImage, match="No such file"):
        records.read(0)


def test_a_wanted_size_reaches_the_decoder(tmp_path: Path) -> None:
    Image.new("RGB", (800, 800)).save(tmp_path / "a.jpg")
    image = Folder(path=tmp_path).records((32, 32)).read(0)
    assert isinstance(image, Image.Image) and image.size == (100, 100)


def test_the_fingerprint_follows_images_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "data", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    first = Folder(path=path).records().fingerprint
    assert Folder(path=path).records().fingerprint == first
    assert Folder(path=path, labels="none").records().fingerprint != first
    os.utime(path / "a" / "1.png", ns=(1, 1))
    assert Folder(path=path).records().fingerprint != first


def test_a_source_is_a_checked_component() -> None:
    assert Folder(path="~/images").path == Path("~/images")  # type: ignore[arg-type]
    assert Folder(path=Path("x/flowers_128.zip")).title == "flowers_128"
    with pytest.raises(ConfigError, match=r"Folder\.labels: 'folder' is not known; did you mean 'folders'"):
        Folder(path=Path("x"), labels="folder")  # type: ignore[arg-type]


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    write(tmp_path / "images", "a.png")
    assert len(Folder(path=Path("~/images")).records()) == 1
