"""Reads the files of a folder or a zip without trusting it.

Names that point outside, links out of the tree, and encrypted, unusually compressed or oversized members are skipped,
each with a reason. Nothing is unpacked to disk.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
import threading
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gansmith.data.budget import FILES
from gansmith.data.formats import PHOTOGRAPHS, SUFFIXES
from gansmith.errors import DataError

__all__ = ["DEFLATE_LIMIT", "FILE_LIMIT", "LINK_OUT", "Archive", "open_archive", "read_bounded"]

FILE_LIMIT = 2**29  # bytes; an uncompressed image at decode's pixel limit is smaller
BLOCK_BYTES = 2**19
DIRECTORY_LIMIT = 2**27  # bytes of a zip's central directory, enough for about two million files
DEFLATE_LIMIT = 1033  # one byte of deflate unpacks to at most 1,032
LINK_OUT = "a link that points outside the folder"
JUNK = ("__macosx", "thumbs.db", "desktop.ini")
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control codes, and bytes in no known encoding

Skipped: TypeAlias = tuple[tuple[str, str], ...]
Found: TypeAlias = tuple[str, int, int]  # name, bytes, and a number that changes with the content


@dataclass(frozen=True, kw_only=True)
class Archive(ABC):
    """The files of a folder or zip, without hidden files.

    Args:
        path: the folder or zip.
        names: the files' paths relative to it, with forward slashes, sorted.
        fingerprint: a digest that changes with any file's name, size, and modification time (folder) or checksum (zip).
        skipped: (name, reason) of each entry that is not read.
    """

    path: Path
    names: tuple[str, ...]
    fingerprint: str
    skipped: Skipped

    @abstractmethod
    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        """Return the bytes of one file; safe in threads and in forked processes.

        Raises:
            DataError: it cannot be read, or has more than ``most_bytes`` (None: FILE_LIMIT) bytes. The message gives
                the reason without the name, which the caller knows.
        """


def open_archive(path: Path, *, follow_links: bool = False) -> Archive:
    """List a folder or a zip.

    Args:
        path: the folder or zip.
        follow_links: read links that point out of a folder, if the target is a regular file that the user owns and its
            suffix is that of an image. Links in a zip are never followed.

    Raises:
        DataError: it does not exist, or is neither a folder nor a zip.
    """
    path = path.expanduser()
    try:
        if path.is_dir():
            return _open_folder(path, follow_links)
        if zipfile.is_zipfile(path):
            return _open_zip(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    raise DataError(f"{path}: {'expected a folder or a zip' if path.exists() else 'no such folder or zip'}")


def _fingerprint(found: Iterable[Found]) -> str:
    digest = hashlib.sha256()
    for name, num_bytes, stamp in found:
        digest.update(f"{name}\0{num_bytes}\0{stamp}\n".encode(errors="backslashreplace"))
    return digest.hexdigest()


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def _printable(name: str) -> str:
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], name)


# --- folders -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Folder(Archive):
    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        return read_bounded(self.path / name, most_bytes or FILE_LIMIT)


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file on disk.

    Raises:
        DataError: it cannot be read, or has more than ``most_bytes``; the message does not name the path.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > most_bytes:
                raise DataError(f"more than the limit of {most_bytes:,} bytes")
            with FILES.hold(size, "files of this size"):
                return file.read(size)
    except OSError as error:
        raise DataError(error.strerror or str(error)) from error


def _open_folder(path: Path, follow_links: bool) -> Archive:
    walk = _Walk(os.path.realpath(path), follow_links)
    found = sorted(walk.found)
    names = tuple(name for name, _, _ in found)
    return _Folder(path=path, names=names, fingerprint=_fingerprint(found), skipped=tuple(sorted(walk.skipped)))


class _Walk:
    """Lists the files below a folder; each folder is read under its own name, and at most once through a link."""

    def __init__(self, root: str, follow_links: bool) -> None:
        self.root = root
        self.follow_links = follow_links
        self.found: list[Found] = []
        self.skipped: list[tuple[str, str]] = []
        self.followed: set[str] = set()
        self.pending = [("", root)]
        while self.pending:  # no recursion: a malicious tree may be deeper than Python's stack
            prefix, folder = self.pending.pop()
            for entry in self._entries(prefix, folder):
                self._take(prefix + entry.name, folder, entry)

    def _entries(self, prefix: str, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if not _is_junk(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            self.skipped.append((_printable(prefix.rstrip("/")) or ".", error.strerror or str(error)))
            return []

    def _take(self, name: str, folder: str, entry: os.DirEntry[str]) -> None:
        if UNPRINTABLE.search(entry.name):
            real, reason = entry.path, "a name with unprintable characters; rename it"
        elif entry.is_file(follow_symlinks=False):
            real, reason = entry.path, None
        else:
            real = os.path.realpath(entry.path)
            reason = self._refusal(name, folder, real)
        if reason is not None:
            self.skipped.append((_printable(name), reason))
        elif entry.is_dir():
            self.pending.append((f"{name}/", real))
        else:
            status = os.stat(real)
            self.found.append((name, status.st_size, status.st_mtime_ns))

    def _refusal(self, name: str, folder: str, real: str) -> str | None:
        if not os.path.exists(real):
            return "a broken link"
        if not _is_within(real, self.root):
            return _refusal_outside(real) if self.follow_links else LINK_OUT
        if not os.path.isdir(real):
            return None if os.path.isfile(real) else "not a regular file"
        if real == os.path.join(self.root, *name.split("/")):
            return None
        if _is_within(folder, real):
            return "a link back to a folder above it"
        if real in self.followed:
            return "a second link to the same folder"
        self.followed.add(real)
        return None


def _refusal_outside(real: str) -> str | None:
    """Return why a link that points outside is not followed even with follow_links; None if it is."""
    if os.path.isdir(real):
        return "a link to a folder outside; link to its files instead, or give that folder's path"
    if not os.path.isfile(real):
        return "not a regular file"
    if not real.lower().endswith((*SUFFIXES, *PHOTOGRAPHS)):
        return "a link to a file without an image's suffix"
    if hasattr(os, "geteuid") and os.stat(real).st_uid != os.geteuid():
        return "a link to a file that another user owns"
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


# --- zips --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Zip(Archive):
    reader: _ZipReader
    members: Mapping[str, zipfile.ZipInfo]

    def read(self, name: str, most_bytes: int | None = None) -> bytes:
        if most_bytes is not None and self.members[name].file_size > most_bytes:
            raise DataError(f"more than the limit of {most_bytes:,} bytes")
        try:
            return self.reader.read(self.members[name])
        except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, struct.error) as error:
            raise DataError(f"damaged: {error}") from error


class _ZipReader:
    """One open zip per process: threads take turns, since inflating is cheap beside decoding; a fork reopens it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self.process = os.getpid()
        self.turn = threading.Lock()
        self.file = zipfile.ZipFile(self.path)

    def read(self, member: zipfile.ZipInfo) -> bytes:
        if self.process != os.getpid():
            self._open()
        size = min(member.file_size, DEFLATE_LIMIT * member.compress_size)
        with FILES.hold(size, "files of this size"), self.turn, self.file.open(member) as stream:
            found = io.BytesIO()  # ZipFile.read would keep the data in memory twice
            while block := stream.read(min(BLOCK_BYTES, member.file_size + 1 - found.tell())):
                found.write(block)  # reads one byte beyond the declared size, to detect a wrong declaration
            return found.getvalue()


