"""Fetch a data set's file once: resumable, from one of several mirrors, checked against its pinned digest.

The standard library's ``urllib`` is enough for one file at a time, and one dependency less.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock

from gansmith.errors import DataError

__all__ = ["Progress", "RemoteFile", "fetch"]

Progress: TypeAlias = Callable[[int, int], object]  # bytes done, bytes in all

_ROUNDS = 3  # each mirror gets further chances, which resume a connection that was cut
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web that never changes.

    Args:
        name: what to call it in the cache folder.
        urls: where it lies, the best place first.
        digest: "sha256:..." and the hexadecimal digits; "md5:..." where no better digest has been published.
        size_bytes: its length; a server that sends more is cut off.
    """

    name: str
    urls: tuple[str, ...]
    digest: str
    size_bytes: int


def fetch(file: RemoteFile, folder: Path, progress: Progress | None = None) -> Path:
    """The file's path in the folder, after downloading it if it is not there yet.

    It arrives as ``NAME.part``, which a later attempt resumes, and gets its name once its digest is right. Of
    several processes that ask at the same time one downloads and the others wait.

    Args:
        file: what to fetch.
        folder: where to keep it; named after the data set, as messages show.
        progress: called with the bytes done and the bytes in all; by default a bar on standard error.

    Raises:
        DataError: no mirror has it, or what lies there is another file; the message says what to put where.
    """
    target = folder / file.name
    if not target.exists():
        with _locked(target):
            if not target.exists():
                _download(file, target, progress)
    elif flaw := _flaw(target, file):
        raise DataError(f"{target}: {flaw}; delete it to download it again, or point --root at a good copy")
    return target


def _locked(target: Path) -> contextlib.AbstractContextManager[object]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{target}.lock").acquire()
    except OSError as error:
        raise DataError(
            f"{target.parent}: cannot be written ({error}); set GANSMITH_CACHE to a folder that can"
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
        f"put it into {target.parent}, or point --root at a folder that has it"
    )


def _attempt(url: str, part: Path, file: RemoteFile, report: Progress) -> str | None:
    """Try one mirror; says why it failed, or None once the part is the whole file."""
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
    """Append to the part what it still lacks."""
    done = part.stat().st_size if part.exists() else 0
    if done >= size:
        return
    headers = {"User-Agent": "gansmith", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    with urlopen(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS) as response:
        if response.status != 206:  # this server knows no ranges and sends everything
            done = 0
        with part.open("ab" if done else "wb") as out:
            _copy(response, out, done, size, report)


def _copy(response: HTTPResponse, out: BinaryIO, done: int, size: int, report: Progress) -> None:
    report(done, size)
    # One byte beyond the pinned size is enough to know a wrong file; no more of it is read.
    while chunk := response.read(min(_CHUNK_BYTES, size + 1 - done)):
        out.write(chunk)
        done += len(chunk)
        report(min(done, size), size)
    if done < size:
        raise ConnectionError(f"the connection ended after {done:,} of {size:,} bytes")


def _flaw(path: Path, file: RemoteFile) -> str | None:
    """What makes this another file than the pinned one, or None."""
    size = path.stat().st_size
    if size != file.size_bytes:
        length = "longer" if size > file.size_bytes else "shorter"
        return f"{length} than the {file.size_bytes:,} bytes of the true {file.name}"
    kind, _, expected = file.digest.partition(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    return None if found == expected else f"{kind} is {found}, expected {expected}"


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich import console, progress  # only here: a download is rare, and rich takes a while to import

    columns = (progress.TextColumn("{task.description}", markup=False), progress.BarColumn(), progress.DownloadColumn())
    speed = (progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
    bar = progress.Progress(*columns, *speed, console=console.Console(stderr=True))
    task = bar.add_task(name, total=None)
    with contextlib.ExitStack() as shown:

        def report(done: int, total: int) -> None:
            if not bar.live.is_started:  # not before something arrives: offline there is nothing to show
                shown.enter_context(bar)
            bar.update(task, completed=done, total=total)

        yield report
