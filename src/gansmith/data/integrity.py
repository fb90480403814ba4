"""Digests that show whether files in the cache are unchanged since they were written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gansmith.data.parallel import map_in_order
from gansmith.plain_json import Altered, seal, unseal

__all__ = ["check_files", "hash_file", "hash_tensors"]

BLOCK_BYTES = 2**22
ALWAYS_BYTES = 2**28  # files up to this size are read and checked every time
SETTLED_SECONDS = 2.0  # a file that changed less than this before its check may change again within one clock tick
CHECKED = "checked.json"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of the SHA-256 digests of a file's 4 MiB blocks, computed by several threads."""
    starts = range(0, path.stat().st_size, BLOCK_BYTES)
    whole = hashlib.sha256()
    for block in map_in_order(lambda start: _hash_block(path, start), starts):
        whole.update(block)
    return whole.hexdigest()


def _hash_block(path: Path, start: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        return hashlib.sha256(file.read(BLOCK_BYTES)).digest()


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Compare the files in a folder with their digests.

    A file of more than 256 MiB is read once: ``checked.json`` beside it stores its size, times, inode and device. It is
    read again only if one of these has changed. A copy has another inode; the change time of an inode cannot be set.

    Args:
        folder: the folder of the files.
        digests: by file name, as ``hash_file`` returns them.

    Raises:
        Altered: a file has changed since it was written.
        OSError: a file is missing or cannot be read.
    """
    known, found = _known(folder), {}
    for name, digest in digests.items():
        identity = _identity(folder / name, digest)
        if name in known and known[name] == identity:
            found[name] = identity
            continue
        started = time.time()
        if hash_file(folder / name) != digest:
            raise Altered(f"{name} differs from its digest")
        status = (folder / name).stat()
        settled = max(status.st_mtime, status.st_ctime) < started - SETTLED_SECONDS
        if status.st_size > ALWAYS_BYTES and settled and identity == _identity(folder / name, digest):
            found[name] = identity
    if found != known and os.name != "nt":  # Windows has no time of an inode's last change
        _remember(folder, found)


def _identity(path: Path, digest: str) -> list[Any]:
    status = path.stat()
    return [digest, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _known(folder: Path) -> dict[str, Any]:
    try:
        return unseal((folder / CHECKED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(folder: Path, found: Mapping[str, Any]) -> None:
    unfinished = folder / f".{CHECKED}.{uuid.uuid4().hex[:8]}"
    with contextlib.suppress(OSError):  # in a read-only cache, files are checked every time
        unfinished.write_text(seal(found), "utf-8")
        unfinished.replace(folder / CHECKED)
