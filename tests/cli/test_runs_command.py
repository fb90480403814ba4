"""``gansmith runs``: one row a run, whatever state its files are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gansmith.cli import main
from gansmith.runs import RunFolder


def write_run(folder: Path, *, config: Any = None, status: Any = None, best: Any = None) -> None:
    (folder / "best").mkdir(parents=True)
    files = {"config.json": config, "status.json": status, "best/state.json": best}
    for name, plain in files.items():
        if plain is not None:
            (folder / name).write_text(plain if isinstance(plain, str) else json.dumps(plain))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    config = {"preset": "auto", "length": "10 min", "data": {"name": "folder", "path": "/pictures/my [b] dogs"}}
    status = {"state": "finished", "nimg": 12_000, "step": 9}
    best = {"figure": "fid", "value": 0.4321, "nimg": 9_000}
    write_run(tmp_path / "b" / "deep" / "second", config=config, status=status, best=best)
    write_run(tmp_path / "a-first", config={"preset": "dcgan-64", "length": "3 steps", "data": {"name": "digits"}})
    write_run(tmp_path / "c-damaged", config="{", status="[]", best="null")
    write_run(tmp_path / "b" / "deep" / "second" / "training_checkpoints" / "000001", config=config)
    return tmp_path


def test_each_run_is_summarized_once_in_order(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs), "--json"]) == 0
    first, second, damaged = json.loads(capsys.readouterr().out)
    assert (first["run"], first["state"], first["data"]) == (str(runs / "a-first"), "never begun", "digits")
    assert (first["metric"], first["value"], first["kimg"]) == (None, None, 0)
    assert second == {
        "run": str(runs / "b/deep/second"), "state": "finished", "data": "/pictures/my [b] dogs", "preset": "auto",
        "length": "10 min", "kimg": 12.0, "metric": "fid", "value": 0.4321, "init": None,
    }  # fmt: skip
    assert damaged["state"] == "unreadable"


def test_a_killed_run_is_told_from_one_that_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("alive", "killed"):
        write_run(tmp_path / name, config={"preset": "auto"}, status={"state": "running", "nimg": 1000})
    with RunFolder(tmp_path / "alive").claim():
        assert main(["runs", str(tmp_path), "--json"]) == 0
    states = [run["state"] for run in json.loads(capsys.readouterr().out)]
    assert states == ["running", "interrupted"]


def test_the_table_shows_names_as_they_are(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "state", "data", "preset", "length", "kimg", "best"]
    (second,) = [line for line in lines if "second" in line]
    assert "finished" in second and "my [b] dogs" in second and "12" in second and "fid 0.4321" in second


def test_a_folder_without_runs_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no runs below" in capsys.readouterr().out
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
