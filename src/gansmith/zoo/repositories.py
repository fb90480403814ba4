"""``hf:user/name`` and ``hf:user/name@revision``: run folders from the Hugging Face Hub, in the cache.

    hub/user--name/revisions.json   the commit of each revision, when the Hub was last asked
    hub/user--name/COMMIT.json      the digest of each file of this commit
    hub/user--name/COMMIT/          its files: a run folder

A commit is downloaded once. Every time it is opened, all its files are compared with their digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.download import cache_folder
from gansmith.errors import MissingExtra, RunError, tell
from gansmith.files import refuse_links
from gansmith.plain_json import read_json, write_json
from gansmith.zoo.content import choose_files, compare_weights, inspect_content
from gansmith.zoo.hub import COMMIT, DEFAULT_ENDPOINT, HUB_PREFIX, Listing, Unreachable, endpoint, list_files, read_file

__all__ = ["Repository", "find_repository", "name_of_cached", "parse_repository"]

PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
REVISION = r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}"
NAME = re.compile(rf"({PART}/{PART})(?:@({REVISION}))?")
DEFAULT = "main"  # of revisions.json, for the default branch
HUB = "hub"  # the folder in the cache


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A name that a user has typed.

    Args:
        name: "user/name".
        revision: a branch, tag or commit; None for the default branch.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")

    @property
    def folder(self) -> Path:
        """Its folder in the cache; another Hub than the usual one has another folder."""
        address = endpoint()
        mark = "" if address == DEFAULT_ENDPOINT else f"-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
        return cache_folder() / HUB / f"{self.name.replace('/', '--')}{mark}"


def parse_repository(typed: str) -> Repository:
    """Parse "user/name" or "user/name@revision", with or without "hf:".

    Raises:
        RunError: it is something else.
    """
    found = NAME.fullmatch(typed.removeprefix(HUB_PREFIX))
    if found is None or "--" in found[1] or ".." in typed:
        raise RunError(f"{typed[:200]!r}: is no repository; expected {HUB_PREFIX}user/name or user/name@revision")
    return Repository(name=found[1], revision=found[2])


def find_repository(typed: str) -> Path:
    """Return the run folder of ``hf:user/name``, which is downloaded unless the cache has its commit.

    The Hub is asked for the commit of a branch each time. If it cannot be reached, the commit that it named last is
    used, with a note. A full commit that is in the cache needs no network.

    Raises:
        RunError: the name is wrong, the repository cannot be had or used, or a file has changed in the cache.
        MissingExtra: huggingface_hub is not installed, and the cache does not have the repository.
    """
    repository = parse_repository(typed)
    commit = repository.revision
    if commit and COMMIT.fullmatch(commit) and _record(repository, commit).is_file():
        return _check_cached(repository, commit)
    try:
        listing = list_files(repository.name, commit)
    except (Unreachable, MissingExtra) as error:
        return _use_last(repository, error)
    if not _record(repository, listing.commit).is_file():
        _download(repository, listing)
    _remember(repository, listing.commit)
    return _check_cached(repository, listing.commit)


def name_of_cached(folder: Path) -> tuple[str, str] | None:
    """Return the repository's name and commit of a folder in the cache; None for any other folder."""
    folder = folder.resolve()
    if not COMMIT.fullmatch(folder.name) or folder.parent.parent != (cache_folder() / HUB).resolve():
        return None
    try:
        return str(read_json(folder.with_suffix(".json"))["repository"]), folder.name
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _use_last(repository: Repository, error: Unreachable | MissingExtra) -> Path:
    commit = _revisions(repository).get(repository.revision or DEFAULT)
    if not (isinstance(commit, str) and COMMIT.fullmatch(commit) and _record(repository, commit).is_file()):
        raise error
    tell(f"{repository}: the Hub was not asked; commit {commit[:12]} from the cache is used")
    return _check_cached(repository, commit)


def _revisions(repository: Repository) -> dict[str, Any]:
    try:
        plain = read_json(repository.folder / "revisions.json")
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _remember(repository: Repository, commit: str) -> None:
    known, revision = _revisions(repository), repository.revision or DEFAULT
    if known.get(revision) != commit:
        write_json(repository.folder / "revisions.json", {**known, revision: commit})


def _record(repository: Repository, commit: str) -> Path:
    return repository.folder / f"{commit}.json"


def _download(repository: Repository, listing: Listing) -> None:
    """Download the known files into a new folder, check them, and record their digests."""
    chosen = choose_files(str(repository), {path: file.num_bytes for path, file in listing.files.items()})
    target = repository.folder / listing.commit
    unfinished = repository.folder / f".{listing.commit}.{secrets.token_hex(8)}"
    digests = {}
    try:
        for path in chosen:
            content = read_file(repository.name, listing.commit, path, listing.files[path])
            inspect_content(str(repository), path, content)
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_bytes(content)
            digests[path] = hashlib.sha256(content).hexdigest()
        compare_weights(str(repository), (unfinished / "best" / "state.json").read_bytes(), digests)
        _replace(unfinished, target)
        plain = {"repository": repository.name, "commit": listing.commit, "endpoint": endpoint(), "files": digests}
        write_json(_record(repository, listing.commit), plain)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        with contextlib.suppress(OSError):  # after a refusal nothing is there
            repository.folder.rmdir()
    size = sum(listing.files[path].num_bytes for path in chosen) / 1e6
    tell(f"{repository}: downloaded {size:.1f} MB of commit {listing.commit}")


def _replace(unfinished: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)  # a leftover without a record
    with contextlib.suppress(OSError):  # another process was faster, with the same content
        unfinished.rename(target)


def _check_cached(repository: Repository, commit: str) -> Path:
    """Return the folder of a commit if its files are those that were downloaded."""
    folder, digests = repository.folder / commit, _read_digests(repository, commit)
    remedy = f"delete {folder} and {commit}.json to download it again"
    if not folder.is_dir():
        raise RunError(f"{repository}: {folder} is missing; {remedy}")
    refuse_links(folder)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for path in sorted(digests.keys() | found.keys()):
        if path not in found:
            raise RunError(f"{repository}: {path} is missing in the cache; {remedy}")
        if hashlib.sha256(found[path].read_bytes()).hexdigest() != digests.get(path):
            raise RunError(f"{repository}: {path} has changed since its download; {remedy}")
    return folder


def _read_digests(repository: Repository, commit: str) -> Mapping[str, Any]:
    path = _record(repository, commit)
    try:
        digests = read_json(path)["files"]
        return dict(digests)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"cannot be read ({error})"
        raise RunError(f"{path}: {reason}; delete it and the folder {commit} to download it again") from error
