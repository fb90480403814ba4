"""The server: from a run's folder to answers on loopback, what keeps others out, and how it ends."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

import gansmith
from forks import Forked
from gansmith.cli import main
from gansmith.deploy import serve as module
from gansmith.deploy.batching import QueueFull
from gansmith.deploy.routes import make_app
from gansmith.deploy.serve import create_app
from gansmith.deploy.service import Service, ServiceSettings, open_service
from gansmith.errors import ConfigError, MissingExtra
from gansmith.sampling.generator import TrainedGenerator

SECONDS = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits, hardly trained."""
    path = tmp_path_factory.mktemp("runs") / "digits run"
    changes = {"model.width": 4, "batch_size": 4, "preparation.size": [16, 16], "guard": None, "tracking": None}
    gansmith.train("digits", preset="dcgan-r1", length="2 steps", run=path, overrides=changes)
    return path


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The URL of an application that is served on a free port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(SECONDS)


def test_the_openapi_description_is_true(class_generator: TrainedGenerator, tmp_path: Path) -> None:
    """Schemathesis asks what the description permits, and what it does not."""
    service = Service(class_generator, ServiceSettings(batch_size=4, most_images=8, most_frames=8, token="secret"))
    # That valid requests are accepted is not among the checks: the limit of frames depends on the number of seeds.
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with running(make_app(service)) as url:
        words = ["run", f"{url}/openapi.json", "--header", "Authorization: Bearer secret", "--seed", "1"]
        words += ["--checks", f"{checks},negative_data_rejection,ignored_auth", "--max-examples", "8"]
        words += ["--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all", "--no-color"]
        command = [sys.executable, "-m", "schemathesis.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not service.batcher.is_alive  # closed with the server


def test_sigterm_lets_running_requests_finish(run: Path, tmp_path: Path) -> None:
    words = ["serve", str(run), "--port", "0", "--json", "--wait_ms", "1000", "--batch_size", "32"]
    process, until = Forked(["-m", "gansmith", *words], tmp_path / "log"), time.monotonic() + SECONDS
    while not process.read().rstrip().endswith("}"):
        assert process.returncode is None and time.monotonic() < until, process.read()
        time.sleep(0.05)
    url = json.loads(process.read())["url"]
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.get(f"{url}/v1/sample?seed=3&num=2&format=npz", timeout=SECONDS))

    asking = threading.Thread(target=ask)
    asking.start()
    while "gansmith_waiting_images 2.0" not in httpx.get(f"{url}/metrics", timeout=SECONDS).text:
        assert not answers
    process.send_signal(signal.SIGTERM)
    asking.join(SECONDS)
    assert process.wait(SECONDS) == 0
    assert answers[0].status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_python_and_the_service_give_the_same_images(run: Path) -> None:
    info = open_service(run, ServiceSettings()).info()
    assert info["run"] == "digits run" and info["step"] == 2 and str(run.parent) not in json.dumps(info)
    with running(create_app(run, ServiceSettings(batch_size=3))) as url:
        answer = httpx.get(f"{url}/v1/sample?seed=5&num=4&label=7&format=npz", timeout=SECONDS)
    with np.load(io.BytesIO(answer.content)) as arrays:
        wanted = gansmith.open_run(run).generator().sample(4, seed=5, label=7)
        assert np.abs(arrays["images"].astype(int) - wanted.images).max() <= 1
        assert np.array_equal(arrays["labels"], wanted.labels)


# --- what keeps others out ---------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server would run with; it ends at once."""
    found: dict[str, Any] = {}

    def note(path: Any, settings: ServiceSettings, **more: Any) -> Any:
        found.update(more, run=path, settings=settings)
        return lambda scope: None

    def end(server: Any, sockets: list[socket.socket]) -> None:
        found["address"], found["protocol"] = sockets[0].getsockname(), sockets[0].proto

    monkeypatch.setattr(module, "create_app", note)
    monkeypatch.setattr(uvicorn.Server, "run", end)
    monkeypatch.delenv("GANSMITH_SERVE_TOKEN", raising=False)
    return found


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_address_needs_a_token(
    host: str, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["serve", "runs/x", "--host", host, "--port", "0"]
    assert main(words) == 2 and not started
    assert capsys.readouterr().err == (
        f"error: --host {host}: other machines could use the service; set a token (--token, or the variable "
        "GANSMITH_SERVE_TOKEN), or --allow_anyone\n"
    )
    for more, token in (["--allow_anyone"], None), (["--token", "secret"], "secret"):
        assert main([*words, *more]) == 0
        assert started["settings"].token == token and started["address"][0] == host
    monkeypatch.setenv("GANSMITH_SERVE_TOKEN", "other")
    assert main(words) == 0 and started["settings"].token == "other"


def test_by_default_only_this_machine_is_served(started: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "runs/x", "--port", "0", "--most_images", "5", "--snapshot", "last", "--no-ema"]) == 0
    host, port = started["address"]
    assert started["protocol"] == socket.IPPROTO_TCP  # otherwise an answer waits 40 ms for an acknowledgement
    assert host == "127.0.0.1" and capsys.readouterr().out == f"http://127.0.0.1:{port}/docs\n"
    assert started["settings"].most_images == 5 and started["settings"].token is None
    assert (started["snapshot"], started["ema"], started["run"]) == ("last", False, "runs/x")


def test_an_address_that_cannot_be_used(started: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            gansmith.serve("runs/x", port=port)
    assert str(caught.value) == f"--port {port}: address already in use; choose another port or --host"
    with pytest.raises(ConfigError, match="--port 70000: is out of range; expected 0 to 65,535"):
        gansmith.serve("runs/x", port=70_000)
    assert not started


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: not a run (no config.json)")


@pytest.mark.parametrize(("package", "call"), [("fastapi", create_app), ("prometheus_client", create_app)])
def test_a_missing_package_is_named_with_its_extra(
    package: str, call: Any, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtra, match=rf"^{package} is needed to serve images; install it with: .*gansmith\[serve\]"
    ):
        call(run)


def test_a_machine_on_which_the_place_matters_generates_one_by_one(
    class_generator: TrainedGenerator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gansmith.deploy.service.find_fixed_size", lambda *_: 1)
    service = Service(class_generator, ServiceSettings())
    assert service.batcher.batch_size == service.info()["limits"]["batch_size"] == 1
    service.batcher.close()
    with pytest.raises(QueueFull):
        service.batcher.submit(*class_generator.draw([1]))
