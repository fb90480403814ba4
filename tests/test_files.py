"""Files are written whole, and nothing in a run folder leads out of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gansmith.api import Run, open_run, train
from gansmith.cli import main
from gansmith.errors import RunError
from gansmith.files import refuse_links, remove_leftovers, replace_file
from gansmith.images.pixels import save_png
from gansmith.runs import RunFolder, write_json


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = {"batch_size": 4, "model.width": 2, "tracking": None, "preparation.size": [8, 8], "samples.rows": 2}
    path = tmp_path_factory.mktemp("linked") / "run"
    return train("digits", preset="dcgan-r1", length="2 steps", run=path, overrides=small)


def test_a_new_file_takes_the_place_of_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "x.json").symlink_to(outside)
    write_json(tmp_path / "x.json", {})
    assert outside.read_text() == "mine" and not (tmp_path / "x.json").is_symlink()


def test_names_of_unfinished_files_cannot_be_foreseen(tmp_path: Path) -> None:
    for name in (".x.png.unfinished", ".x.json.unfinished"):
        (tmp_path / name).symlink_to(tmp_path / "outside")
    save_png(np.zeros((2, 2, 1), np.uint8), tmp_path / "x.png")
    write_json(tmp_path / "x.json", {})
    assert not (tmp_path / "outside").exists()
    names = set()
    for _ in range(2):
        with replace_file(tmp_path / "y") as unfinished:
            names.add(unfinished.name)
    assert len(names) == 2


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    with pytest.raises(ZeroDivisionError), replace_file(tmp_path / "x") as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "old"


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["stats.jsonl", "metrics.jsonl", "events.jsonl"])
def test_lines_are_not_appended_through_a_link(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("mine\n")
    (tmp_path / name).symlink_to(tmp_path / "outside")
    folder = RunFolder(tmp_path)
    append = {"stats": folder.append_stats, "metrics": folder.append_measurement, "events": folder.append_event}
    with pytest.raises(RunError, match=f"{name}: found a link"):
        append[name.split(".")[0]]({"progress/nimg": 0})
    assert (tmp_path / "outside").read_text() == "mine\n"


@pytest.mark.parametrize(
    "name",
    [
        "stats.jsonl", "metrics.jsonl", "losses.png", "report.html", ".lock", "nearest.png", "images/x.png", "wandb",
        "training_checkpoints/000002/x", "best", "new/deeper/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["resume", "sample", "evaluate", "report", "interpolate"])
def test_every_verb_refuses_a_run_with_a_link_in_it(
    verb: str, name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link = run.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    kept = link.rename(link.with_name("kept")) if link.exists() else None
    link.symlink_to(tmp_path / "outside")
    try:
        assert main([verb, str(run.path)]) == 2
        assert f"{name}: a link or special file" in capsys.readouterr().err
        assert not (tmp_path / "outside").exists()
    finally:
        link.unlink()
        if kept:
            kept.rename(link)


def test_what_weights_and_biases_keeps_may_have_links(run: Run) -> None:
    (run.path / "wandb").mkdir()
    (run.path / "wandb" / "latest-run").symlink_to("run-1")
    open_run(run.path)
    with pytest.raises(RunError, match=r"latest-run: a link or special file"):
        refuse_links(run.path)


def test_what_a_kill_has_left_is_removed_an_hour_later(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".x.1a.unfinished.json", ".x.2b.unfinished.json", "x.json"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path, tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new.name, other.name])
