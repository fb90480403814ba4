"""The Hugging Face Hub: lists, downloads and uploads the files of a repository with huggingface_hub.

The library finds the token (HF_TOKEN, or its own login) and the address (HF_ENDPOINT). No message contains the token or
a server's own text.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.errors import MissingExtra, RunError

__all__ = [
    "COMMIT",
    "DEFAULT_ENDPOINT",
    "HUB_PREFIX",
    "Listing",
    "RemoteContent",
    "Unreachable",
    "endpoint",
    "list_files",
    "read_file",
    "upload",
]

HUB_PREFIX = "hf:"  # of a repository's name, where a run folder is expected
DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 18
COMMIT = re.compile(r"[0-9a-f]{40}")


class Unreachable(RunError):
    """The Hub does not answer, so what is in the cache may be used instead."""


@dataclass(frozen=True, kw_only=True)
class RemoteContent:
    """What the Hub says about a file.

    Args:
        num_bytes: its length.
        sha256: its digest, if it is stored outside git (LFS or Xet).
        blob: its git object id, otherwise.
    """

    num_bytes: int
    sha256: str | None
    blob: str | None

    def matches(self, content: bytes) -> bool:
        """Return whether this is the content."""
        if len(content) != self.num_bytes:
            return False
        if self.sha256 is not None:
            return hashlib.sha256(content).hexdigest() == self.sha256
        header = f"blob {len(content)}\0".encode()
        return hashlib.sha1(header + content, usedforsecurity=False).hexdigest() == self.blob


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A revision of a repository.

    Args:
        commit: 40 hexadecimal digits.
        files: by path, as the Hub names them; untrusted.
    """

    commit: str
    files: Mapping[str, RemoteContent]


def endpoint() -> str:
    """Return the address of the Hub."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def list_files(repository: str, revision: str | None) -> Listing:
    """Resolve a revision to a commit, and list its files.

    Args:
        repository: "user/name".
        revision: a branch, tag or commit; None for the default branch.

    Raises:
        Unreachable: the Hub does not answer, or HF_HUB_OFFLINE is set.
        RunError: the repository or the revision does not exist, or needs a token.
        MissingExtra: huggingface_hub is not installed.
    """
    name = f"{HUB_PREFIX}{repository}" + (f"@{revision}" if revision else "")
    with _explain(name):
        api = _require().HfApi(endpoint=endpoint())
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS)
        commit, files = info.sha, {each.rfilename: _describe(each) for each in info.siblings or ()}
    if not (isinstance(commit, str) and COMMIT.fullmatch(commit)):
        raise RunError(f"{name}: {endpoint()} names no commit; check HF_ENDPOINT")
    return Listing(commit=commit, files=files)


def _describe(sibling: Any) -> RemoteContent:
    sha256 = None if sibling.lfs is None else str(sibling.lfs.sha256)
    size = sibling.size if sibling.lfs is None else sibling.lfs.size
    return RemoteContent(num_bytes=-1 if size is None else int(size), sha256=sha256, blob=sibling.blob_id)


def read_file(repository: str, commit: str, path: str, expected: RemoteContent) -> bytes:
    """Download a file; no more is read than its length.

    Raises:
        Unreachable: the connection failed.
        RunError: the content is not what the Hub listed.
    """
    name = f"{HUB_PREFIX}{repository}"
    with _explain(name):
        hub = _require()
        url = hub.hf_hub_url(repository, path, revision=commit, endpoint=endpoint())
        headers = {**importlib.import_module("huggingface_hub.utils").build_hf_headers(), "Accept-Encoding": "identity"}
        content = bytearray()
        with hub.get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as answer:
            importlib.import_module("huggingface_hub.utils").hf_raise_for_status(answer)
            for chunk in answer.iter_raw(CHUNK_BYTES):
                content += chunk
                if len(content) > expected.num_bytes:
                    break
    if not expected.matches(bytes(content)):
        raise RunError(f"{name}: {path} differs from the digest that the Hub lists; try again, or check HF_ENDPOINT")
    return bytes(content)


def upload(folder: Path, repository: str, *, private: bool, stale: list[str]) -> str:
    """Create a repository unless it exists, and commit a folder to it.

    Args:
        folder: its files; hidden ones are left out.
        repository: "user/name".
        private: only you see a new repository; an existing one keeps its visibility.
        stale: patterns of files in the repository that are removed if the folder lacks them.

    Returns:
        The address of the repository.

    Raises:
        Unreachable: the Hub does not answer.
        RunError: there is no token, or it may not write.
        MissingExtra: huggingface_hub is not installed.
    """
    with _explain(f"--upload {repository}"):
        hub = _require()
        api = hub.HfApi(endpoint=endpoint())
        api.create_repo(repository, private=private or None, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message="Upload with gansmith",
            ignore_patterns=[".*", "**/.*"],
            delete_patterns=stale,
        )
    return f"{endpoint()}/{repository}"


def _require() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise MissingExtra("huggingface_hub", "hub", "to use the Hugging Face Hub") from error


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Turn the library's errors into one line, without the server's text."""
    try:
        yield
    except (RunError, MissingExtra):
        raise
    except Exception as error:
        raise _to_line(name, error) from None  # the library's message may quote headers


def _to_line(name: str, error: Exception) -> RunError:
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # of a thread that uploads
        return _to_line(name, error.__cause__)
    errors = importlib.import_module("huggingface_hub.errors")
    login = "set HF_TOKEN, or log in with: hf auth login"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return RunError(f"{name}: its owner grants access on request; ask on its page, then {login}")
    if isinstance(error, errors.RevisionNotFoundError):
        return RunError(f"{name}: the repository has no such revision; name a branch, a tag or a commit after @")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return RunError(f"{name}: no token; {login}")
    if isinstance(error, errors.HFValidationError):
        return RunError(f"{name}: is no repository's name; expected user/name")
    if status in (401, 403):
        return RunError(f"{name}: the Hub refuses access (HTTP {status}); {login}, with a token that may do this")
    if isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        return RunError(f"{name}: no such repository at {endpoint()}, or a private one; check the name, or {login}")
    if status is not None and status < 500:
        return RunError(f"{name}: {endpoint()} answers HTTP {status}; check the name and HF_ENDPOINT")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return Unreachable(f"{name}: HF_HUB_OFFLINE is set, and it is not in the cache; unset it once to download it")
    if status is not None or isinstance(error, (errors.HTTPError, OSError)):
        reason = f"HTTP {status}" if status else type(error).__name__
        return Unreachable(f"{name}: {endpoint()} cannot be reached (offline? {reason}); try again with a network")
    return RunError(f"{name}: {endpoint()} answers what huggingface_hub cannot read ({type(error).__name__})")
