"""Reads files of given names from a tar archive in one pass, without writing to disk."""

from __future__ import annotations

import gzip
import itertools
import tarfile
import zlib
from collections.abc import Container, Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

from gansmith.errors import DataError

__all__ = ["read_members"]

MEMBER_LIMIT = 10_000  # files, folders and links of an archive


def read_members(path: Path, wanted: Container[str], most_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, bytes) of the regular files with the given names, in any folder, in the archive's order.

    Args:
        path: a tar archive, plain or compressed by gzip.
        wanted: file names without folders.
        most_bytes: limit on the unpacked size of the whole archive.

    Raises:
        DataError: it is not such an archive, is damaged or too large, or has a name twice.
    """
    seen = set()
    try:
        for name, data in _regular_files(path, wanted, most_bytes):
            if name in seen:
                raise DataError(f"{path}: two files are called {name}, expected one")
            seen.add(name)
            yield name, data
    except _UNREADABLE as error:
        raise DataError(f"{path}: not a usable tar archive ({error}); delete it and download it again") from error


# tarfile converts most damage into its own errors, but some headers raise these.
_UNREADABLE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, TypeError, IndexError, RecursionError)


def _regular_files(path: Path, wanted: Container[str], most_bytes: int) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        stream: Any = _Bounded(file, most_bytes)  # has the only method that tarfile's streams need
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            archive: Any = opened
            for count in itertools.count(1):
                member = archive.next()
                if member is None:
                    break
                archive.members.clear()  # tarfile keeps all of them in memory otherwise
                if count > MEMBER_LIMIT:
                    raise OSError(f"more than {MEMBER_LIMIT:,} members")
                name = PurePosixPath(member.name).name
                # A sparse file of a few bytes can unpack to any number of zeros.
                plain = member.isreg() and not member.issparse()
                if plain and name in wanted and (content := archive.extractfile(member)):
                    yield name, content.read()
        while stream.read(1 << 16):
            pass  # read to the end, where gzip has its checksum


class _Bounded:
    """A stream that refuses to unpack more than a number of bytes, whatever its headers say."""

    def __init__(self, file: BufferedReader, most_bytes: int) -> None:
        packed = file.peek(2).startswith(b"\x1f\x8b")
        self.stream = gzip.GzipFile(fileobj=file) if packed else file
        self.left = most_bytes

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise OSError("it contains more than the data set can have")
        return data
