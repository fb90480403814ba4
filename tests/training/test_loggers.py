"""Loggers, with the real packages: what is logged can be read back, and no key is ever written."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gansmith import api
from gansmith.component import from_plain, member, override, to_plain
from gansmith.errors import ConfigError, MissingExtra, RunError
from gansmith.images.pixels import save_png
from gansmith.runs import RunFolder
from gansmith.schedules import Progress
from gansmith.training import loggers, stages, wandb_key
from gansmith.training.listeners import Listener, Training
from gansmith.training.loggers import (
    LOGGERS,
    Logger,
    TensorBoard,
    WeightsAndBiases,
)
from gansmith.training.logs import check_loggers, open_logs

KEY = "0123456789abcdef0123456789abcdef01234567"  # as long as a real one
RECORDS = [{"progress/nimg": 64, "loss/generator": 1.5}, {"progress/nimg": 128, "loss/generator": 0.25}]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run, in an environment where wandb finds neither a key nor a home of the user's."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return RunFolder.create(tmp_path / "run")


def after(nimg: int) -> Training:
    """A training that has seen so many images."""
    progress = Progress(nimg=nimg, step=1, seconds=1.0, epoch_size=10)
    return Training(state=SimpleNamespace(progress=progress), generator=mock.Mock(), run=mock.Mock(), before=progress)


def log_everything(logger: Logger, run: RunFolder) -> None:
    picture = save_png(np.full((8, 8, 3), 7, np.uint8), run.images / "x.png")
    log = logger.open(run, {"seed": 5})
    log.statistics(after(64), RECORDS[0])
    log.picture(after(64), picture)
    log.statistics(after(128), RECORDS[1])
    log.notice(after(128), "the discriminator has won")
    log.close()


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_names_the_command_if_its_package_is_missing(
    name: str, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(module: str) -> None:
        raise ImportError(f"No module named '{module}'")

    logger = member(Logger, name, "loggers")()
    monkeypatch.setattr(importlib, "import_module", nothing)
    for attempt in (lambda: logger.open(run, {}), lambda: check_loggers([logger])):
        with pytest.raises(MissingExtra) as caught:
            attempt()
        assert str(caught.value) == (
            f"{name} is needed by the logger '{name}'; install it with: pip install 'gansmith[{name}]'"
        )
    assert list(run.path.iterdir()) == []


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_survives_plain_data(name: str) -> None:
    logger = member(Logger, name, "loggers")()
    assert from_plain(Logger, to_plain(logger), "logger") == logger


def test_tensorboard_reads_back_what_was_logged_in_two_sessions(run: RunFolder) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log_everything(TensorBoard(), run)
    again = TensorBoard().open(run, {})
    again.statistics(after(192), {"progress/nimg": 192, "loss/generator": 2.0})
    again.close()
    events = accumulators.EventAccumulator(str(run.path / "tensorboard")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("loss/generator")]
    assert found == [(64, 1.5), (128, 0.25), (192, 2.0)]
    (picture,) = events.Images("samples")
    assert (picture.step, picture.width, picture.height) == (64, 8, 8)
    assert [event.step for event in events.Tensors("notice/text_summary")] == [128]


class RecordedInit:
    """wandb.init, remembering its arguments and never online."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wandb = pytest.importorskip("wandb")
        self.init, self.arguments = self.wandb.init, list[Mapping[str, Any]]()
        monkeypatch.setattr(self.wandb, "init", self)

    def __call__(self, **arguments: Any) -> Any:
        self.arguments.append(arguments)
        return self.init(**{**arguments, "mode": "offline"})

    def log(self, logger: Logger, run: RunFolder) -> None:
        """Log everything, and wait for wandb's own process, which goes on writing after the session's end."""
        log_everything(logger, run)
        self.wandb.teardown()


