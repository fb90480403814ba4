"""Reads the arrays of an .npz file without trusting what it says about them."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.data.archive import DEFLATE_LIMIT
from gansmith.errors import DataError

__all__ = ["ARRAY_LIMIT", "ArrayHeader", "load_array", "read_headers"]

ARRAY_LIMIT = 2**34  # bytes; the images must fit into memory while the store is built
MEMBER_LIMIT = 10_000
HEADER_LIMIT = 2**14  # bytes at a member's start that may be its header
_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHeader:
    """Name, shape, type and checksum of an array that is not loaded."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    checksum: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def __str__(self) -> str:
        return f"{self.key} is {self.dtype} [{' '.join(map(str, self.shape))}]"


def read_headers(path: Path) -> dict[str, ArrayHeader]:
    """Return the headers of all arrays by their names.

    Raises:
        DataError: the file is no .npz, has too many arrays, or is smaller than a header says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MEMBER_LIMIT:
                raise ValueError(f"{len(archive.infolist()):,} arrays, more than {MEMBER_LIMIT:,}")
            return {header.key: header for header in (_read_header(archive, info) for info in archive.infolist())}
    except Exception as error:  # a broken header makes numpy raise nearly anything, such as tokenize.TokenError
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> ArrayHeader:
    """Read an array's header, and check that the file has as many bytes as the header says."""
    with archive.open(info) as stream:
        start = io.BytesIO(stream.read(min(info.file_size, HEADER_LIMIT)))
    key = info.filename.removesuffix(".npy")
    version = np.lib.format.read_magic(start)
    if version not in _HEADER_READERS:
        raise ValueError(f"{key} has array format {version[0]}.{version[1]}; expected 1.0 or 2.0")
    shape, _, dtype = _HEADER_READERS[version](start)
    if any(type(number) is not int or number < 0 for number in shape):
        raise ValueError(f"{key} has the shape {shape}; expected whole numbers from 0 on")
    header = ArrayHeader(key, shape, dtype, info.CRC)
    if dtype.hasobject:
        return header
    room = info.file_size - start.tell()
    packed = info.compress_size * (DEFLATE_LIMIT if info.compress_type == zipfile.ZIP_DEFLATED else 1)
    if header.num_bytes != room or info.file_size > packed + HEADER_LIMIT:
        raise ValueError(
            f"{header}, which needs {header.num_bytes:,} bytes, but the file has at most {min(room, packed):,}"
        )
    return header


def load_array(path: Path, header: ArrayHeader) -> NDArray[Any]:
    """Return an array.

    Raises:
        DataError: it is too large or damaged, or contains Python objects.
    """
    if header.num_bytes > ARRAY_LIMIT:
        raise DataError(f"{path}: {header}, {header.num_bytes:,} bytes; expected at most {ARRAY_LIMIT:,}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values: NDArray[Any] = arrays[header.key]
            return values
    except _UNREADABLE as error:
        raise DataError(f"{path}: {header.key} cannot be read ({error})") from error
