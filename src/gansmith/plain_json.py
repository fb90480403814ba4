"""JSON in files: one function that reads it, whose errors are all ``OSError`` or ``ValueError``; lines of objects."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gansmith.errors import GansmithError, RunError, tell
from gansmith.files import open_without_link, replacing

__all__ = ["append_line", "keep_lines", "parse_json", "read_json", "read_lines"]

T = TypeVar("T")

MOST_DEPTH = 100  # of lists and objects in each other; what gansmith writes has less than twenty
LARGEST_BYTES = 1_000_000_000
LONGEST_REASON = 200  # characters of an error that is quoted in another


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
    return parse_json(path.read_bytes())


def read_lines(path: Path, make: Callable[[dict[str, Any]], T]) -> Iterator[T]:
    """Read a file of one JSON object a line; a line that is not JSON, as a kill leaves one, is skipped with a note.

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
        except ValueError:
            tell(f"{path}: line {number} was only half written or is damaged; it is skipped")
            continue
        yield _made(plain, make, f"{path}: line {number}")


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add an object to a file of one JSON object a line, never through a link; a half line at its end is mended."""
    _end_last_line(path)
    with open(path, "a", encoding="utf-8", opener=open_without_link) as file:
        file.write(json.dumps(record) + "\n")


def keep_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop the lines of a file that ``keep`` refuses, all of them or none."""
    if path.exists():
        lines = [json.dumps(line) + "\n" for line, kept in read_lines(path, lambda line: (line, keep(line))) if kept]
        with replacing(path) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")


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
