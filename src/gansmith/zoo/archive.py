"""An entry as one zip, for a download: always the same bytes, and nothing is read from it but the pinned files."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from gansmith.download import RemoteFile, fetch
from gansmith.errors import RunError
from gansmith.zoo.manifest import PREFIX, Entry

__all__ = ["download_entry", "write_archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)  # one date and one system for all files, so that equal contents give equal archives
_UNIX, _MODE = 3, 0o100644


def write_archive(folder: Path, names: Iterable[str], out: Path) -> None:
    """Write files of a folder, by their paths within it, as an uncompressed zip without dates."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(names):
            facts = zipfile.ZipInfo(name, _EPOCH)
            facts.create_system, facts.external_attr = _UNIX, _MODE << 16
            archive.writestr(facts, (folder / name).read_bytes())


def download_entry(entry: Entry, server: str, target: Path) -> None:
    """Download an entry and unpack it into a new folder.

    Args:
        entry: which one.
        server: the URL of the folder with NAME.zip.
        target: the folder to make; several processes may make it at the same time.

    Raises:
        RunError: the URL is not of the web, or the archive lacks a file.
        DataError: the archive cannot be downloaded, or is another than the pinned one.
    """
    if not server.startswith(("https://", "http://")):
        raise RunError(f"{PREFIX}{entry.name}: {server} is no web address; expected https://... in GANSMITH_ZOO_URL")
    remote = RemoteFile(
        name=f"{entry.name}.zip",
        urls=(f"{server.rstrip('/')}/{entry.name}.zip",),
        digest=f"sha256:{entry.archive.sha256}",
        size_bytes=entry.archive.num_bytes,
        otherwise="install the distribution gansmith-zoo",
    )
    _unpack(entry, fetch(remote, target.parent), target)


def _unpack(entry: Entry, path: Path, target: Path) -> None:
    """Write the pinned files of an archive, each under its pinned name, and no more of each than its pinned length."""
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with zipfile.ZipFile(path) as archive:
            for name, pinned in entry.files.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as file:
                    (unfinished / name).write_bytes(file.read(pinned.num_bytes))
        with contextlib.suppress(OSError):  # another process was faster
            unfinished.rename(target)
    except (KeyError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise RunError(f"{path}: is not the archive of {PREFIX}{entry.name} ({error}); delete it") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
