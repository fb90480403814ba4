"""Labelled images on disk: class folders, a zip of them, or shards in WebDataset's format; each with a manifest.

Nothing appears under its final name before it is complete. The same images give the same bytes.
"""

from __future__ import annotations

import io
import json
import secrets
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from gansmith.errors import ConfigError
from gansmith.files import replace_file

__all__ = ["MANIFEST", "Container", "LabelledPicture", "open_container"]

Container: TypeAlias = Literal["folder", "zip", "webdataset"]

MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """One image of a data set.

    Args:
        class_folder: name of its class's folder.
        stem: its file name without suffix, different for all images.
        content: the PNG file.
        facts: its line in the manifest, without "file"; "label" is the number of its class.
    """

    class_folder: str
    stem: str
    content: bytes
    facts: Mapping[str, Any] = field(repr=False)


Add: TypeAlias = Callable[[LabelledPicture], None]


@contextmanager
def open_container(path: Path, kind: Container, *, replace: bool = False, shard_size: int = 1000) -> Iterator[Add]:
    """Yield a function that adds a picture; all are written when the block succeeds, nothing is otherwise.

    Args:
        path: the folder, or the zip file.
        kind: what to write: "folder": class folders; "zip": the same in a zip; "webdataset": a folder of shards, each
            sample being ``N.png``, ``N.cls`` (the number of the class) and ``N.json`` (its line in the manifest).
        replace: replace what is there.
        shard_size: images of a shard.

    Raises:
        ConfigError: something is there, and shall not be replaced.
    """
    exists = path.exists() or path.is_symlink()
    if exists and not replace:
        raise ConfigError(f"{path}: exists already; choose another --out, or add --replace")
    if exists and not (_is_zip(path) if kind == "zip" else (path / MANIFEST).is_file()):
        raise ConfigError(f"{path}: is not an earlier export of this kind, so it is kept; choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "zip":
        with replace_file(path) as unfinished, _fill_zip(unfinished) as add:
            yield add
        return
    fill = _fill_folder if kind == "folder" else _fill_shards
    with _replace_folder(path) as unfinished, fill(unfinished, shard_size) as add:
        yield add


def _is_zip(path: Path) -> bool:
    """Whether a file is a zip with a manifest."""
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError):
        return False


@contextmanager
def _replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of ``path`` when the block succeeds, and is removed otherwise."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    unfinished.mkdir()
    try:
        yield unfinished
        former = unfinished.with_suffix(".former")
        if path.exists():
            path.replace(former)
        unfinished.replace(path)
        if former.is_symlink():
            former.unlink()
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _fill_folder(folder: Path, _: int) -> Iterator[Add]:
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:

        def add(picture: LabelledPicture) -> None:
            file = f"{picture.class_folder}/{picture.stem}.png"
            (folder / picture.class_folder).mkdir(exist_ok=True)
            (folder / file).write_bytes(picture.content)
            manifest.write(_line(file, picture))

        yield add


@contextmanager
def _fill_zip(path: Path) -> Iterator[Add]:
    lines: list[str] = []
    with zipfile.ZipFile(path, "w") as archive:

        def add(picture: LabelledPicture) -> None:
            file = f"{picture.class_folder}/{picture.stem}.png"
            archive.writestr(zipfile.ZipInfo(file), picture.content)  # dated 1980, and stored: a PNG is compressed
            lines.append(_line(file, picture))

        yield add
        archive.writestr(zipfile.ZipInfo(MANIFEST), "".join(lines), zipfile.ZIP_DEFLATED)


@contextmanager
def _fill_shards(folder: Path, shard_size: int) -> Iterator[Add]:
    """Fill a folder with 000000.tar, 000001.tar, ...; the files of a sample lie one after the other."""
    num, shard = 0, None

    def add(picture: LabelledPicture) -> None:
        nonlocal num, shard
        name = f"{num // shard_size:06d}.tar"
        if num % shard_size == 0:
            if shard is not None:
                shard.close()
            shard = tarfile.open(folder / name, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        assert shard is not None
        key, line = f"{num:08d}", _line(f"{name}/{num:08d}.png", picture)
        label = str(picture.facts["label"]).encode()
        for suffix, content in (("png", picture.content), ("cls", label), ("json", line.encode())):
            member = tarfile.TarInfo(f"{key}.{suffix}")  # dated 1970, without the user's name
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
        manifest.write(line)
        num += 1

    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        try:
            yield add
        finally:
            if shard is not None:
                shard.close()


def _line(file: str, picture: LabelledPicture) -> str:
    return json.dumps({"file": file, **picture.facts}, ensure_ascii=False) + "\n"
