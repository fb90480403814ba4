"""Downloads, against a server on loopback that can misbehave."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from gansmith.download import RemoteFile, fetch
from gansmith.errors import DataError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; the path says how: /ranges, /no-ranges, /cut-once, /wrong, /endless or 404."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        first_time = not any(path == self.path for path, _ in self.seen)
        self.seen.append((self.path, asked))
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.path != "/no-ranges" else 0
        self.send_response(206 if start else 200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self._send_body(start, first_time)

    def _send_body(self, start: int, first_time: bool) -> None:
        if self.path == "/cut-once" and first_time:
            self.wfile.write(CONTENT[:HALF])
        elif self.path == "/wrong":
            self.wfile.write(bytes(len(CONTENT) - start))
        elif self.path == "/endless":
            self._send_until_cut_off()
        else:
            self.wfile.write(CONTENT[start:])

    def _send_until_cut_off(self) -> None:
        try:
            while True:
                self.wfile.write(CONTENT)
        except ConnectionError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def remote(*urls: str, digest: str = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}") -> RemoteFile:
    return RemoteFile("images.gz", urls, digest, len(CONTENT))


def silent(done: int, total: int) -> None:
    pass


def test_downloads_once_and_reports_progress(server: str, tmp_path: Path) -> None:
    reports: list[tuple[int, int]] = []
    file = remote(f"{server}/ranges")
    path = fetch(file, tmp_path / "toy", lambda *report: reports.append(report))
    assert path == tmp_path / "toy" / "images.gz"
    assert path.read_bytes() == CONTENT
    assert reports[0] == (0, len(CONTENT)) and reports[-1] == (len(CONTENT), len(CONTENT))
    assert reports == sorted(reports)
    assert fetch(file, tmp_path / "toy", silent) == path
    assert len(Handler.seen) == 1


def test_a_cut_connection_is_resumed_where_it_ended(server: str, tmp_path: Path) -> None:
    path = fetch(remote(f"{server}/cut-once"), tmp_path, silent)
    assert path.read_bytes() == CONTENT
    assert Handler.seen == [("/cut-once", None), ("/cut-once", f"bytes={HALF}-")]


def test_a_part_left_by_an_earlier_run_is_resumed(server: str, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(CONTENT[:1000])
    fetch(remote(f"{server}/ranges"), tmp_path, silent)
    assert Handler.seen == [("/ranges", "bytes=1000-")]
    assert not (tmp_path / "images.gz.part").exists()


def test_a_complete_part_is_accepted_without_asking_again(server: str, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(CONTENT)
    assert fetch(remote(f"{server}/ranges"), tmp_path, silent).read_bytes() == CONTENT
    assert Handler.seen == []


def test_a_server_without_ranges_sends_everything_anew(server: str, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(b"x" * 1000)
    assert fetch(remote(f"{server}/no-ranges"), tmp_path, silent).read_bytes() == CONTENT


def test_a_spoilt_part_is_thrown_away(server: str, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(b"x" * 1000)
    assert fetch(remote(f"{server}/ranges"), tmp_path, silent).read_bytes() == CONTENT
    assert Handler.seen == [("/ranges", "bytes=1000-"), ("/ranges", None)]


def test_the_next_mirror_is_asked_when_one_fails(server: str, tmp_path: Path) -> None:
    file = remote(f"{server}/missing", f"{server}/wrong", f"{server}/ranges")
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT
    assert [path for path, _ in Handler.seen] == ["/missing", "/wrong", "/ranges"]


def test_md5_pins_are_checked_too(server: str, tmp_path: Path) -> None:
    file = remote(f"{server}/ranges", digest=f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT


def test_a_wrong_digest_is_refused_in_one_line_and_leaves_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sha256 is .* expected") as refused:
        fetch(remote(f"{server}/wrong"), tmp_path / "toy", silent)
    assert "\n" not in str(refused.value)
    assert {path.name for path in (tmp_path / "toy").iterdir()} <= {"images.gz.lock"}


def test_a_server_that_sends_too_much_is_cut_off(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"longer than images.gz should be \(1,048,576 bytes\)"):
        fetch(remote(f"{server}/endless"), tmp_path, silent)


def test_offline_says_which_file_to_put_where(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/images.gz"
        with pytest.raises(DataError) as refused:
            fetch(remote(url), tmp_path / "toy", silent)
    message = str(refused.value)
    assert message.startswith("toy: cannot download images.gz (offline?")
    assert f"put it into {tmp_path / 'toy'}, or give --root a folder that contains it" in message
    assert "\n" not in message


def test_a_wrong_file_in_the_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"images\.gz: shorter than .* delete it"):
        fetch(remote("http://127.0.0.1:1/"), tmp_path, silent)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot be written .* GANSMITH_CACHE"):
        fetch(remote("http://127.0.0.1:1/"), tmp_path / "file" / "toy", silent)


def test_several_at_once_download_once(server: str, tmp_path: Path) -> None:
    file = remote(f"{server}/ranges")
    threads = [threading.Thread(target=fetch, args=(file, tmp_path, silent)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "images.gz").read_bytes() == CONTENT
    assert len(Handler.seen) == 1


def test_the_default_bar_goes_to_standard_error(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(remote(f"{server}/ranges"), tmp_path)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "images.gz" in captured.err
    with pytest.raises(DataError):
        fetch(remote(f"{server}/missing"), tmp_path / "toy")
    assert capsys.readouterr().err == ""  # no bar that never moves
