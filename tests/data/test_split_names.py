"""Folders that are parts of a data set, by the names that people give them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.data import resolve
from gansmith.data.folder import Folder
from gansmith.data.split_names import is_split, is_training_split
from gansmith.errors import ConfigError, DataError

TRAINING = (
    "train",
    "Training",
    "training_set",
    "train-images",
    "TrainData",
    "train set",
    "seg_train",
    "train2017",
    "images_train",
)
OTHERS = (
    "test",
    "Testing",
    "test_set",
    "val",
    "valid",
    "Validation",
    "validation-set",
    "dev",
    "eval",
    "seg_test",
    "val2017",
)


def write(path: Path, num: int = 1) -> None:
    path.mkdir(parents=True)
    for i in range(num):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)).save(path / f"{i}.png")


@pytest.mark.parametrize("training", TRAINING)
def test_usual_names_are_splits(training: str) -> None:
    assert is_split(training) and is_training_split(training)
    assert all(is_split(other) and not is_training_split(other) for other in OTHERS)


@pytest.mark.parametrize(
    "name", ["", "trains", "cats", "testimony", "valley", "set", "trainstation", "images", "traintest"]
)
def test_other_names_are_not(name: str) -> None:
    assert not is_split(name)


def test_only_the_training_images_are_read_unless_all_are_asked_for(tmp_path: Path) -> None:
    for part, num in (("training_set", 4), ("test_set", 2)):
        for name in ("cats", "dogs"):
            write(tmp_path / part / name, num)
    records = Folder(path=tmp_path).records()
    assert (len(records), records.class_names) == (8, ("cats", "dogs"))
    assert "only training_set/ is read" in records.notes[0] and "--data.split all" in records.notes[0]
    whole = Folder(path=tmp_path, split="all").records()
    assert (len(whole), whole.class_names) == (12, ("cats", "dogs"))
    assert whole.notes == ()
    assert whole.labels is not None and np.bincount(whole.labels).tolist() == [6, 6]


@pytest.mark.parametrize("parts", [("train", "training", "test"), ("val", "test")])
def test_parts_of_which_not_one_is_for_training_are_asked_about(parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        write(tmp_path / part, 2)
    with pytest.raises(DataError, match=r"found the splits .*exactly one .*--data\.split all"):
        Folder(path=tmp_path).records()
    assert Folder(path=tmp_path, split="all").records().labels is None


def test_folders_with_the_same_sub_folders_are_asked_about(tmp_path: Path) -> None:
    for part in ("a", "b"):
        for name in ("cats", "dogs"):
            write(tmp_path / part / name, 2)
    with pytest.raises(
        DataError, match=r"the folders a, b have the same sub-folders cats, dogs.*--data.labels folders"
    ):
        Folder(path=tmp_path).records()
    assert Folder(path=tmp_path, labels="folders").records().class_names == ("a", "b")
    assert Folder(path=tmp_path, labels="none").records().labels is None


def test_classes_of_decomposed_and_unflagged_names_are_composed(tmp_path: Path) -> None:
    for name in ("u\u0308berholen", "vorfahrt"):
        write(tmp_path / "signs" / name, 2)
    assert Folder(path=tmp_path / "signs").records().class_names == ("vorfahrt", "überholen")
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as packed:
        for path in sorted((tmp_path / "signs").rglob("*.png")):
            packed.writestr(_Unflagged(str(path.relative_to(tmp_path / "signs"))), path.read_bytes())
    assert Folder(path=tmp_path / "mac.zip").records().class_names == ("vorfahrt", "überholen")


class _Unflagged(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the flag that says so, as macOS packs them."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802
        return self.filename.encode(), self.flag_bits & ~0x800


def test_a_folder_called_like_a_data_set_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "digits", 2)
    with pytest.raises(ConfigError, match=r"'digits' is both a known data set and a folder here; write ./digits"):
        resolve("digits")
    assert isinstance(resolve("./digits"), Folder)


def test_an_empty_class_of_a_json_is_named_and_a_vector_refused(tmp_path: Path) -> None:
    write(tmp_path / "images", 4)
    labels = [[f"{i}.png", 1 + i % 2] for i in range(4)]
    (tmp_path / "images" / "dataset.json").write_text(f'{{"labels": {labels}}}'.replace("'", '"'))
    records = Folder(path=tmp_path / "images").records()
    assert records.notes[0].startswith("dataset.json has no image of class 0;")
    (tmp_path / "images" / "dataset.json").write_text('{"labels": [["0.png", [0.1, 0.2]]]}')
    with pytest.raises(DataError, match=r"a vector of 2 numbers; .*--data.labels none"):
        Folder(path=tmp_path / "images").records()
