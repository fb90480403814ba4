"""JSON in files: what is written has a digest, by which damage is noticed when it is read.

All errors of reading are ``OSError`` or ``ValueError``. What has no digest, as in earlier versions, is read as it is.
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
from gansmith.files import open_without_link, replacing

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
    "sealed",
    "unsealed",
    "write_json",
]

T = TypeVar("T")

MOST_DEPTH = 100  # of lists and objects in each other; what gansmith writes has less than twenty
LARGEST_BYTES = 1_000_000_000
LONGEST_REASON = 200  # characters of an error that is quoted in another
SEAL = "seal"  # the field of a file that holds the digest of the others
CHECKSUM = "crc"  # likewise of a line: CRC-32, as a number


class Altered(ValueError):
    """What was read is not what was written; the message says what, and the caller adds where."""


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
        raise ValueError(f"{path.stat().st_size:,} bytes are too many")
    text = path.read_bytes()
    plain = parse_json(text)
    return _without_seal(plain) if isinstance(plain, dict) and SEAL in plain else plain


def write_json(path: Path, value: Any) -> None:
    """Write JSON, all of it or nothing; an object with its digest."""
    text = sealed(value) if isinstance(value, Mapping) else json.dumps(value, indent=1) + "\n"
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def rewrite_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object as ``write_json`` does; where the disk is full, in the place of what the file holds now."""
    try:
        write_json(path, value)
    except OSError:
        if not path.exists():
            raise
        with open(path, "r+", encoding="utf-8", opener=open_without_link) as file:
            file.write(sealed(value))
            file.truncate()


def sealed(plain: Mapping[str, Any]) -> str:
    """Return plain values as JSON, with the digest of that JSON as the last of them."""
    plain = {name: value for name, value in plain.items() if name != SEAL}  # that of what was changed
    return json.dumps({**plain, SEAL: _seal(plain)}, indent=1) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """Read what ``sealed`` has written.

    Raises:
        Altered: it is no JSON, has no digest, or is another than was written.
    """
    try:
        plain = parse_json(text)
    except ValueError as error:
        raise Altered(f"not JSON: {error}") from error
    if not isinstance(plain, dict) or SEAL not in plain:
        raise Altered("it has no digest, as files of earlier versions")
    return _without_seal(plain)


def _without_seal(plain: dict[str, Any]) -> dict[str, Any]:
    if plain.pop(SEAL) != _seal(plain):
        raise Altered(f'it differs from its own digest: bring it back from a copy; if you changed it, remove "{SEAL}"')
    return plain


def _seal(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, indent=1).encode()).hexdigest()


# --- a line each -------------------------------------------------------------------------------------------


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add an object to a file of one a line, after mending a last line that has no end."""
    _end_last_line(path)
    with open(path, "a", encoding="utf-8", opener=open_without_link) as file:
        file.write(_line(record))


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Write a file anew with those of its lines that are to be kept, all of it or nothing."""
    if path.exists():
        lines = [_line(line) for line, kept in read_lines(path, lambda line: (line, keep(line))) if kept]
        with replacing(path) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps({**record, CHECKSUM: _checksum(record)}) + "\n"


def _checksum(record: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(record).encode())


def _end_last_line(path: Path) -> None:
    """Mend a file whose last line has no end, as a kill or a full disk leaves it: a half line is taken away."""
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
    """Read a file of one JSON object a line; a damaged line, as a kill leaves one, is skipped with a note.

    Args:
        path: may be missing, and then has no lines.
        make: what becomes of each object.

    Raises:
        RunError: a line holds something else than an object, or ``make`` cannot use it.
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
            tell(f"{path}: line {number} was only half written or is damaged; it is skipped")
            continue
        yield _made(plain, make, f"{path}: line {number}")


def _made(plain: Any, make: Callable[[dict[str, Any]], T], where: str) -> T:
    try:
        if not isinstance(plain, dict):
            raise ValueError("it is not an object")
        return make(plain)
    except KeyError as error:
        raise RunError(f"{where}: has no field {error}; remove the line") from error
    except (GansmithError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise RunError(f"{where}: cannot be used ({reason}); remove the line") from error


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
