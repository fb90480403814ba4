"""CIFAR-10 in both versions, packed and not, whole and in part."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gansmith.data import cifar
from gansmith.data.cifar import Cifar10
from gansmith.download import RemoteFile
from gansmith.errors import DataError

NAMES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
NUM = 4  # images a batch


def image(batch: int, index: int) -> NDArray[np.uint8]:
    """[h w c] with every row, column and channel different, so that no two axes can be confused."""
    rows, columns, channels = np.meshgrid(np.arange(32), np.arange(32), np.arange(3), indexing="ij")
    return (7 * batch + 3 * index + rows + 2 * columns + 50 * channels).astype(np.uint8)


def label(batch: int, index: int) -> int:
    return (batch + index) % 10


def planes(batch: int) -> NDArray[np.uint8]:
    """[n 3072], each image's red plane first."""
    return np.stack([image(batch, index).transpose(2, 0, 1).reshape(-1) for index in range(NUM)])


def binary_files(batches: list[str]) -> dict[str, bytes]:
    files = {"batches.meta.txt": "\n".join([*NAMES, "", ""]).encode()}
    for name in batches:
        batch = BATCHES.index(name)
        labels = np.array([[label(batch, index)] for index in range(NUM)], np.uint8)
        files[f"{name}.bin"] = np.hstack([labels, planes(batch)]).tobytes()
    return files


