"""Pickled batches: the honest ones read, all others refused before anything happens."""

from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from gansmith.data.pickles import read_pickle
from gansmith.errors import DataError


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 did: in BINSTRING instructions, for text and data alike."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        size = len(value)
        head = b"U" + bytes([size]) if size < 256 else b"T" + struct.pack("<i", size)
        self.write(head + value)
        self.memoize(value)

    def save_str(self, value: str) -> None:
        self.save_bytes(value.encode("latin-1"))

    dispatch[bytes] = save_bytes
    dispatch[str] = save_str


def python_2(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return old_numpy(stream.getvalue())


def python_3(value: object) -> bytes:
    return old_numpy(pickle.dumps(value, protocol=2))


def old_numpy(data: bytes) -> bytes:
    """Names as NumPy 1 wrote them, and the published batches have them."""
    return data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 300), np.uint8)
BATCH = {"data": IMAGES, "labels": [3, 1, 4, 1, 5], "batch_label": "training batch 1 of 5", "filenames": ["a.png"] * 5}


@pytest.mark.parametrize("dump", [python_2, python_3])
def test_batches_of_python_2_and_3_read_alike(dump: Any) -> None:
    read = read_pickle(dump(BATCH), "batch")
    np.testing.assert_array_equal(read["data"], IMAGES)
    assert read["data"].dtype == np.uint8
    assert read["labels"] == BATCH["labels"]
    assert set(read) == set(BATCH)


def test_they_are_what_an_ordinary_unpickler_reads() -> None:
    expected = pickle.loads(pickle.dumps(BATCH, protocol=2), encoding="latin-1")
    np.testing.assert_array_equal(read_pickle(python_2(BATCH), "batch")["data"], expected["data"])


def test_columns_first_arrays_keep_their_values() -> None:
    read = read_pickle(python_2({"data": np.asfortranarray(IMAGES)}), "batch")
    np.testing.assert_array_equal(read["data"], IMAGES)


class Runs:
    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_code_is_not_run(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    for code in (Runs(os.system, f"touch {witness}"), Runs(eval, f"open({str(witness)!r}, 'w')")):
        with pytest.raises(DataError, match=r"\(it asks for '\w+ (system|eval)'\); it was not loaded"):
            read_pickle(python_2({"data": IMAGES, "labels": code}), "batch")
    assert not witness.exists()
    pickle.loads(python_2(code)).close()
    assert witness.exists()  # so it would have run


HOSTILE = {
    "other function of numpy": python_3({"data": Runs(np.load, "x.npy")}),
    "later protocol": pickle.dumps(BATCH, protocol=4),
    "far memory slot": b"\x80\x02}r\xff\xff\xff\x7f.",
    "long byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "string longer than the file": b"\x80\x02T\xff\xff\xff\x7fabc",
    "array larger than its values": python_2({"data": IMAGES}).replace(
        struct.pack("<H", 300), struct.pack("<H", 30000)
    ),
    "floats": python_2({"data": IMAGES.astype(np.float32)}),
    "objects": python_2({"data": np.array([None, None])}),
    "no dictionary": python_2([1, 2]),
    "array of no values": b"\x80\x02}U\x04datacnumpy\nndarray\n)Rs.",
    "state of a class": b"\x80\x02cnumpy\nndarray\n}b.",
    "empty": b"",
    "text": b"hello",
    "cut": python_2(BATCH)[:-50],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(DataError) as refused:
        read_pickle(HOSTILE[name], "data_batch_1")
    assert str(refused.value).startswith("data_batch_1: not a pickle of plain arrays (")
    assert "\n" not in str(refused.value)
