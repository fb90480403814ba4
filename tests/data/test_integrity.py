"""Damage in place is noticed before anything comes of it, whatever the file's times say, and at little cost."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.data import integrity
from gansmith.data.integrity import BLOCK_BYTES, check_files, hash_file, hash_tensors
from gansmith.data.labels import CLASS_LIMIT
from gansmith.data.npz import Npz
from gansmith.data.source import Record, Records, Size, Source
from gansmith.data.store import Store, prepare
from gansmith.errors import DataError
from gansmith.plain_json import Altered, seal, unseal

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), np.uint8)


@pytest.fixture
def source(tmp_path: Path) -> Npz:
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.arange(30) % 3)
    return Npz(path=tmp_path / "x.npz")


def flip(path: Path, at: int = -5) -> None:
    """Change one bit and set the file's times back."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# --- stores ------------------------------------------------------------------------------------------------


def zeroed(store: Path) -> None:
    path = store / "images.npy"
    content = path.read_bytes()
    path.write_bytes(content[:512] + bytes(512) + content[1024:])


def flipped_pixel(store: Path) -> None:
    flip(store / "images.npy", 1000)


def flipped_header(store: Path) -> None:
    flip(store / "images.npy", 9)


def flipped_label(store: Path) -> None:
    flip(store / "labels.npy", -2)  # a label of 2 ** 50, for which counting by class would ask for a petabyte


def other_label(store: Path) -> None:
    flip(store / "labels.npy", 128)


def cut(store: Path) -> None:
    path = store / "images.npy"
    path.write_bytes(path.read_bytes()[:-100])


def missing(store: Path) -> None:
    (store / "labels.npy").unlink()


def swapped_classes(store: Path) -> None:
    text = (store / "store.json").read_text()
    (store / "store.json").write_text(text.replace('"0",', '"X",').replace('"1",', '"0",').replace('"X",', '"1",'))


def nested(store: Path) -> None:
    (store / "store.json").write_text("[" * 100_000)


def of_an_earlier_version(store: Path) -> None:
    about = json.loads((store / "store.json").read_text())
    kept = {name: value for name, value in about.items() if name not in ("files", "key", "seal")}
    (store / "store.json").write_text(json.dumps(kept | {"format": 1}, indent=1))


