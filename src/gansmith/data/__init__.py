"""Any images in, one memory-mapped uint8 store out.

Members of the family are listed in ``SOURCES``; ``resolve`` turns what a user types into one of them.
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
    """The source that a user means by a name or a path.

    Args:
        text: a name of ``SOURCES``, or "package.module:Class", or else a path: a folder, a zip or an .npz. A folder
            that is called like a source is meant by ``./name``; the bare name is then refused.
        root: where a local copy of a named source lies.

    Returns:
        The source; its paths are absolute, so that a run can be resumed from anywhere.

    Raises:
        ConfigError: ``root`` has no place in this source, or the name is a source's and a folder's.
        DataError: neither a source nor a path.
    """
    if text in SOURCES and root is None and Path(text).is_dir():
        raise ConfigError(
            f"data: '{text}' is a data set's name and a folder here; write ./{text} for the folder, "
            f"or rename it to read the data set"
        )
    if text in SOURCES or re.fullmatch(r"[\w.]{2,}:\w+", text):  # one letter before the colon is a drive
        return _named(text, root)
    if root is not None:
        raise ConfigError(f"root: says where a named data set lies, but '{text}' names none; leave one of them out")
    return _at_path(text)


def _named(name: str, root: Path | None) -> Source:
    from gansmith.data.source import Source  # not above: it brings torch

    cls = member(Source, name, "data")  # type: ignore[type-abstract]
    fields = {field.name for field in dataclasses.fields(cls)}
    if "path" in fields:
        raise ConfigError(f"data: '{name}' reads a path; write the path itself instead of '{name}'")
    if root is not None and "root" not in fields:
        raise ConfigError(f"root: '{name}' reads no files; leave it out")
    given = {} if root is None else {"root": root.expanduser().absolute()}
    source: Source = from_plain(Source, {"name": name, **given}, "data")
    return source


def _at_path(text: str) -> Source:
    from gansmith.data.folder import Folder, known_set
    from gansmith.data.formats import pointer_at
    from gansmith.data.npz import Npz

    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise DataError(
            f"data: no data set is called '{text}', and no such folder or file is there; {did_you_mean(text, SOURCES)}"
        )
    pointer = pointer_at(path)
    if pointer:
        raise DataError(f"{path}: {pointer}")
    if path.suffix.lower() == ".npz":
        return Npz(path=path)
    if path.is_dir() or zipfile.is_zipfile(path):
        return Folder(path=path)
    if path.suffix.lower() == ".npy":
        remedy = "pack it with numpy.savez('images.npz', images=numpy.load('images.npy'))"
        raise DataError(f"{path}: one array without a name for what it holds; {remedy}")
    if path.suffix.lower() == ".zip":
        raise DataError(f"{path}: a damaged or unfinished zip; fetch or pack it again")
    known = known_set([path.name])
    packed = path.name.lower().endswith((".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"))
    expected = "expected a folder, a zip or an .npz" + ("; unpack it, and give the folder" if packed else "")
    remedy = f"use '{known} --root {text}'" if known else expected
    raise DataError(f"{path}: not a folder or zip of images; {remedy}")
