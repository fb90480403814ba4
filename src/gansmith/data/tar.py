"""The files in a tar archive that one looks for, read in passing; nothing is written to disk."""

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
    """The regular files with certain names, in whatever folders of the archive, in the archive's order.

    Args:
        path: a tar archive, plain or compressed by gzip.
        wanted: the files' names without folders.
        most_bytes: what the whole archive may hold, unpacked.

    Raises:
        DataError: it is no such archive, it is damaged, it holds too much, or one of the names is there twice.
    """
    seen = set()
    try:
        for name, data in _regular_files(path, wanted, most_bytes):
            if name in seen:
                raise DataError(f"{path}: two files are called {name}, expected one")
            seen.add(name)
            yield name, data
    except _UNREADABLE as error:
        raise DataError(f"{path}: no usable tar archive ({error}); delete it and get it anew") from error


# tarfile turns most damage into its own errors; of others' headers it lets these through.
_UNREADABLE = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, TypeError, IndexError, RecursionError)


def _regular_files(path: Path, wanted: Container[str], most_bytes: int) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        stream: Any = _Bounded(file, most_bytes)  # all of a file that tarfile's streams need
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            archive: Any = opened
            for count in itertools.count(1):
                member = archive.next()
                if member is None:
                    break
                archive.members.clear()  # tarfile would remember all of them
                if count > MEMBER_LIMIT:
                    raise OSError(f"more than {MEMBER_LIMIT:,} members")
                name = PurePosixPath(member.name).name
                # A sparse file is a few bytes that unpack to as many zeros as it likes.
                plain = member.isreg() and not member.issparse()
                if plain and name in wanted and (content := archive.extractfile(member)):
                    yield name, content.read()
        while stream.read(1 << 16):
            pass  # to the very end, where gzip keeps its checksum


class _Bounded:
    """A stream that refuses to unpack more than so many bytes, whatever its headers promise."""

    def __init__(self, file: BufferedReader, most_bytes: int) -> None:
        packed = file.peek(2).startswith(b"\x1f\x8b")
        self.stream = gzip.GzipFile(fileobj=file) if packed else file
        self.left = most_bytes

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise OSError("it holds more than the data set could")
        return data