def python_files(batches: list[str]) -> dict[str, bytes]:
    contents: dict[str, Any] = {"batches.meta": {"label_names": NAMES, "num_vis": 3072}}
    for name in batches:
        batch = BATCHES.index(name)
        contents[name] = {"data": planes(batch), "labels": [label(batch, index) for index in range(NUM)]}
    return {name: pickle.dumps(content, protocol=2) for name, content in contents.items()}


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def pack(files: dict[str, bytes], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"readme.html": b"hello", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def places(tmp_path: Path) -> dict[str, Path]:
    binary, python = binary_files(BATCHES), python_files(BATCHES)
    unpack(binary, tmp_path / "both" / "cifar-10-batches-bin")
    unpack(python, tmp_path / "torchvision" / "cifar-10-batches-py")
    return {
        "binary archive": pack(binary, tmp_path / "binary.tar.gz"),
        "python archive": pack(python, tmp_path / "python.tar.gz"),
        "folder of an archive": pack(binary, tmp_path / "packed" / "cifar-10-binary.tar.gz").parent,
        "binary folder": unpack(binary, tmp_path / "binary"),
        "python folder": unpack(python, tmp_path / "python"),
        "above a binary folder": tmp_path / "both",
        "above a python folder": tmp_path / "torchvision",
    }


def test_all_versions_hold_the_same(tmp_path: Path) -> None:
    fingerprints = set()
    for place, root in places(tmp_path).items():
        records = Cifar10(root=root, split="all").records()
        assert len(records) == 6 * NUM, place
        assert records.class_names == tuple(NAMES) and records.notes == ()
        for number in range(6 * NUM):
            batch, index = divmod(number, NUM)
            assert records.names[number] == f"{BATCHES[batch]}[{index}]"
            assert records.labels is not None and records.labels[number] == label(batch, index)
            np.testing.assert_array_equal(records.read(number), image(batch, index))
        fingerprints.add(records.fingerprint)
    assert len(fingerprints) == 1


def test_splits(tmp_path: Path) -> None:
    root = unpack(binary_files(BATCHES), tmp_path / "cifar")
    train, test = Cifar10(root=root).records(), Cifar10(root=root, split="test").records()
    assert (len(train), len(test)) == (5 * NUM, NUM)
    np.testing.assert_array_equal(test.read(0), image(5, 0))
    assert train.fingerprint != test.fingerprint


def test_an_incomplete_copy_is_read_and_says_what_is_missing(tmp_path: Path) -> None:
    path = pack(binary_files(BATCHES[:2]), tmp_path / "cifar-10-two.tar.gz")
    records = Cifar10(root=tmp_path).records()
    assert len(records) == 2 * NUM
    missing = "missing: data_batch_3, data_batch_4, data_batch_5"
    assert records.notes == (f"only 2 of 5 batches are in {path}; {missing}",)
    with pytest.raises(DataError, match=r"cifar10: none of test_batch is in .*cifar-10-two\.tar\.gz; give --root"):
        Cifar10(root=tmp_path, split="test").records()


def test_of_several_archives_the_largest_is_read(tmp_path: Path) -> None:
    pack(binary_files(BATCHES[:2]), tmp_path / "cifar-10-two.tar.gz")
    pack(binary_files(BATCHES), tmp_path / "cifar-10-binary.tar.gz")
    assert Cifar10(root=tmp_path).records().notes == ()


def test_without_a_list_the_names_are_the_published_ones(tmp_path: Path) -> None:
    files = binary_files(BATCHES)
    del files["batches.meta.txt"]
    names = Cifar10(root=unpack(files, tmp_path / "cifar")).records().class_names
    assert (names[0], names[1], names[9]) == ("airplane", "automobile", "truck")


def spoilt(name: str, data: bytes) -> dict[str, bytes]:
    files = binary_files(BATCHES) if name.endswith((".bin", ".txt")) else python_files(BATCHES)
    return {**files, name: data}


SPOILT = [
    (spoilt("data_batch_2.bin", bytes(3073 * 3 - 1)), "9,218 bytes, expected a multiple of 3,073"),
    (spoilt("data_batch_2.bin", b""), "0 labels for 0 images"),
    (spoilt("data_batch_2.bin", bytes([10] * 3073)), "labels from 10 to 10, expected 0 to 9"),
    (spoilt("batches.meta.txt", b"one two"), "2 class names, expected 10"),
    (spoilt("batches.meta", pickle.dumps({"label_names": "abc"}, protocol=2)), "0 class names, expected 10"),
    (spoilt("data_batch_2", b"junk"), "not a pickle of plain arrays"),
    (spoilt("data_batch_2", pickle.dumps({"labels": [1]}, protocol=2)), "not a CIFAR-10 batch"),
    (spoilt("data_batch_2", pickle.dumps({"data": planes(0), "labels": [1]}, protocol=2)), "1 labels for 4 images"),
    (
        spoilt("data_batch_2", pickle.dumps({"data": planes(0), "labels": [1, 2, 3, -1]}, protocol=2)),
        "not a CIFAR-10 batch",
    ),
    (
        spoilt("data_batch_2", pickle.dumps({"data": planes(0), "labels": ["1"] * 4}, protocol=2)),
        "not a CIFAR-10 batch",
    ),
    (
        spoilt("data_batch_2", pickle.dumps({"data": planes(0)[:, :9], "labels": [1] * 4}, protocol=2)),
        "not a CIFAR-10 batch",
    ),
]


@pytest.mark.parametrize(("files", "expected"), SPOILT)
def test_damaged_batches_are_refused_with_their_path(tmp_path: Path, files: dict[str, bytes], expected: str) -> None:
    for root in (unpack(files, tmp_path / "folder"), pack(files, tmp_path / "archive.tar.gz")):
        with pytest.raises(DataError, match=expected) as refused:
            Cifar10(root=root).records()
        assert str(refused.value).startswith(str(root))
        assert "\n" not in str(refused.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10: no cifar-10-binary\.tar\.gz in .*; put it there"):
        Cifar10(root=tmp_path).records()


def test_without_a_root_the_pinned_archive_is_fetched_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(binary_files(BATCHES), tmp_path / "web.tar.gz")

    def fetch(file: RemoteFile, folder: Path) -> Path:
        assert (file.name, folder) == ("cifar-10-binary.tar.gz", tmp_path / "cache" / "cifar10")
        return path

    monkeypatch.setattr(cifar, "fetch", fetch)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    assert len(Cifar10().records()) == 5 * NUM


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_two_real_batches() -> None:
    records = Cifar10(root=Path(os.environ["GANSMITH_DATA"]) / "cifar10").records()
    assert len(records) == 20_000
    assert len(records.notes) == 1 and "only 2 of 5 batches" in records.notes[0]
    assert records.labels is not None and records.labels[:5].tolist() == [6, 9, 9, 4, 1]  # frog truck truck deer car
