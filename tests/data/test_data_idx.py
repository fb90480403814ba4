"""MNIST and Fashion-MNIST from IDX files, well-formed and not."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gansmith import download
from gansmith.data import idx
from gansmith.data.idx import FashionMnist, Mnist, read_idx
from gansmith.errors import DataError


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def images_and_labels(num: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num, 28, 28), np.uint8), rng.integers(0, 10, num, np.uint8)


TRAIN, TEST = images_and_labels(12, 0), images_and_labels(5, 1)


def write_set(folder: Path, spelling: str) -> Path:
    """Both splits; the spelling has places for prefix, kind and number of dimensions."""
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, arrays in (("train", TRAIN), ("t10k", TEST)):
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            name = spelling.format(prefix=prefix, kind=kind, ndim=array.ndim)
            data = idx_bytes(array)
            (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


SPELLINGS = [
    "{prefix}-{kind}-idx{ndim}-ubyte",
    "{prefix}-{kind}-idx{ndim}-ubyte.gz",
    "{prefix}-{kind}.idx{ndim}-ubyte",
    "{prefix}-{kind}.idx{ndim}-ubyte.gz",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_packed_and_unpacked_files_read_the_same(tmp_path: Path, spelling: str) -> None:
    records = Mnist(root=write_set(tmp_path, spelling)).records()
    assert len(records) == 12
    assert records.class_names == tuple("0123456789")
    assert records.labels is not None and records.labels.dtype == np.int64
    np.testing.assert_array_equal(records.labels, TRAIN[1])
    for index in range(12):
        np.testing.assert_array_equal(records.read(index), TRAIN[0][index][..., None])


def test_torchvision_leaves_them_in_a_subfolder(tmp_path: Path) -> None:
    write_set(tmp_path / "MNIST" / "raw", SPELLINGS[0])
    write_set(tmp_path / "FashionMNIST" / "raw", SPELLINGS[1])
    assert len(Mnist(root=tmp_path).records()) == 12
    records = FashionMnist(root=tmp_path, split="test").records()
    assert len(records) == 5
    assert records.class_names[9] == "ankle boot" and len(records.class_names) == 10


def test_splits(tmp_path: Path) -> None:
    write_set(tmp_path, SPELLINGS[1])
    train, test, both = (Mnist(root=tmp_path, split=split).records() for split in ("train", "test", "all"))
    assert (len(train), len(test), len(both)) == (12, 5, 17)
    np.testing.assert_array_equal(both.labels, np.concatenate([TRAIN[1], TEST[1]]))
    np.testing.assert_array_equal(both.read(12), TEST[0][0][..., None])
    assert len({train.fingerprint, test.fingerprint, both.fingerprint}) == 3


def test_the_fingerprint_is_that_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    packed = Mnist(root=write_set(tmp_path / "packed", SPELLINGS[1])).records()
    plain = Mnist(root=write_set(tmp_path / "plain", SPELLINGS[0])).records()
    assert packed.fingerprint == plain.fingerprint
    relabelled = (TRAIN[1] + 1) % 10
    (tmp_path / "plain" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(relabelled))
    assert Mnist(root=tmp_path / "plain").records().fingerprint != packed.fingerprint


GOOD = idx_bytes(TRAIN[0])
BAD = {
    "empty": (b"", "ends too early"),
    "text": (b"hello world", "begins with 68 65 6c 6c, expected 00 00 08 03"),
    "floats": (b"\0\0\x0d\3" + GOOD[4:], "begins with"),
    "labels": (idx_bytes(TRAIN[1]), "begins with 00 00 08 01, expected 00 00 08 03"),
    "cut": (GOOD[:-1], "ends too early"),
    "longer": (GOOD + b"\0", "it continues after its 9,408 values"),
    "no images": (idx_bytes(TRAIN[0][:0]), "it declares 0 x 28 x 28 bytes"),
    "huge": (struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "it declares"),
    "cut gzip": (gzip.compress(GOOD)[:-20], "not a usable IDX file"),
    "spoilt gzip": (gzip.compress(GOOD)[:-8] + bytes(8), "not a usable IDX file"),
    "gzip in name only": (b"\x1f\x8bnot at all", "not a usable IDX file"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, expected = BAD[name]
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(DataError) as refused:
        read_idx(path, dimensions=3)
    assert str(refused.value).startswith(f"{path}: ")
    assert expected in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "array", "expected"),
    [
        ("labels", TRAIN[1][:-1], "11 labels for the 12 images of train-images-idx3-ubyte"),
        ("labels", np.full(12, 10, np.uint8), "label 10, expected 0 to 9"),
        ("images", TRAIN[0][:, :27], "images of 28x27 .*, expected 28x28"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(
    tmp_path: Path, kind: str, array: NDArray[np.uint8], expected: str
) -> None:
    write_set(tmp_path, SPELLINGS[0])
    (tmp_path / f"train-{kind}-idx{array.ndim}-ubyte").write_bytes(idx_bytes(array))
    with pytest.raises(DataError, match=expected):
        Mnist(root=tmp_path).records()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_set(tmp_path, SPELLINGS[0])
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(Mnist(root=tmp_path).records()) == 12
    with pytest.raises(DataError, match=r"mnist: no t10k-labels-idx1-ubyte or .*\.gz in .*; put it there"):
        Mnist(root=tmp_path, split="test").records()


def test_without_a_root_the_pinned_files_are_fetched_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "web", SPELLINGS[1])
    asked: list[tuple[Any, Path]] = []

    def fetch(file: download.RemoteFile, folder: Path) -> Path:
        asked.append((file, folder))
        return tmp_path / "web" / file.name

    monkeypatch.setattr(idx, "fetch", fetch)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    assert len(FashionMnist().records()) == 12
    assert {folder for _, folder in asked} == {tmp_path / "cache" / "fashion-mnist"}
    assert [file.name for file, _ in asked] == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]


def test_what_it_says_of_itself() -> None:
    assert (Mnist().kind, FashionMnist().kind) == ("digits", "photos")
    assert Mnist().native_size == FashionMnist().native_size == (28, 28)


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_the_real_files_are_those_that_are_pinned() -> None:
    root = Path(os.environ["GANSMITH_DATA"]) / "mnist"
    for file in idx._MNIST.files.values():
        assert download._flaw(root / file.name, file) is None
    labels = Mnist(root=root).records().labels
    assert labels is not None
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((1_300_000, 28, 28), (12,), "12 labels for the 1,300,000 images"),
        ((12, 28, 28), (2**30,), "1,073,741,824 labels for the 12 images"),
        ((1, 32_000, 32_000), (1,), "images of 32000x32000, expected 28x28"),
        ((2**32 - 1, 28, 28), (12,), "it declares 4294967295 x 28 x 28 bytes"),
    ],
)
def test_what_headers_claim_is_compared_before_values_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: tuple[int, ...], labels: tuple[int, ...], message: str
) -> None:
    for name, shape in (("train-images-idx3-ubyte.gz", images), ("train-labels-idx1-ubyte.gz", labels)):
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (tmp_path / name).write_bytes(gzip.compress(header + bytes(100)))
    monkeypatch.setattr(idx, "_read_values", lambda *_: pytest.fail("values were read"))
    with pytest.raises(DataError, match=message):
        Mnist(root=tmp_path).records()
