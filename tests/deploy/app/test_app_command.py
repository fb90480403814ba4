"""``gansmith app``: who may listen where, and one line about each mistake; nothing is served in these tests."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from gansmith.cli import main
from gansmith.deploy.app import server


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the page would run with; it ends at once. Gradio is not imported."""
    found: dict[str, Any] = {}

    def note(runs: Any, settings: Any, *, hosts: Any) -> Any:
        found.update(runs=runs, settings=settings, hosts=hosts)
        return lambda scope: None

    def end(self: Any, sockets: list[socket.socket]) -> None:
        found["address"] = sockets[0].getsockname()

    monkeypatch.setitem(sys.modules, "gradio", ModuleType("gradio"))
    monkeypatch.setattr(server, "create_page", note)
    monkeypatch.setattr(uvicorn.Server, "run", end)
    for name in ("GANSMITH_APP_PASSWORD", "GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # restored afterwards
    yield found


def test_by_default_only_this_machine_sees_the_page(
    started: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["app", "runs/a", "zoo:signs-32", "--port", "0", "--most_images", "9"]) == 0
    host, port = started["address"]
    assert host == "127.0.0.1" and capsys.readouterr().out == f"http://127.0.0.1:{port}\n"
    assert started["runs"] == ["runs/a", "zoo:signs-32"] and started["settings"].most_images == 9
    assert set(started["hosts"]) == {"127.0.0.1", "localhost", "::1"} and started["settings"].password is None
    assert main(["app", "--port", "0", "--json"]) == 0
    assert started["runs"] == ["runs"] and '"url": "http://127.0.0.1:' in capsys.readouterr().out


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_address_needs_a_password(
    host: str, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["app", "runs/x", "--host", host, "--port", "0"]
    assert main(words) == 2 and not started
    assert capsys.readouterr().err == (
        f"error: --host {host}: other machines could use the page; set a password (--password, or the variable "
        "GANSMITH_APP_PASSWORD), or --allow_anyone\n"
    )
    for more, password in (["--allow_anyone"], None), (["--password", "secret"], "secret"):
        assert main([*words, *more]) == 0
        assert (started["settings"].password, started["hosts"], started["address"][0]) == (password, None, host)
    monkeypatch.setenv("GANSMITH_APP_PASSWORD", "other")
    assert main(words) == 0 and started["settings"].password == "other"


def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["app", str(tmp_path), "--port", "0"]) == 2
    assert capsys.readouterr().err == (
        "error: gradio is needed to show the page; install it with: pip install 'gansmith[app]'\n"
    )
    assert main(["app", "--most_images", "0"]) == 2
    assert capsys.readouterr().err == "error: most_images: 0 is out of range; expected 1 to 1,024\n"


def test_a_port_in_use_is_one_line(started: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["app", "runs/x", "--port", str(port)]) == 2
    assert capsys.readouterr().err == f"error: --port {port}: address already in use; choose another port or --host\n"
    assert not started
