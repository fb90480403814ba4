"""Files out of tar archives, among them archives that mean harm."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gansmith.data import tar as module
from gansmith.data.tar import read_members
from gansmith.errors import DataError

LIMIT = 1 << 20


def tar(path: Path, *members: tuple[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> Path:
    """A tar archive; compressed if its name ends in .gz."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            change(member)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_wanted_files_are_read_from_any_folder(tmp_path: Path, name: str) -> None:
    path = tar(tmp_path / name, ("x/y/one", b"1"), ("two", b"22"), ("x/three", b"333"))
    assert dict(read_members(path, {"one", "three"}, LIMIT)) == {"one": b"1", "three": b"333"}


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", ("../../one", b"1"), ("/etc/two", b"2"))
    before = sorted(tmp_path.parent.rglob("*"))
    assert dict(read_members(path, {"one", "two"}, LIMIT)) == {"one": b"1", "two": b"2"}
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_no_files(tmp_path: Path, kind: bytes) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname = kind, "/etc/passwd"

    path = tar(tmp_path / "a.tar", ("one", b""), change=change)
    assert dict(read_members(path, {"one"}, LIMIT)) == {}


def test_sparse_files_are_left_out(tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.pax_headers = {"GNU.sparse.size": str(1 << 40), "GNU.sparse.map": "0,1"}

    path = tar(tmp_path / "a.tar", ("one", b"1"), change=change)
    assert dict(read_members(path, {"one"}, LIMIT)) == {}


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar.gz", ("other", bytes(2 * LIMIT)), ("one", b"1"))
    assert path.stat().st_size < LIMIT / 100
    with pytest.raises(DataError, match="it contains more than the data set can have"):
        dict(read_members(path, {"one"}, LIMIT))


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", ("x/one", b"1"), ("y/one", b"2"))
    with pytest.raises(DataError, match=r"a\.tar: two files are called one, expected one"):
        dict(read_members(path, {"one"}, LIMIT))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"no archive at all" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-8] + bytes(8),
        lambda data: gzip.compress(b"no archive at all" * 100),
    ],
)
def test_damaged_archives_are_refused_in_one_line(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tar(tmp_path / "a.tar.gz", ("one", bytes(range(256)) * 100))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match="not a usable tar archive") as refused:
        dict(read_members(path, {"one"}, LIMIT))
    assert "\n" not in str(refused.value)


def test_more_members_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMBER_LIMIT", 3)
    assert dict(read_members(tar(tmp_path / "a.tar", ("one", b"1"), *[("x", b"")] * 2), {"one"}, LIMIT)) == {
        "one": b"1"
    }
    with pytest.raises(DataError, match="more than 3 members"):
        dict(read_members(tar(tmp_path / "b.tar", *[("x", b"")] * 4), {"one"}, LIMIT))


def record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode()
    return f"{len(text) + 2}".encode() + text


SPARSE = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "one")


@pytest.mark.parametrize("start", [b"zz\n12\n", b"9" * 511 + b"\n", b"1\n-5\nx\n"])
def test_a_map_of_holes_that_is_no_map_is_one_line(tmp_path: Path, start: bytes) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(SPARSE)
    member = tarfile.TarInfo("one")
    member.size = 512
    blocks = [header.tobuf(), SPARSE.ljust(512, b"\0"), member.tobuf(), start.ljust(512, b"\0"), bytes(1024)]
    (tmp_path / "a.tar").write_bytes(b"".join(blocks))
    with pytest.raises(DataError, match="not a usable tar archive") as caught:
        dict(read_members(tmp_path / "a.tar", {"one"}, LIMIT))
    assert "\n" not in str(caught.value)


def test_names_that_name_names_without_end_are_one_line(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2
    (tmp_path / "a.tar").write_bytes((header.tobuf() + b"a".ljust(512, b"\0")) * 2000 + bytes(1024))
    with pytest.raises(DataError, match="not a usable tar archive"):
        dict(read_members(tmp_path / "a.tar", {"one"}, LIMIT))
