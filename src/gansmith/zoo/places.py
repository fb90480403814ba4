"""Where the files of ``zoo:NAME`` are: in gansmith, in the distribution gansmith-zoo, or in the cache after a download.

Every file is compared with its SHA-256 in the manifest whenever an entry is opened. ``hf:user/name``, of the Hugging
Face Hub, is resolved here too, so every run folder that a user names passes ``find_run``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
from contextlib import suppress
from pathlib import Path, PurePath

from gansmith import __version__
from gansmith.download import cache_folder
from gansmith.errors import RunError, command
from gansmith.files import refuse_links
from gansmith.zoo.archive import download_entry
from gansmith.zoo.hub import HUB_PREFIX
from gansmith.zoo.manifest import PREFIX, Entry, find_entry, read_manifest
from gansmith.zoo.repositories import find_repository, name_of_cached

__all__ = ["PACKAGED", "describe_place", "describe_run", "entry_name", "find_run", "is_here", "refuse_change"]

PACKAGED = Path(__file__).with_name("entries")
DISTRIBUTION = "gansmith-zoo"
URL = "GANSMITH_ZOO_URL"  # environment variable: the folder of NAME.zip on a web server


def find_run(typed: str | Path) -> Path:
    """Return the folder that the user means.

    Args:
        typed: the path of a run, ``zoo:NAME``, or ``hf:user/name@revision``. What is not on this machine is
            downloaded.

    Raises:
        RunError: there is no such entry or repository, or its files are not those that were pinned.
        DataError: an entry cannot be downloaded.
        MissingExtra: ``hf:`` needs huggingface_hub.
    """
    if str(typed).startswith(HUB_PREFIX):
        return find_repository(typed.as_posix() if isinstance(typed, PurePath) else typed)
    if not str(typed).startswith(PREFIX):
        return Path(typed)
    entry = find_entry(str(typed).removeprefix(PREFIX))
    for folder, remedy in _places(entry):
        if folder.is_dir():
            return _checked(entry, folder, remedy)
    server = os.environ.get(URL)
    if not server:
        raise RunError(
            f"{PREFIX}{entry.name}: not on this machine; install the distribution {DISTRIBUTION} {__version__}, or set "
            f"{URL} to the web folder that contains {entry.name}.zip"
        )
    target, remedy = _places(entry)[-1]
    download_entry(entry, server, target)
    return _checked(entry, target, remedy)


def describe_place(entry: Entry) -> str:
    """Return where an entry is, or how to get it; its digests are not checked."""
    (packaged, _), *others, (cached, _) = _places(entry)
    if packaged.is_dir():
        return "in gansmith"
    if any(folder.is_dir() for folder, _ in others):
        return f"in {DISTRIBUTION}"
    if cached.is_dir():
        return "downloaded"
    return "to download" if os.environ.get(URL) else f"install {DISTRIBUTION}"


def is_here(name: str) -> bool:
    """Return whether an entry is on this machine, with the files that were pinned."""
    entry = find_entry(name)
    here = [(folder, remedy) for folder, remedy in _places(entry) if folder.is_dir()]
    with suppress(RunError):
        return bool(here and _checked(entry, *here[0]))
    return False


def entry_name(folder: Path) -> str | None:
    """Return the name of the entry or the repository that a folder holds; None for any other folder."""
    if cached := name_of_cached(folder):
        return cached[0].rpartition("/")[2]
    folder = folder.resolve()
    entry = read_manifest().get(folder.name) or read_manifest().get(folder.name.rpartition("-")[0])
    if entry is None or folder not in [place.resolve() for place, _ in _places(entry)]:
        return None
    return entry.name


def describe_run(folder: Path) -> str:
    """Return ``zoo:NAME`` or ``hf:user/name@commit`` for such a folder, and its path for any other run."""
    if cached := name_of_cached(folder):
        return f"{HUB_PREFIX}{cached[0]}@{cached[1]}"
    name = entry_name(folder)
    return str(folder) if name is None else f"{PREFIX}{name}"


def refuse_change(folder: Path) -> None:
    """Raise RunError for a folder of the zoo or of the Hub, whose files are pinned."""
    if entry_name(folder) is not None:
        start = command("train", "DATA", "--init", describe_run(folder))
        kind = "an entry of the zoo" if name_of_cached(folder) is None else "a downloaded model"
        raise RunError(f"{describe_run(folder)}: {kind} cannot be resumed; start from it with: {start}")


def _places(entry: Entry) -> list[tuple[Path, str]]:
    """Return the folders where an entry may be, in the order of the search, each with the remedy if it is damaged."""
    places = [(PACKAGED / entry.name, f"reinstall gansmith {__version__}")]
    spec = importlib.util.find_spec(DISTRIBUTION.replace("-", "_"))
    for home in (spec and spec.submodule_search_locations) or ():
        remedy = f"gansmith {__version__} needs {DISTRIBUTION} {__version__}, found {_version()}; install that version"
        places.append((Path(home) / "entries" / entry.name, remedy))
    cached = cache_folder() / "zoo" / f"{entry.name}-{entry.archive.sha256[:16]}"
    return [*places, (cached, "delete this folder to download it again")]


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "none that is installed"


def _checked(entry: Entry, folder: Path, remedy: str) -> Path:
    """Return the folder if its files are those of the manifest.

    Raises:
        RunError: a file is missing, added or different, or is a link.
    """
    refuse_links(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    flaws = [
        *(f"{name} is missing" for name in sorted(entry.files.keys() - found)),
        *(f"{name} does not belong to it" for name in sorted(found - entry.files.keys())),
    ]
    flaws = flaws or [
        f"{name} differs from its SHA-256" for name in sorted(found) if not _is_pinned(entry, folder, name)
    ]
    if flaws:
        raise RunError(f"{PREFIX}{entry.name}: {flaws[0]} (in {folder}); {remedy}")
    return folder


def _is_pinned(entry: Entry, folder: Path, name: str) -> bool:
    path, pinned = folder / name, entry.files[name]
    return path.stat().st_size == pinned.num_bytes and hashlib.sha256(path.read_bytes()).hexdigest() == pinned.sha256
