"""Data sets: read images from any source and keep them as one memory-mapped uint8 store.

``SOURCES`` lists the sources; ``resolve`` finds the one that a user names.
"""

from __future__ import annotations

import dataclasses
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from gansmith.component import Component, from_plain, member
from gansmith.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from gansmith.data.source import Source

__all__ = ["SOURCES", "resolve"]

SOURCES: dict[str, type[Component] | str] = {
    "digits": "gansmith.data.digits:Digits",
    "signs": "gansmith.data.signs.source:Signs",
    "mnist": "gansmith.data.idx:Mnist",
    "fashion-mnist": "gansmith.data.idx:FashionMnist",
    "cifar10": "gansmith.data.cifar:Cifar10",
    "gtsrb": "gansmith.data.gtsrb:Gtsrb",
    "folder": "gansmith.data.folder:Folder",
    "npz": "gansmith.data.npz:Npz",
}


def resolve(text: str, root: Path | None = None) -> Source:
    """Return the source for a name or a path.

    Args:
        text: a name in ``SOURCES``, "package.module:Class", or the path of a folder, a zip or an .npz. If a folder
            has the name of a source, write ``./name`` for the folder; the bare name is refused as ambiguous.
        root: path of a local copy of a named source.

    Returns:
        The source, with absolute paths, so that a run can be resumed from any working directory.

    Raises:
        ConfigError: this source takes no ``root``, or the name fits both a source and a folder.
        DataError: no source and no path has this name.
    """
    if text in SOURCES and root is None and Path(text).is_dir():
        raise ConfigError(
            f"data: '{text}' is both a known data set and a folder here; write ./{text} for the folder, "
            f"or rename the folder to read the known data set"
        )
    if text in SOURCES or re.fullmatch(r"[\w.]{2,}:\w+", text):  # one letter before the colon is a drive
        return _named(text, root)
    if root is not None:
        raise ConfigError(f"--root: expected with a named data set, but '{text}' is a path; omit --root")
    return _at_path(text)


def _named(name: str, root: Path | None) -> Source:
    from gansmith.data.source import Source  # not above: it brings torch

    cls = member(Source, name, "data")  # type: ignore[type-abstract]
    fields = {field.name for field in dataclasses.fields(cls)}
    if "path" in fields:
        raise ConfigError(f"data: '{name}' needs a path; write the path itself instead of '{name}'")
    if root is not None and "root" not in fields:
        raise ConfigError(f"--root: '{name}' reads no files; omit --root")
    given = {} if root is None else {"root": root.expanduser().absolute()}
    source: Source = from_plain(Source, {"name": name, **given}, "data")
    return source


def _at_path(text: str) -> Source:
    from gansmith.data.folder import Folder, recognise_source
    from gansmith.data.formats import describe_pointer_file
    from gansmith.data.npz import Npz

    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise DataError(f"data: no data set, folder or file is called '{text}'; {did_you_mean(text, SOURCES)}")
    pointer = describe_pointer_file(path)
    if pointer:
        raise DataError(f"{path}: {pointer}")
    if path.suffix.lower() == ".npz":
        return Npz(path=path)
    if path.is_dir() or zipfile.is_zipfile(path):
        return Folder(path=path)
    if path.suffix.lower() == ".npy":
        remedy = "pack it with numpy.savez('images.npz', images=numpy.load('images.npy'))"
        raise DataError(f"{path}: .npy is not supported because its array has no name; {remedy}")
    if path.suffix.lower() == ".zip":
        raise DataError(f"{path}: the zip is damaged or incomplete; download or create it again")
    known = recognise_source([path.name])
    packed = path.name.lower().endswith((".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"))
    expected = "expected a folder, a zip or an .npz" + ("; unpack it, and give the folder" if packed else "")
    remedy = f"use '{known} --root {text}'" if known else expected
    raise DataError(f"{path}: not a folder or zip of images; {remedy}")
