"""The page beside a training: its address is the last line of the start, and training never depends on it."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gansmith.cli import main
from gansmith.deploy.app import beside
from gansmith.deploy.app.beside import show_beside, show_training, start_beside
from gansmith.errors import RunError
from gansmith.runs import RunFolder

SECONDS = 60
# Stands in for the page, which takes seconds to start: answers one request with the run's folder, until input ends.
STAND_IN = """
import socket, sys, threading
def answer():
    with socket.socket(fileno=int(sys.argv[2])) as bound:
        connection, _ = bound.accept()
        with connection:
            connection.recv(10000)
            body = sys.argv[1].encode()
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
threading.Thread(target=answer, daemon=True).start()
sys.stdin.read()
"""
TRAINING = """
import importlib.util, sys, time
from pathlib import Path
from gansmith.deploy.app import beside
beside.COMMAND = sys.argv[2]
importlib.util.find_spec = lambda name: name
print(beside.start_beside(Path(sys.argv[1])).process.pid, flush=True)
time.sleep(1000)
"""
posix = pytest.mark.skipif(os.name != "posix", reason="sockets are inherited on POSIX only")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "COMMAND", STAND_IN)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "gradio" or find(name, *more))


@posix
def test_the_address_is_the_last_line_of_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "digits run"
    changes = ["--model.width", "4", "--batch_size", "4", "--size", "16", "--guard", "none", "--tracking", "none"]
    words = ["train", "digits", "--preset", "dcgan-r1", "--steps", "1", "--run", str(path), "--app", *changes]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.startswith("app ")]
    assert lines[place].startswith("app     http://127.0.0.1:") and lines[place - 1].startswith(f"run     {path}, for")
    with pytest.raises(httpx.ConnectError):
        httpx.get(lines[place].split()[1])
    assert main(["resume", str(path), "--steps", "1", "--app", "--app_port", "70000"]) == 2
    assert capsys.readouterr().err == "error: --app_port: 70000 is out of range; expected 1 to 65,535\n"


@posix
def test_the_page_lives_as_long_as_the_training(run: Path) -> None:
    with show_training(True) as start:
        assert start is not None
        (line,) = start(RunFolder(run))
        address = line.removeprefix("app     ")
        assert httpx.get(address, timeout=SECONDS).text == str(run)
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
    with show_training(False) as nothing:
        assert nothing is None


@posix
def test_the_page_ends_when_the_training_is_killed(run: Path) -> None:
    command = [
        sys.executable,
        "-c",
        TRAINING,
        str(run),
        "import sys; sys.stdin.read(); open(sys.argv[1] + '.end', 'w')",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        page = int(training.stdout.readline())
        assert os.getsid(page) != os.getsid(training.pid), "Ctrl-C does not reach it"
        training.send_signal(signal.SIGKILL)
    ended = Path(f"{run}.end")
    reader = subprocess.run(
        ["timeout", str(SECONDS), "sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done', str(ended)], check=False
    )
    assert reader.returncode == 0 and ended.exists()
    ended.unlink()


def test_training_goes_on_without_a_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with show_training(port) as start:
            assert start is not None
            assert start(RunFolder(run)) == [
                f"app     not started: --app_port {port}: address already in use; choose another port"
            ]
        monkeypatch.setattr(beside, "APP_PORT", port)
        page = start_beside(run)
        assert not page.address.endswith(f":{port}"), "a free one instead"
        page.close()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    with show_training(True) as start:
        assert start is not None
        assert start(RunFolder(run)) == [
            "app     not started: gradio is needed to show the page; install it with: pip install 'gansmith[app]'"
        ]


def test_the_process_is_nice_and_says_why_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def serve(runs: list[str], *, listening: socket.socket, announce: Any) -> None:
        seen.update(runs=runs, address=listening.getsockname())
        listening.close()
        raise RunError("it went")

    monkeypatch.setattr("gansmith.deploy.app.server.serve_page", serve)
    monkeypatch.setattr(os, "nice", lambda by: seen.update(nice=by))
    monkeypatch.setattr(beside, "_end_with_input", lambda: None)
    bound = socket.create_server(("127.0.0.1", 0))
    address = bound.getsockname()
    with pytest.raises(SystemExit) as end:
        show_beside("runs/x", bound.detach() if os.name == "posix" else address[1])
    assert end.value.code == 2 and seen == {"runs": ["runs/x"], "address": address, "nice": 10}
    assert capsys.readouterr().err == "the page has ended: it went\n"