DAMAGES = [
    zeroed,
    flipped_pixel,
    flipped_header,
    flipped_label,
    other_label,
    cut,
    missing,
    swapped_classes,
    nested,
    of_an_earlier_version,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_store_is_refused_and_made_anew_from_its_source(
    source: Npz, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    cache = tmp_path / "stores"
    path = prepare(source, cache=cache).path
    damage(path)
    with pytest.raises(DataError, match=r"no usable store \(.*\); delete it and prepare the data again"):
        Store.open(path)
    store = prepare(source, cache=cache)
    assert np.array_equal(store.images, IMAGES)
    assert store.labels is not None and store.labels.tolist() == [i % 3 for i in range(30)]
    assert store.path == path and "written again from x" in store.notes[-1] and str(path) in store.notes[-1]
    assert os.listdir(cache) == [path.name]
    assert prepare(source, cache=cache).notes == ()


def test_a_store_in_the_place_of_another_is_made_anew(source: Npz, tmp_path: Path) -> None:
    path = prepare(source, cache=tmp_path / "stores").path
    np.savez(tmp_path / "y.npz", images=255 - IMAGES, labels=np.arange(30) % 3)
    other = prepare(Npz(path=tmp_path / "y.npz"), cache=tmp_path / "stores").path
    shutil.rmtree(path)
    other.rename(path)
    store = prepare(source, cache=tmp_path / "stores")
    assert np.array_equal(store.images, IMAGES) and "the store of another source" in store.notes[-1]


def test_a_damaged_store_whose_source_is_gone_is_one_clear_line(source: Npz, tmp_path: Path) -> None:
    flipped_pixel(prepare(source, cache=tmp_path / "stores").path)
    source.path.unlink()
    with pytest.raises(DataError, match=r"x\.npz: cannot be read"):
        prepare(source, cache=tmp_path / "stores")


def test_a_damaged_store_that_cannot_be_replaced_is_one_clear_line(
    source: Npz, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped_pixel(prepare(source, cache=tmp_path / "stores").path)

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(DataError, match=r"cannot be written \(not allowed; the store there is not usable: images.npy"):
        prepare(source, cache=tmp_path / "stores")


# --- large files -------------------------------------------------------------------------------------------


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files are read wholly, where every file counts as large and was written long ago."""
    monkeypatch.setattr(integrity, "ALWAYS_BYTES", 0)
    monkeypatch.setattr(integrity, "SETTLED_SECONDS", -60.0)
    seen: list[Path] = []
    monkeypatch.setattr(integrity, "hash_file", lambda path: seen.append(path) or hash_file(path))
    (tmp_path / "file").write_bytes(b"content " * 9)
    return seen


def test_a_large_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    digests = {"file": hash_file(tmp_path / "file")}
    for _ in range(3):
        check_files(tmp_path, digests)
    assert len(reads) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell when an inode was last changed")
def test_a_large_file_that_changed_is_read_again_even_if_its_times_were_set_back(
    tmp_path: Path, reads: list[Path]
) -> None:
    digests = {"file": hash_file(tmp_path / "file")}
    check_files(tmp_path, digests)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    flip(tmp_path / "file")
    with pytest.raises(Altered, match="file differs from its digest"):
        check_files(tmp_path, digests)


def test_a_copy_of_a_large_file_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    digests = {"file": hash_file(tmp_path / "file")}
    check_files(tmp_path, digests)
    copy = shutil.copytree(tmp_path, tmp_path.with_name("copy"))
    check_files(copy, digests)
    assert len(reads) == 2
    with pytest.raises(Altered):  # and what was found right for one digest is not so for another
        check_files(tmp_path, {"file": "0" * 64})


def test_a_file_that_was_just_written_is_not_remembered(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "SETTLED_SECONDS", 2.0)
    digests = {"file": hash_file(tmp_path / "file")}
    for _ in range(2):
        check_files(tmp_path, digests)
    assert len(reads) == 2 and not (tmp_path / "checked.json").exists()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
def test_a_digest_depends_on_every_byte(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    found = {hash_file(path)}
    for at in {0, size // 2, size - 1} if size else ():
        flip(path, at)
        found.add(hash_file(path))
    path.write_bytes(bytes(size + 1))
    found.add(hash_file(path))
    assert len(found) == 2 + len({0, size // 2, size - 1} if size else ())


# --- values ------------------------------------------------------------------------------------------------


def test_what_is_sealed_is_read_back_and_any_change_is_noticed() -> None:
    plain = {"a": [1, 2.5, None], "ü": {"b": "c\ud800"}}
    text = seal(plain)
    assert unseal(text) == plain
    for wrong in (text.replace("2.5", "2.6"), text.replace('"a"', '"d"'), text[:-9], "{}", "[]", "[" * 10**5):
        with pytest.raises(Altered):
            unseal(wrong)


def test_the_digest_of_tensors_depends_on_names_types_shapes_and_values() -> None:
    base = torch.arange(6, dtype=torch.float32)
    kinds = [{"a": base}, {"b": base}, {"a": base.double()}, {"a": base.view(2, 3)}, {"a": base.flip(0)}, {}]
    assert len({hash_tensors(kind) for kind in kinds}) == len(kinds)


# --- labels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Labelled(Source):
    """A source of the user's."""

    label: int
    named: bool

    def records(self, size: Size | None = None) -> Records:
        labels = np.array([0, self.label])
        return _Labelled(names="ab", fingerprint="x", labels=labels, class_names=("p", "q") if self.named else ())


@dataclass(frozen=True, kw_only=True)
class _Labelled(Records):
    def read(self, index: int) -> Record:
        return IMAGES[index]


@pytest.mark.parametrize(("label", "named"), [(-1, True), (2, True), (2**50, True), (-1, False), (2**50, False)])
def test_labels_of_any_source_are_bounded(label: int, named: bool) -> None:
    most = 1 if named else CLASS_LIMIT - 1
    with pytest.raises(DataError, match=f"labels are from .* to .*; expected 0 to {most}"):
        Labelled(label=label, named=named).records()
