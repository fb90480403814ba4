"""A training as the page shows it: from a folder that grows, without touching it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from gansmith.deploy.app.controls import clean_text
from gansmith.deploy.app.live import read_live, take_fingerprint
from gansmith.deploy.app.run_views import LiveReader
from gansmith.deploy.app.shelf import Shelf
from gansmith.plain_json import append_line, write_json
from gansmith.run_list import summarize_run
from gansmith.runs import RunFolder

GONE = 2**22 + 1  # more than the largest number of a process


@pytest.fixture
def growing(run: Path, tmp_path: Path) -> RunFolder:
    """A run that has just begun: no statistics, no sheet, no checkpoint."""
    folder = RunFolder(tmp_path / "young")
    folder.path.mkdir()
    for name in ("config.json", "data.json", "environment.json"):
        shutil.copyfile(run / name, folder.path / name)
    write_json(folder.status, {"state": "running", "pid": os.getpid(), "nimg": 0, "rollbacks": 0})
    return folder


def grow(folder: RunFolder, run: Path, num: int) -> None:
    """Append what training would write: statistics, a measurement, a sheet, an event."""
    for line in (run / "stats.jsonl").read_text("utf-8").splitlines()[len(folder.read_stats()) :][:num]:
        with folder.stats.open("a") as file:
            file.write(line + "\n")
    folder.images.mkdir(exist_ok=True)
    shutil.copyfile(run / "images" / "fakes_000120000.png", folder.images / f"fakes_{num:09}.png")


def test_a_growing_folder_is_shown_step_by_step(growing: RunFolder, run: Path) -> None:
    reader = LiveReader(Shelf([str(growing.path)]))
    first, age = reader.read("young", "")
    assert first is not None and 'data-state="running"' in first and "no images yet" in first
    assert "Training has saved no samples yet." in first and "No statistics were written yet." in first
    assert 'aria-valuenow="0"' in first
    assert reader.read("young", age) == (None, age), "nothing new, nothing sent"
    grow(growing, run, 10)
    second, newer = reader.read("young", age)
    assert second is not None and newer != age
    (last,) = growing.read_stats()[-1:]
    share = last["progress/nimg"] / 120_000
    assert f'aria-valuenow="{round(100 * share)}"' in second and "left" in second
    assert "<svg" in second and "Losses" in second and 'class="sheet" src="data:image/png;base64,' in second
    append_line(growing.events, {"nimg": 20_000, "what": "warning"})
    write_json(growing.status, {"state": "finished", "pid": os.getpid(), "nimg": 120_000, "rollbacks": 0})
    third, newest = reader.read("young", newer)
    assert third is not None and newest != newer and 'data-state="finished"' in third
    assert reader.read("young", "") == (third, newest), "read once for all visitors"


def test_looking_changes_nothing_and_locks_nothing(growing: RunFolder, run: Path) -> None:
    grow(growing, run, 5)
    before = {path: path.stat().st_mtime_ns for path in growing.path.rglob("*")}
    with growing.claim():  # as training does
        read_live(growing)
    (growing.path / ".lock").unlink(missing_ok=True)
    take_fingerprint(growing), read_live(growing), summarize_run(growing.path, look_only=True)
    assert {path: path.stat().st_mtime_ns for path in growing.path.rglob("*")} == before, "not even a lock file"


def test_a_killed_training_is_told_from_a_running_one(growing: RunFolder) -> None:
    assert summarize_run(growing.path, look_only=True).state == "running"
    write_json(growing.status, {"state": "running", "pid": GONE, "nimg": 0, "rollbacks": 0})
    assert summarize_run(growing.path, look_only=True).state == "running", "perhaps on another machine"
    os.utime(growing.status, (1, 1))
    assert summarize_run(growing.path, look_only=True).state == "interrupted"
    assert read_live(growing).state == "interrupted"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("status.json", "{"),
        ("status.json", '{"state": 5, "nimg": "many", "pid": "x"}'),
        ("stats.jsonl", '{"progress/nimg": 1e400}\n[]\n'),
        ("stats.jsonl", '{"progress/nimg": 5, "progress/seconds": -1, "progress/step": 1e300}\n'),
        (
            "config.json",
            '{"length": "5 parsecs", "samples": {"name": "grid", "filename": "{nimg}' + "{a}" * 9 + '.png"}}',
        ),
        ("config.json", "[1]"),
        ("data.json", "null"),
        ("metrics.jsonl", '{"kind": "tracking"}\n'),
        ("events.jsonl", '{"nimg": "<script>"}\n'),
    ],
)
def test_a_damaged_file_costs_its_part_only(growing: RunFolder, run: Path, name: str, content: str) -> None:
    grow(growing, run, 5)
    (growing.path / name).write_text(content)
    shown, _ = LiveReader(Shelf([str(growing.path)])).read("young", "")
    assert shown is not None and 'class="live"' in shown and "<script>" not in shown


def test_a_failure_is_told_without_its_path(growing: RunFolder, tmp_path: Path) -> None:
    reason = f"{growing.path}/stats.jsonl: no space left on device; free space on that disk"
    write_json(growing.status, {"state": "failed", "pid": 1, "nimg": 0, "reason": f"{reason} <b>/root/secret/x</b>"})
    shelf = Shelf([str(growing.path)])
    live = read_live(growing, lambda text: clean_text(shelf, text))
    assert live.headline.startswith("after no images yet: young/stats.jsonl: no space left on device")
    assert str(tmp_path) not in live.headline and "/root/secret" not in live.headline
    shown, _ = LiveReader(shelf).read("young", "")
    assert shown is not None and "&lt;b&gt;" in shown


def test_the_state_in_a_list_needs_no_lock_either(growing: RunFolder) -> None:
    ((name, summary),) = Shelf([str(growing.path.parent)]).summaries()
    assert (name, summary.state, json.loads(growing.config.read_text())["preset"]) == (
        "young",
        "running",
        summary.preset,
    )
    assert not (growing.path / ".lock").exists()
