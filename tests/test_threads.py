"""Threads that share the cores: they sleep while other programs need a core, and spin again when none does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gansmith import evaluation, threads
from gansmith.evaluation import EvaluationOptions
from gansmith.threads import share_cores
from gansmith.training import session
from gansmith.training.presets import configure

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Two threads compute 200 operations with a pause between; prints how often a thread slept, alone and with an idle team.
SCRIPT = """
import json, resource, time, torch
from gansmith.threads import hold_teams

images = torch.zeros(2**17)

def count_sleeps():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    for _ in range(200):
        images.add_(1)
        until = time.perf_counter() + 3e-4
        while time.perf_counter() < until:
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before

count_sleeps()
alone = count_sleeps()
with hold_teams(1):
    held = count_sleeps()
print(json.dumps({"alone": alone, "held": held, "after": count_sleeps(), "sum": float(images.sum())}))
"""


@LINUX
@pytest.mark.skipif(len(os.sched_getaffinity(0)) != 2, reason="counts the teams of two cores")
def test_with_an_idle_team_waiting_threads_sleep_at_once() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in threads.OWN_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**environment, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["held"] >= 200  # after each operation
    assert max(found["alone"], found["after"]) < found["held"] / 2
    assert found["sum"] == 800 * 2**17


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of idle teams that the watch asked for; 0 where it let them go."""
    holding: list[int] = []

    @contextmanager
    def hold(num: int) -> Iterator[None]:
        holding.append(num)
        yield
        holding.append(0)

    monkeypatch.setattr(threads, "hold_teams", hold)
    return holding


def watch(monkeypatch: pytest.MonkeyPatch, *shares: float) -> None:
    monkeypatch.setattr(threads, "_shares", lambda ended: iter(shares))
    threads._watch(1, threading.Event())


def test_teams_are_held_while_cores_are_scarce(held: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    watch(monkeypatch, 0.02, 0.29, 0.01)
    assert held == []
    watch(monkeypatch, 0.0, 0.31, 0.9, *[0.05] * (threads.CALM - 1), 0.2, *[0.05] * (threads.CALM - 1))
    assert held == [1, 0]  # until the end
    held.clear()
    watch(monkeypatch, 0.31, *[0.05] * threads.CALM, 0.31)
    assert held == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("num_threads", "cores", "teams"), [(1, 8, 0), (2, 2, 1), (8, 8, 1), (4, 8, 2), (3, 9, 4), (2, 8, 0)]
)
def test_teams_make_more_threads_than_cores(
    num_threads: int, cores: int, teams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert threads._num_teams(num_threads) == teams
    if teams:
        assert num_threads + teams * (num_threads - 1) > cores >= num_threads + (teams - 1) * (num_threads - 1)


def is_watched() -> bool:
    return any(thread.name == "share-cores" for thread in threading.enumerate())


@LINUX
@pytest.mark.parametrize("setting", [None, *threads.OWN_SETTINGS])
def test_the_users_own_settings_are_kept(setting: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_num_teams", lambda threads: 1)
    for name in threads.OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    if setting:
        monkeypatch.setenv(setting, "100")
    with share_cores():
        assert is_watched() == (setting is None)
    assert not is_watched()


@LINUX
def test_training_and_evaluation_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []
    monkeypatch.setattr(threads, "_num_teams", lambda threads: 1)
    for name in threads.OWN_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "_train", lambda *args, **words: watched.append(is_watched()))
    monkeypatch.setattr(evaluation, "evaluate_files", lambda *args: watched.append(is_watched()))
    session.begin(configure("digits", overrides={"device": "cpu"}), tmp_path / "run")
    evaluation.evaluate_path(tmp_path / "images", EvaluationOptions())
    assert watched == [True, True]


def test_one_thread_needs_no_watch() -> None:
    assert torch.get_num_threads() == 1
    with share_cores():
        assert not is_watched()


def test_without_the_systems_figures_nothing_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_num_teams", lambda threads: 1)
    monkeypatch.setattr(threads, "_TASKS", tmp_path)
    with share_cores():
        assert not is_watched()


def test_waiting_for_a_core_is_summed_over_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_TASKS", tmp_path)
    for name, line in {"1": "7 1500000000 3", "2": "9 500000000 1", "3": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "schedstat").write_text(line)
    assert threads._waited() == 2.0
    monkeypatch.setattr(threads, "INTERVAL", 1e-4)
    assert next(threads._shares(threading.Event())) == 0
