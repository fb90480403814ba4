"""archive: folders and zips as lists of files; hostile ones cost nothing but an entry in ``skipped``."""

from __future__ import annotations

import io
import multiprocessing
import os
import struct
import sys
import time
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gansmith.data import archive as module
from gansmith.data.archive import Archive, open_archive
from gansmith.errors import DataError

links = pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


FILES = {
    "b/2.png": b"two",
    "b/10.png": b"ten",
    "a.png": b"a",
    "b/._2.png": b"mac",
    ".hidden/x.png": b"hidden",
    "__MACOSX/b/2.png": b"mac",
    "b/Thumbs.db": b"windows",
    ".DS_Store": b"mac",
}


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_files_are_listed_sorted_and_junk_is_ignored_quietly(write: object, tmp_path: Path) -> None:
    archive = open_archive(write(tmp_path / "data", FILES))  # type: ignore[operator]
    assert archive.names == ("a.png", "b/10.png", "b/2.png")
    assert archive.skipped == ()
    assert archive.read("b/10.png") == b"ten"


@pytest.mark.parametrize("write", [write_zip, write_folder])
def test_the_fingerprint_follows_names_and_contents(write: object, tmp_path: Path) -> None:
    def fingerprint(name: str, files: dict[str, bytes]) -> str:
        folder = write(tmp_path / name, files)  # type: ignore[operator]
        for path in folder.rglob("*"):
            os.utime(path, (0, 0))
        return open_archive(folder).fingerprint

    first = fingerprint("first", {"a": b"1", "b": b"2"})
    assert first == fingerprint("same", {"b": b"2", "a": b"1"})
    assert first != fingerprint("renamed", {"a": b"1", "c": b"2"})
    assert first != fingerprint("longer", {"a": b"1", "b": b"22"})


def test_a_changed_file_of_the_same_size_changes_the_fingerprint(tmp_path: Path) -> None:
    one, two = write_zip(tmp_path / "1.zip", {"a": b"1"}), write_zip(tmp_path / "2.zip", {"a": b"2"})
    assert open_archive(one).fingerprint != open_archive(two).fingerprint
    folder = write_folder(tmp_path / "folder", {"a": b"1"})
    before = open_archive(folder).fingerprint
    os.utime(folder / "a", ns=(1, 1))
    assert open_archive(folder).fingerprint != before


def test_what_is_not_there_or_neither_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or zip"):
        open_archive(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DataError, match="expected a folder or a zip"):
        open_archive(tmp_path / "notes.txt")


@pytest.mark.parametrize("write", [write_zip, write_folder])
@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_names_that_would_upset_a_terminal_are_skipped(write: object, tmp_path: Path) -> None:
    archive = open_archive(write(tmp_path / "data", {"\x1b[2J.png": b"x", "ä.png": b"x"}))  # type: ignore[operator]
    assert archive.names == ("ä.png",)
    assert archive.skipped == (("\\x1b[2J.png", "a name with unprintable characters; rename it"),)


@links
def test_names_in_no_known_encoding_are_skipped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xe4.png")).touch()
    except OSError:
        pytest.skip("the file system allows no such names")
    assert open_archive(tmp_path).skipped == (("\\udce4.png", "a name with unprintable characters; rename it"),)


# --- links -------------------------------------------------------------------------------------------------


@links
def test_links_out_of_the_tree_are_skipped(tmp_path: Path) -> None:
    write_folder(tmp_path / "outside", {"secret.png": b"secret"})
    root = write_folder(tmp_path / "root", {"a.png": b"a"})
    (root / "file.png").symlink_to(tmp_path / "outside" / "secret.png")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "relative.png").symlink_to("../outside/secret.png")
    (tmp_path / "rootless").mkdir()
    (root / "sibling").symlink_to(tmp_path / "rootless")  # its path begins with the root's, as text
    archive = open_archive(root)
    assert archive.names == ("a.png",)
    reason = "a link that points outside the folder"
    assert archive.skipped == tuple((name, reason) for name in ("file.png", "folder", "relative.png", "sibling"))


@links
def test_links_within_the_tree_are_followed(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "root", {"pool/1.png": b"1", "pool/2.png": b"2"})
    (root / "best.png").symlink_to("pool/2.png")
    (root / "again").symlink_to("pool")
    archive = open_archive(root)
    assert archive.names == ("again/1.png", "again/2.png", "best.png", "pool/1.png", "pool/2.png")
    assert archive.skipped == () and archive.read("best.png") == b"2"


@links
def test_link_loops_end(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "root", {"a/1.png": b"1", "b/2.png": b"2"})
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "over").symlink_to("../b")
    (root / "b" / "back").symlink_to("../a")
    (root / "self").symlink_to("self")
    (root / "broken").symlink_to("nothing")
    archive = open_archive(root)
    assert {"a/1.png", "b/2.png"} <= set(archive.names) and len(archive.names) <= 4
    reasons = dict(archive.skipped)
    assert reasons["a/up"] == "a link back to a folder above it"
    assert reasons["self"] == reasons["broken"] == "a broken link"


@links
def test_many_links_between_folders_do_not_multiply(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "root", {f"{i}/{i}.png": b"" for i in range(12)})
    for i in range(12):
        for j in range(12):
            (root / str(i) / f"to{j}").symlink_to(f"../{j}")
    assert len(open_archive(root).names) <= 24


@links
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert open_archive(tmp_path).skipped == (("pipe.png", "not a regular file"),)