def test_wandb_stays_offline_and_inside_the_run_without_a_key(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    init = RecordedInit(monkeypatch)
    init.log(WeightsAndBiases(project="signs"), run)
    (arguments,) = init.arguments
    assert (arguments["mode"], arguments["project"], arguments["config"]) == ("offline", "signs", {"seed": 5})
    (written,) = (run.path / "wandb").glob(f"offline-run-*-{arguments['id']}/run-{arguments['id']}.wandb")
    data = written.read_bytes()
    assert b"loss/generator" in data and b"samples" in data and b"the discriminator has won" in data
    assert not (run.path.parent / "wandb").exists()


def test_wandb_goes_online_with_a_key_which_is_never_written(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    init = RecordedInit(monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    init.log(WeightsAndBiases(), run)
    assert [arguments["mode"] for arguments in init.arguments] == ["online"]
    assert KEY not in repr(init.arguments)
    files = [path for path in run.path.parent.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [path for path in files if KEY.encode() in path.read_bytes()]


def test_every_session_of_a_run_has_the_same_identity(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, arguments = pytest.importorskip("wandb"), []
    monkeypatch.setattr(wandb, "init", lambda **given: arguments.append(given) or mock.MagicMock())
    for folder in (run, run, RunFolder.create(run.path.with_name("other"))):
        WeightsAndBiases().open(folder, {})
    first, second, other = (given["id"] for given in arguments)
    assert first == second != other and all(given["resume"] == "allow" for given in arguments)


# --- before anything is made -------------------------------------------------------------------------------


@pytest.fixture
def server(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that answers everything with "not found", as W&B's does at its root."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *parts: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as answering:
        threading.Thread(target=answering.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{answering.server_address[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        yield address
        answering.shutdown()


def stand_in(monkeypatch: pytest.MonkeyPatch, login: Callable[[], bool] = lambda: True) -> mock.MagicMock:
    """A wandb that logs in as told and opens whatever is asked for."""
    fake = mock.MagicMock()
    fake.login = lambda verify: login()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def refused() -> bool:
    print("wandb: Loaded credentials", file=sys.stderr)
    raise RuntimeError(f"user of {KEY} is not\nlogged in")


def refuse_preparation(*arguments: Any, **options: Any) -> None:
    raise AssertionError("images are prepared before the logger is checked")


@pytest.mark.parametrize("how", ["refused", "unreachable", "silent", "no address", "no key"])
def test_what_keeps_wandb_from_logging_is_one_line_before_anything_is_made(
    how: str, run: RunFolder, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, refused)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if how == "silent":
        monkeypatch.setattr(wandb_key, "REACH_SECONDS", 0.2)
    monkeypatch.setattr(stages, "prepare", refuse_preparation)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        addresses = {"silent": f"http://127.0.0.1:{port}", "unreachable": "http://127.0.0.1:9", "no address": "W&B"}
        monkeypatch.setenv("WANDB_BASE_URL", addresses.get(how, server))
        if how == "no key":
            monkeypatch.delenv("WANDB_API_KEY")
            monkeypatch.setenv("WANDB_MODE", "online")
        path = run.path.with_name("new") / "run"
        with pytest.raises(ConfigError) as caught:
            api.train("digits", run=path, length="1 steps", overrides={"loggers": "wandb"})
    why = {"refused": "key is not accepted (user of ... is not logged in)", "no key": "wandb has no key"}
    assert why.get(how, f"wandb cannot reach {addresses.get(how)}") in str(caught.value)
    assert str(caught.value).startswith("config.loggers: wandb") and "\n" not in str(caught.value)
    assert str(caught.value).endswith("or log offline with WANDB_MODE=offline")
    assert KEY not in str(caught.value) and not path.parent.exists() and capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "disabled"}, "disabled"),
        ({"NETRC": "netrc"}, "online"),
    ],
)
def test_the_mode_is_that_of_the_environment_else_online_with_a_key(
    environment: Mapping[str, str], mode: str, run: RunFolder, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("requests")  # comes with wandb
    logins = list[str]()
    fake = stand_in(monkeypatch, lambda: logins.append("asked") or True)
    (run.path / "netrc").write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    monkeypatch.chdir(run.path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    notes = check_loggers([WeightsAndBiases()])
    WeightsAndBiases().open(run, {})
    assert fake.init.call_args.kwargs["mode"] == mode
    assert logins == (["asked"] if mode == "online" else [])
    no_key = "wandb has no key (WANDB_API_KEY, or wandb login): it logs offline, in the run's folder/wandb"
    assert notes == ([] if environment else [no_key])


def test_a_mode_that_wandb_has_not_is_refused_at_once(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(ConfigError, match="WANDB_MODE is 'of'; expected online, offline or disabled"):
        check_loggers([WeightsAndBiases()])


def test_a_key_set_later_logs_online_and_the_lack_of_one_offline(
    run: RunFolder, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch)
    assert check_loggers([WeightsAndBiases()], run) == [
        f"wandb has no key (WANDB_API_KEY, or wandb login): it logs offline, in {run.path}/wandb"
    ]
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert check_loggers([WeightsAndBiases()], run) == []
    (run.path / "wandb" / "offline-run-1-abc").mkdir(parents=True)
    assert check_loggers([WeightsAndBiases()], run) == [
        f"wandb logged offline before; upload that with: wandb sync {run.path}/wandb/offline-run-1-abc"
    ]


def test_tensorboard_is_refused_where_its_folder_cannot_be_written(run: RunFolder) -> None:
    pytest.importorskip("tensorboard")
    (run.path / "tensorboard").touch()
    with pytest.raises(RunError, match=r"the logger 'tensorboard' cannot write: .*tensorboard.*; choose another path"):
        check_loggers([TensorBoard()], run)
    assert check_loggers([TensorBoard()]) == []


# --- while training ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Breaking(Logger):
    """Opens, and fails at one of its calls."""

    at: str = "open"

    def open(self, run: RunFolder, config: Mapping[str, Any]) -> Listener:
        (run.path / "its own").mkdir(exist_ok=True)
        if self.at == "open":
            raise KeyError("nothing\nthere")
        return BreakingWriter(self.at)


class BreakingWriter(Listener):
    """Fails at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at = at

    def _call(self, name: str) -> None:
        if name == self.at:
            raise OSError(28, "No space left on device")

    def statistics(self, training: Training, record: Mapping[str, float]) -> None:
        self._call("statistics")

    def picture(self, training: Training, path: Path) -> None:
        self._call("picture")

    def notice(self, training: Training, sentence: str) -> None:
        self._call("notice")

    def close(self) -> None:
        self._call("close")


def test_a_log_that_fails_is_told_once_and_left_alone(run: RunFolder) -> None:
    told, made = list[str](), list[Path]()
    with open_logs([Breaking(at="statistics"), Breaking(at="close")], run, {}, told.append, made) as (one, two):
        for log in (one, two):
            log.picture(after(0), run.path / "x.png")
        assert told == []
        for _ in range(3):
            one.statistics(after(0), {})
        two.notice(after(0), "")
        assert len(told) == 1
    assert len(told) == 2 and made == [run.path / "its own"]
    name = f"{__name__}:Breaking"
    assert told[0] == (
        f"the logger '{name}' failed and logs no more, but training goes on: [Errno 28] No space left on device"
    )


@pytest.mark.parametrize("at", ["statistics", "picture", "close"])
def test_training_goes_on_without_a_log_that_fails(at: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    changes = {"batch_size": 4, "model.width": 4, "tracking": None, "guard": None, "preset": "custom"}
    config = api.configure(tmp_path / "images.npz", preset="dcgan-mnist", overrides={**changes, "length": "2 steps"})
    config = override(config, {"loggers": [Breaking(at=at)]})
    trained = api.train(config, run=tmp_path / "run")
    assert trained.status()["state"] == "finished"
    notes = json.loads(trained.folder.environment.read_text())["notes"]
    assert [note for note in notes if "training goes on" in note] == [notes[-1]]
    assert capsys.readouterr().out.count("training goes on") == 1


def test_event_files_on_a_full_disk_are_told_of_once_and_print_nothing_else(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gfile = pytest.importorskip("tensorboard.compat.tensorflow_stub.io.gfile")
    told, hook = list[str](), threading.excepthook

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with open_logs([TensorBoard()], run, {}, told.append, []) as (log,):
        monkeypatch.setattr(gfile.GFile, "write", full)
        for nimg in range(200):  # the queue's length; a thread writes
            log.statistics(after(nimg), {"progress/nimg": nimg, "loss/generator": 1.0})
    assert len(told) == 1 and "No space left on device" in told[0]
    assert capsys.readouterr().err == "" and threading.excepthook is hook


def test_an_upload_that_never_ends_is_left_alone(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, never = stand_in(monkeypatch), threading.Event()
    fake.init.return_value = SimpleNamespace(finish=never.wait, define_metric=lambda *_, **__: None)
    monkeypatch.setattr(loggers, "FINISH_SECONDS", 0.05)
    told = list[str]()
    for name in ("run-1-x", "run-2-x", "run_id"):
        (run.path / "wandb" / name).mkdir(parents=True)
    monkeypatch.setattr(loggers, "_identifier", lambda run: "x")
    with open_logs([WeightsAndBiases()], run, {}, told.append, []):
        pass
    never.set()
    assert told == [
        "the logger 'wandb' failed and logs no more, but training goes on: no answer within 0.05 s; "
        f"complete the upload with: wandb sync {run.path}/wandb/run-2-x"
    ]
