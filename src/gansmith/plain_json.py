"""JSON files with a digest that detects damage on reading.

Errors on reading are ``OSError`` or ``ValueError``. A file without a digest, from an earlier version, is accepted.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gansmith.errors import GansmithError, RunError, tell
from gansmith.files import open_without_link, replace_file

__all__ = [
    "CHECKSUM",
    "SEAL",
    "Altered",
    "append_line",
    "keep_lines",
    "parse_json",
    "read_json",
    "read_lines",
    "rewrite_json",
    "seal",
    "unseal",
    "write_json",
]

T = TypeVar("T")

MOST_DEPTH = 100  # levels of nesting; files of gansmith have fewer than twenty
LARGEST_BYTES = 1_000_000_000
LONGEST_REASON = 200  # characters of an error that another error quotes
SEAL = "seal"  # the field with the digest of a file's other fields
CHECKSUM = "crc"  # the field with the CRC-32 of a line's other fields, as a number


class Altered(ValueError):
    """Content has changed since it was written. The message says what; the caller adds the file."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
    """
    too_deep = f"nested more than {MOST_DEPTH} deep"
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [part for each in level for part in _parts(each) if isinstance(part, list | dict)]
        if not level:
            return value
    raise ValueError(too_deep)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON, is nested too deeply, or is too large.
    """
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"{path.stat().st_size:,} bytes, expected at most {LARGEST_BYTES:,}")
    text = path.read_bytes()
    plain = parse_json(text)
    return _without_seal(plain) if isinstance(plain, dict) and SEAL in plain else plain


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; add a digest to an object."""
    text = seal(value) if isinstance(value, Mapping) else json.dumps(value, indent=1) + "\n"
    with replace_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def rewrite_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object like ``write_json``; if the disk is full, overwrite the existing file in place."""
    try:
        write_json(path, value)
    except OSError:
        if not path.exists():
            raise
        with open(path, "r+", encoding="utf-8", opener=open_without_link) as file:
            file.write(seal(value))
            file.truncate()


def seal(plain: Mapping[str, Any]) -> str:
    """Return plain values as JSON, with the digest of this JSON as the last field."""
    plain = {name: value for name, value in plain.items() if name != SEAL}  # an outdated digest
    return json.dumps({**plain, SEAL: _seal(plain)}, indent=1) + "\n"


def unseal(text: str) -> dict[str, Any]:
    """Parse JSON from ``seal`` and check its digest.

    Raises:
        Altered: it is not JSON, has no digest, or has changed since it was written.
    """
    try:
        plain = parse_json(text)
    except ValueError as error:
        raise Altered(f"not JSON: {error}") from error
    if not isinstance(plain, dict) or SEAL not in plain:
        raise Altered("it has no digest, like files of earlier versions")
    return _without_seal(plain)


def _without_seal(plain: dict[str, Any]) -> dict[str, Any]:
    if plain.pop(SEAL) != _seal(plain):
        raise Altered(f'it differs from its digest: restore it from a copy, or remove "{SEAL}" if you edited it')
    return plain


def _seal(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, indent=1).encode()).hexdigest()


# --- JSON lines --------------------------------------------------------------------------------------------


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append an object to a file of JSON lines, after repairing an incomplete last line."""
    _end_last_line(path)
    with open(path, "a", encoding="utf-8", opener=open_without_link) as file:
        file.write(_line(record))


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file of JSON lines atomically with only the lines for which ``keep`` is true."""
    if path.exists():
        lines = [_line(line) for line, kept in read_lines(path, lambda line: (line, keep(line))) if kept]
        with replace_file(path) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps({**record, CHECKSUM: _checksum(record)}) + "\n"


def _checksum(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record).encode())


def _end_last_line(path: Path) -> None:
    """Repair a last line without a newline, after a kill or a full disk: complete it, or remove a partial line."""
    if not path.exists():
        return
    with open(path, "r+b", opener=open_without_link) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        text = file.read()
        start = text.rfind(b"\n") + 1
        try:
            parse_json(text[start:])
            file.write(b"\n")
        except ValueError:
            file.truncate(start)


def read_lines(path: Path, make: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """Read a file of JSON lines; skip a damaged line with a note.

    Args:
        path: the file; a missing file has no lines.
        make: converts each object.

    Raises:
        RunError: a line is not an object, or ``make`` fails on it.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            plain = parse_json(line)
            if isinstance(plain, dict) and CHECKSUM in plain and plain.pop(CHECKSUM) != _checksum(plain):
                raise Altered("it differs from its checksum")
        except ValueError:
            tell(f"{path}: line {number} is incomplete or damaged, and is skipped")
            continue
        yield _made(plain, make, f"{path}: line {number}")


def _made(plain: Any, make: Callable[[dict[str, Any]], T], where: str) -> T:
    try:
        if not isinstance(plain, dict):
            raise ValueError("it is not an object")
        return make(plain)
    except KeyError as error:
        raise RunError(f"{where}: it has no field {error}; remove the line") from error
    except (GansmithError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise RunError(f"{where}: it cannot be used ({reason}); remove the line") from error


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
