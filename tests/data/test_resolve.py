"""resolve and parse_size: what a user types, on any system, becomes a source or one clear line."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.data import SOURCES, resolve
from gansmith.data.digits import Digits
from gansmith.data.folder import Folder
from gansmith.data.idx import Mnist
from gansmith.data.npz import Npz
from gansmith.errors import ConfigError, DataError, GansmithError
from gansmith.trust import trust_user_input
from gansmith.types import parse_size


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in ("folder", "npz")])
def test_every_name_is_a_source(name: str) -> None:
    assert type(resolve(name)).__name__.lower() == name.replace("-", "")


def test_a_root_reaches_the_source(tmp_path: Path) -> None:
    assert resolve("mnist", tmp_path) == Mnist(root=tmp_path)
    assert resolve("mnist", Path("here")) == Mnist(root=Path("here").absolute())


def test_a_class_from_outside_is_a_source() -> None:
    with trust_user_input():
        assert resolve("gansmith.data.digits:Digits") == Digits()


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "images" / "a.png")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(tmp_path / "images" / "a.png")
    np.savez(tmp_path / "arrays.npz", np.zeros((2, 4, 4), np.uint8))
    assert resolve(str(tmp_path / "images")) == Folder(path=tmp_path / "images")
    assert resolve(str(tmp_path / "images.zip")) == Folder(path=tmp_path / "images.zip")
    assert resolve(str(tmp_path / "arrays.npz")) == Npz(path=tmp_path / "arrays.npz")
    monkeypatch.chdir(tmp_path)
    assert resolve("images") == Folder(path=tmp_path / "images")  # absolute, wherever one resumes


def test_a_folder_called_like_a_source_needs_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("mnist", tmp_path / "mnist") == Mnist(root=tmp_path / "mnist")
    with pytest.raises(ConfigError, match=r"write \./mnist for the folder"):
        resolve("mnist")
    assert resolve("./mnist") == Folder(path=tmp_path / "mnist")


@pytest.mark.parametrize(
    "text", ["imagse", "./x", "C:\\GANs\\images1", "C:images1", "D:\\MyImages\\GAN_Dataset", "x.zip"]
)
def test_a_path_that_is_not_there_names_both_readings(text: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve(text)
    start = f"data: no data set, folder or file is called '{text}'; "
    assert str(caught.value).startswith(start) and "\n" not in str(caught.value)


def test_a_misspelt_name_is_recognised() -> None:
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        resolve("mnits")


def test_files_of_no_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DataError, match=r"expected a folder, a zip or an \.npz"):
        resolve(str(tmp_path / "notes.txt"))
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match="use 'cifar10 --root "):
        resolve(str(tmp_path / "cifar-10-binary.tar.gz"))


@pytest.mark.parametrize(
    ("text", "root", "message"),
    [
        ("digits", "x", "--root: 'digits' reads no files; omit --root"),
        ("./images", "x", "--root: expected with a named data set, but './images' is a path"),
        ("folder", None, "data: 'folder' needs a path; write the path itself instead of 'folder'"),
        ("npz", "x", "data: 'npz' needs a path"),
        ("nowhere.at.all:Source", None, "data: cannot import 'nowhere.at.all:Source'"),
        ("gansmith.data.store:Store", None, "is not a Source"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, root: str | None, message: str) -> None:
    with trust_user_input(), pytest.raises(ConfigError) as caught:
        resolve(text, None if root is None else Path(root))
    assert message in str(caught.value)


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, gansmith.data; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "size"), [("64", (64, 64)), ("48x64", (64, 48)), (" 48 X 64 ", (64, 48)), ("48\u00d764", (64, 48))]
)
def test_sizes_are_written_width_first_and_kept_height_first(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "64x", "x64", "64x0", "-64", "64.0", "64x64x3", "large", "1000000"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(GansmithError, match="expected a size such as 64 or 48x64"):
        parse_size(text)


def test_a_damaged_zip_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(b"PK\x03\x04 and then the line broke")
    with pytest.raises(DataError, match="the zip is damaged or incomplete"):
        resolve(str(path))