# --- hostile zips ------------------------------------------------------------------------------------------


def test_zip_slip_and_absolute_names_are_skipped(tmp_path: Path) -> None:
    names = ["../up.png", "a/../../up.png", "/etc/x.png", "C:\\x.png", "..\\up.png", "\\\\host\\x.png"]
    archive = open_archive(write_zip(tmp_path / "x.zip", dict.fromkeys([*names, "a.png"], b"x")))
    assert archive.names == ("a.png",)
    assert len(archive.skipped) == len(names)
    assert {reason for _, reason in archive.skipped} == {"an absolute name", "a name that points outside the archive"}


def test_windows_separators_make_folders(tmp_path: Path) -> None:
    archive = open_archive(write_zip(tmp_path / "x.zip", {"cats\\1.png": b"1", ".\\dogs\\2.png": b"2"}))
    assert archive.names == ("cats/1.png", "dogs/2.png")
    assert archive.read("dogs/2.png") == b"2"


def test_names_that_occur_twice_are_skipped_the_second_time(tmp_path: Path) -> None:
    archive = open_archive(write_zip(tmp_path / "x.zip", {"a/1.png": b"1", "a\\1.png": b"2"}))
    assert archive.read("a/1.png") == b"1" and archive.skipped == (("a/1.png", "the name occurs twice"),)


def test_encrypted_members_links_and_odd_methods_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"a")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("lzma.png", b"x" * 99, zipfile.ZIP_LZMA)
        file.writestr("secret.png", b"secret")
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the last member's, secret.png's
    data[entry + 8] |= 1
    path.write_bytes(data)
    archive = open_archive(path)
    assert archive.names == ("a.png",)
    assert dict(archive.skipped) == {
        "link.png": "a symbolic link",
        "lzma.png": "compressed by method 14; expected stored or deflate",
        "secret.png": "encrypted",
    }


def test_a_member_that_declares_too_much_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_LIMIT", 1000)
    archive = open_archive(write_zip(tmp_path / "x.zip", {"a": b"0" * 1000, "b": b"0" * 1001}))
    assert archive.names == ("a",)
    assert archive.skipped == (("b", "1,001 bytes unpacked, more than the limit of 1,000"),)


def test_a_large_file_in_a_folder_is_refused_when_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_LIMIT", 1000)
    archive = open_archive(write_folder(tmp_path / "x", {"b": b"0" * 1001}))
    with pytest.raises(DataError, match="more than the limit of 1,000 bytes"):
        archive.read("b")


def test_a_member_that_lies_about_its_size_is_not_inflated(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"bomb.png": bytes(60_000_000)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", 60_000_000), struct.pack("<L", 100)))
    archive = open_archive(path)
    tracemalloc.start()
    with pytest.raises(DataError, match="damaged"):
        archive.read("bomb.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_damaged_members_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": os.urandom(1000)})
    data = bytearray(path.read_bytes())
    data[200] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        open_archive(path).read("a")


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"a": b"a"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") :][:4] = b"XXXX"
    data[data.rindex(b"PK\x01\x02")] = 0
    path.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read"):
        open_archive(path)


# --- size and safety ---------------------------------------------------------------------------------------


def write_large_zip(path: Path, count: int) -> Path:
    """A zip of many stored members, written by hand, for zipfile takes its time."""
    body, directory, offset = io.BytesIO(), io.BytesIO(), 0
    checksum, size = zlib.crc32(b"x"), 1
    for i in range(count):
        name = f"{i % 100:03d}/{i:06d}.png".encode()
        shared = struct.pack("<HHHHHLLLHH", 20, 0, 0, 0, 33, checksum, size, size, len(name), 0)
        body.write(b"PK\x03\x04" + shared + name + b"x")
        directory.write(b"PK\x01\x02\x14\x00" + shared + struct.pack("<HHHLL", 0, 0, 0, 0, offset) + name)
        offset += 30 + len(name) + size
    tail = struct.pack("<LHHHHLLH", 0x06054B50, 0, 0, 65535, 65535, directory.tell(), offset, 0)
    large = struct.pack("<LQHHLLQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, directory.tell(), offset)
    locator = struct.pack("<LLQL", 0x07064B50, 0, offset + directory.tell(), 1)
    path.write_bytes(body.getvalue() + directory.getvalue() + large + locator + tail)
    return path


def test_a_zip_with_100_000_entries_opens_quickly(tmp_path: Path) -> None:
    path = write_large_zip(tmp_path / "large.zip", 100_000)
    start = time.process_time()
    archive = open_archive(path)
    assert [archive.read(name) for name in archive.names[::100]] == [b"x"] * 1000
    assert time.process_time() - start < 6
    assert len(archive.names) == 100_000


def test_threads_read_what_is_theirs(tmp_path: Path) -> None:
    files = {f"{i}": bytes([i]) * 5000 for i in range(200)}
    archive = open_archive(write_zip(tmp_path / "x.zip", files))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(archive.read, list(files) * 3)) == list(files.values()) * 3


def _read_all(archive: Archive, files: dict[str, bytes]) -> None:
    sys.exit(0 if all(archive.read(name) == data for name, data in list(files.items()) * 20) else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_processes_read_what_is_theirs(tmp_path: Path) -> None:
    files = {f"{i}": os.urandom(5000) for i in range(100)}
    archive = open_archive(write_zip(tmp_path / "x.zip", files))
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_read_all, args=(archive, files)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
