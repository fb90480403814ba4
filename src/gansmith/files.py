"""Writes files atomically, and never through a symbolic link."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gansmith.errors import RunError

__all__ = ["free_disk", "open_without_link", "refuse_links", "remove_leftovers", "replace_file"]

STALE_SECONDS = 3600.0


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a new, empty file beside ``path`` that replaces it when the block succeeds, and is removed otherwise.

    The new file has a random name and is created exclusively, so it cannot be a link. A link at ``path`` itself is
    replaced, not followed.
    """
    unfinished = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.unfinished{path.suffix}")
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def free_disk(path: Path) -> int | None:
    """Return the free disk space in bytes where ``path`` is or would be created; None if unknown."""
    try:
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        return shutil.disk_usage(there).free
    except (OSError, StopIteration):
        return None


def remove_leftovers(*folders: Path) -> None:
    """Remove unfinished files of ``replace_file`` that killed processes left in folders more than an hour ago."""
    for path in (path for folder in folders for path in folder.glob(".*.unfinished*")):
        with suppress(OSError):  # another process was faster, or the folder is read-only
            if time.time() - path.lstat().st_mtime > STALE_SECONDS:
                path.unlink()


def open_without_link(path: str, flags: int) -> int:
    """Open a file that is not a link; for the argument ``opener`` of ``open``.

    Raises:
        RunError: the file is a link.
    """
    if os.path.islink(path):  # also where the system has no O_NOFOLLOW
        raise RunError(f"{path}: found a link, expected a regular file; remove it")
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def refuse_links(folder: Path, except_in: tuple[str, ...] = ()) -> None:
    """Raise RunError if a folder contains links, pipes or sockets at any depth.

    Args:
        folder: the folder, which may be a link itself.
        except_in: names of folders that are not searched.

    Raises:
        RunError: it contains one; the message names the first.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in except_in:
                    refuse_links(Path(entry.path), except_in)
            elif not entry.is_file(follow_symlinks=False):
                raise RunError(f"{entry.path}: a link or special file; a run has only regular files; remove it")
