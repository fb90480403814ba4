"""Downloads a file once into the cache: resumable, from several mirrors, checked against a pinned digest.

It uses ``urllib`` of the standard library to avoid a dependency: one file at a time needs no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from gansmith.errors import DataError

__all__ = ["Progress", "RemoteFile", "cache_folder", "fetch", "without_downloads"]

Progress: TypeAlias = Callable[[int, int], object]  # bytes done, bytes in all

_ROUNDS = 3  # attempts per mirror; a later attempt resumes an interrupted download
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 18
_REFUSED: ContextVar[bool] = ContextVar("refused", default=False)


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web with a fixed content.

    Args:
        name: file name in the cache folder.
        urls: mirrors, in the order in which they are tried.
        digest: "sha256:" and the hexadecimal digits; "md5:" if no better digest is published.
        size_bytes: the length; reading stops if a server sends more.
        otherwise: the end of messages: where else the user can get it.
    """

    name: str
    urls: tuple[str, ...]
    digest: str
    size_bytes: int
    otherwise: str = "give --root a folder that contains it"


def cache_folder() -> Path:
    """Return the folder of downloads and stores: $GANSMITH_CACHE, or else the platform's cache folder."""
    named = os.environ.get("GANSMITH_CACHE")
    try:
        if named:
            return Path(named).expanduser()
        if os.name == "nt":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "gansmith"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gansmith"
    except RuntimeError as error:  # of Path.home()
        raise DataError("cache: this user has no home folder; set GANSMITH_CACHE to a folder for the cache") from error


def fetch(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """Download a file unless the folder has it, and return its path.

    The download is ``NAME.part``, which a later attempt resumes, and is renamed once its digest is correct. If several
    processes need the file at the same time, one downloads and the others wait.

    Args:
        file: the file.
        folder: the folder to keep it in; messages show its name as that of the data set.
        progress: called with the bytes done and the total; None shows a bar on standard error.

    Raises:
        DataError: no mirror has it, the folder contains another file of this name, or downloads are refused here.
    """
    target = folder / file.name
    if not target.exists():
        if _REFUSED.get():
            raise DataError(f"{target}: not downloaded yet, and not downloaded for a visitor; {file.otherwise}")
        with _locked(target):
            if not target.exists():
                _download(file, target, progress)
    elif flaw := _flaw(target, file):
        raise DataError(f"{target}: {flaw}; delete it to download it again, or {file.otherwise}")
    return target


@contextlib.contextmanager
def without_downloads() -> Iterator[None]:
    """Refuse downloads in this thread: ``fetch`` returns files that are there and raises ``DataError`` for others."""
    token = _REFUSED.set(True)
    try:
        yield
    finally:
        _REFUSED.reset(token)


def _locked(target: Path) -> contextlib.AbstractContextManager[object]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{target}.lock").acquire()
    except OSError as error:
        raise DataError(
            f"{target.parent}: cannot be written ({error}); set GANSMITH_CACHE to a writable folder"
        ) from error


def _download(file: RemoteFile, target: Path, progress: Progress | None) -> None:
    part = target.with_name(f"{target.name}.part")
    reasons: dict[str, str] = {}
    with _bar(file.name) if progress is None else contextlib.nullcontext(progress) as report:
        for url in file.urls * _ROUNDS:
            reason = _attempt(url, part, file, report)
            if reason is None:
                part.replace(target)
                return
            reasons[urlsplit(url).netloc] = reason
    tried = "; ".join(f"{host}: {reason}" for host, reason in reasons.items())
    raise DataError(
        f"{target.parent.name}: cannot download {file.name} (offline? {tried}); "
        f"put it into {target.parent}, or {file.otherwise}"
    )


def _attempt(url: str, part: Path, file: RemoteFile, report: Progress) -> str | None:
    """Download from one mirror; return why it failed, or None if the file is complete."""
    try:
        _transfer(url, part, file.size_bytes, report)
        flaw = _flaw(part, file)
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except (OSError, HTTPException) as error:
        return _reason(error)
    if flaw is not None:
        part.unlink()
    return flaw


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _transfer(url: str, part: Path, size: int, report: Progress) -> None:
    """Append the missing bytes to the partial file."""
    done = part.stat().st_size if part.exists() else 0
    if done >= size:
        return
    headers = {"User-Agent": "gansmith", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as response:
        if response.status != 206:  # the server ignores the range and sends the whole file
            done = 0
        with part.open("ab" if done else "wb") as out:
            _copy(response, out, done, size, report)


def _copy(response: HTTPResponse, out: BinaryIO, done: int, size: int, report: Progress) -> None:
    report(done, size)
    # One byte beyond the pinned size shows that it is another file; no more is read.
    while chunk := response.read(min(_CHUNK_BYTES, size + 1 - done)):
        out.write(chunk)
        done += len(chunk)
        report(min(done, size), size)
    if done < size:
        raise ConnectionError(f"the connection ended after {done:,} of {size:,} bytes")


def _flaw(path: Path, file: RemoteFile) -> str | None:
    """Return how a file differs from the pinned one, or None."""
    size = path.stat().st_size
    if size != file.size_bytes:
        length = "longer" if size > file.size_bytes else "shorter"
        return f"{length} than {file.name} should be ({file.size_bytes:,} bytes)"
    kind, _, expected = file.digest.partition(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    return None if found == expected else f"{kind} is {found}, expected {expected}"


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich import console, progress  # imported here because downloads are rare and rich loads slowly

    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), progress.DownloadColumn())
    speed = (progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
    bar = progress.Progress(*columns, *speed, console=console.Console(stderr=True))
    task = bar.add_task(name, total=None)
    with contextlib.ExitStack() as shown:

        def report(done: int, total: int) -> None:
            if not bar.live.is_started:  # start with the first bytes, so that no bar appears offline
                shown.enter_context(bar)
            bar.update(task, completed=done, total=total)

        yield report