def _refuse_directory(path: Path) -> None:
    """Refuse a zip whose central directory is too large; each 50 bytes of it would take about 1,000 in memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 2**16 - 22 - 76))  # longest comment, and the end records of zip and zip64
        end = file.read()
    place = end.rfind(b"PK\5\6")
    found = int.from_bytes(end[place + 12 : place + 16], "little")
    wide = end.rfind(b"PK\6\6", 0, place)
    if found == 2**32 - 1 and wide >= 0:
        found = int.from_bytes(end[wide + 40 : wide + 48], "little")
    if min(found, size) > DIRECTORY_LIMIT:
        raise DataError(f"{path}: the list of files has {found:,} bytes, limit {DIRECTORY_LIMIT:,}; unpack the zip")


def _open_zip(path: Path) -> Archive:
    _refuse_directory(path)
    reader = _ZipReader(path)
    members: dict[str, zipfile.ZipInfo] = {}
    skipped = []
    for member in reader.file.infolist():
        written = _name_of(member).replace("\\", "/")
        parts = [part for part in written.split("/") if part not in ("", ".")]
        name = "/".join(parts)
        if written.endswith("/") or any(_is_junk(part) for part in parts if part != ".."):
            continue
        reason = "the name occurs twice" if name in members else _zip_refusal(member, written, parts)
        if reason is None:
            members[name] = member
        else:
            skipped.append((_printable(written), reason))
    names = tuple(sorted(members))
    fingerprint = _fingerprint((name, members[name].file_size, members[name].CRC) for name in names)
    return _Zip(
        path=path,
        names=names,
        fingerprint=fingerprint,
        skipped=tuple(sorted(skipped)),
        reader=reader,
        members=members,
    )


def _name_of(member: zipfile.ZipInfo) -> str:
    """Return a member's name as UTF-8 if it decodes, even without the UTF-8 flag, which macOS does not set."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _zip_refusal(member: zipfile.ZipInfo, written: str, parts: list[str]) -> str | None:
    if written.startswith("/") or re.match("[A-Za-z]:", written):
        return "an absolute name"
    if UNPRINTABLE.search(written):
        return "a name with unprintable characters; rename it"
    if ".." in parts:
        return "a name that points outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a symbolic link"
    if member.flag_bits & 1:
        return "encrypted"
    if member.file_size > FILE_LIMIT:
        return f"{member.file_size:,} bytes unpacked, more than the limit of {FILE_LIMIT:,}"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {member.compress_type}; expected stored or deflate"
    return None
