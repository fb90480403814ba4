"""Run folders: whatever is written is whole, whatever is left over goes, and one training at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gansmith.errors import RunError
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, read_lines
from gansmith.runs import RunFolder, write_json
from gansmith.training.guard.journal import Event


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run")


def message(error: pytest.ExceptionInfo[RunError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# --- create and open ---------------------------------------------------------------------------------------


def test_a_new_run_may_take_a_new_or_an_empty_folder(tmp_path: Path) -> None:
    assert RunFolder.create(tmp_path / "a" / "b").path.is_dir()
    (tmp_path / "empty").mkdir()
    RunFolder.create(tmp_path / "empty")


def test_a_new_run_never_takes_what_is_not_empty(tmp_path: Path, run: RunFolder) -> None:
    (run.path / "notes.txt").touch()
    with pytest.raises(RunError) as caught:
        RunFolder.create(run.path)
    assert message(caught) == f"{run.path}: is not empty; choose another folder with --run"
    write_json(run.config, {})
    with pytest.raises(RunError) as caught:
        RunFolder.create(run.path)
    assert message(caught) == f"{run.path}: contains a run already; continue it with: gansmith resume {run.path}"
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="choose another folder"):
        RunFolder.create(tmp_path / "file")


def test_a_kill_before_the_configuration_was_written_is_no_dead_end(run: RunFolder) -> None:
    for name in (".lock", "data.json", ".data.1a.unfinished.json", ".config.2b.unfinished.json"):
        (run.path / name).touch()
    assert RunFolder.create(run.path) == run
    with pytest.raises(KeyboardInterrupt), RunFolder.begin(run.path):
        raise KeyboardInterrupt
    assert not list(run.path.parent.rglob("*.json"))
    (run.path / ".notes.1a.unfinished.json").parent.mkdir(exist_ok=True)
    (run.path / ".notes.1a.unfinished.json").touch()
    with pytest.raises(RunError, match="is not empty"):
        RunFolder.create(run.path)


def test_opening_what_is_no_run_says_where_one_might_be(tmp_path: Path, run: RunFolder) -> None:
    for path in (tmp_path / "nowhere", run.path):
        with pytest.raises(RunError) as caught:
            RunFolder.open(path)
        assert message(caught) == (
            f"{path}: not a run (no config.json); expected a folder that gansmith train has written"
        )
    write_json(run.config, {})
    assert RunFolder.open(run.path) == run
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path)
    assert message(caught) == f"{tmp_path}: not a run (no config.json); did you mean {run.path}?"


# --- checkpoints -------------------------------------------------------------------------------------------


def writing(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_text(text)
        (folder / "state.json").write_text("{}")

    return write


def broken(folder: Path) -> None:
    (folder / "weights").write_text("half of")
    raise OSError("disk full")


def contents(run: RunFolder) -> dict[str, str]:
    return {path.name: (path / "weights").read_text() for path in run.checkpoints()}


def test_the_last_checkpoints_are_kept_in_the_order_of_their_steps(run: RunFolder) -> None:
    for step in (5, 50, 999_999, 1_000_000):
        assert run.add_checkpoint(step, writing(str(step)), keep=2).name == f"{step:06d}"
    assert contents(run) == {"999999": "999999", "1000000": "1000000"}
    assert list(contents(run)) == ["999999", "1000000"] and run.latest_checkpoint().name == "1000000"
    assert len(list(run.checkpoint_folder.iterdir())) == 2


def test_a_write_that_fails_leaves_no_checkpoint_and_the_old_ones(run: RunFolder) -> None:
    run.add_checkpoint(1, writing("one"), keep=1)
    with pytest.raises(OSError, match="disk full"):
        run.add_checkpoint(2, broken, keep=1)
    assert contents(run) == {"000001": "one"}
    with pytest.raises(OSError, match="disk full"):
        run.add_checkpoint(1, broken, keep=1)
    assert contents(run) == {"000001": "one"}


def test_leftovers_go_with_the_next_checkpoint(run: RunFolder) -> None:
    with pytest.raises(OSError, match="disk full"):
        run.add_checkpoint(1, broken, keep=3)
    assert not list(run.checkpoint_folder.iterdir())  # half of a checkpoint would keep the disk full
    (run.checkpoint_folder / ".unfinished-of-one-that-was-killed").mkdir()
    assert run.checkpoints() == []
    run.add_checkpoint(2, writing("two"), keep=3)
    assert [path.name for path in run.checkpoint_folder.iterdir()] == ["000002"]


def test_a_spared_checkpoint_outlives_the_others_until_it_is_not(run: RunFolder) -> None:
    first = run.add_checkpoint(1, writing("1"), keep=2)
    for step in (2, 3, 4):
        run.add_checkpoint(step, writing(str(step)), keep=2, spared=first)
    assert list(contents(run)) == ["000001", "000003", "000004"]
    run.drop_checkpoints_after(3)
    assert list(contents(run)) == ["000001", "000003"]
    run.add_checkpoint(5, writing("5"), keep=2)
    assert list(contents(run)) == ["000003", "000005"]


def test_the_same_step_again_replaces_what_it_wrote(run: RunFolder) -> None:
    run.add_checkpoint(3, writing("old"), keep=2)
    run.add_checkpoint(3, writing("new"), keep=2)
    assert contents(run) == {"000003": "new"}


def test_what_makes_a_checkpoint_whole_comes_last(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, flushed, replace = list[str](), list[int](), Path.replace

    def note(self: Path, target: Path) -> Path:
        moved.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    monkeypatch.setattr(os, "fsync", flushed.append)
    for text in ("old", "new"):
        run.add_checkpoint(3, writing(text), keep=2)
    assert moved == ["weights", "state.json"] and len(flushed) == 4  # both files, both times, before they count


def test_only_whole_checkpoints_count(run: RunFolder) -> None:
    run.add_checkpoint(1, writing("one"), keep=2)
    for name in ("000009", ".unfinished-x", "notes"):
        (run.checkpoint_folder / name).mkdir()
    (run.checkpoint_folder / ".unfinished-x" / "state.json").touch()
    assert run.latest_checkpoint().name == "000001"


def test_no_checkpoint_is_said(run: RunFolder) -> None:
    with pytest.raises(RunError) as caught:
        run.latest_checkpoint()
    assert message(caught) == (
        f"{run.path}: no checkpoint yet; train longer, or save more often with --checkpoint_every"
    )


# --- statistics and status ---------------------------------------------------------------------------------


def record(nimg: int) -> dict[str, float]:
    return {"progress/nimg": nimg, "loss/generator": nimg / 3}


def test_statistics_are_read_back_exactly(run: RunFolder) -> None:
    assert run.read_stats() == []
    for nimg in (64, 128):
        run.append_stats(record(nimg))
    assert run.read_stats() == [record(64), record(128)]
    assert len(run.stats.read_text(encoding="utf-8").splitlines()) == 2


def test_a_last_line_that_was_cut_off_is_left_out(run: RunFolder) -> None:
    run.append_stats(record(64))
    with run.stats.open("a", encoding="utf-8") as file:
        file.write('{"progress/nimg": 12')
    assert run.read_stats() == [record(64)]
    run.forget_after(64, 0)
    run.append_stats(record(128))
    assert run.read_stats() == [record(64), record(128)]


def test_a_half_line_anywhere_is_skipped_with_a_note(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    run.stats.write_text('{"progress/nimg": 1}\n{oops\n{"progress/nimg": 3}\n', encoding="utf-8")
    assert [line["progress/nimg"] for line in run.read_stats()] == [1, 3]
    assert caplog.messages == [f"note: {run.stats}: line 2 is incomplete or damaged, and is skipped"]


@pytest.mark.parametrize("cut", [1, 2, 10])
def test_a_half_line_is_mended_before_the_next_is_appended(cut: int, run: RunFolder) -> None:
    for path, append, read in (
        (run.stats, run.append_stats, run.read_stats),
        (run.metrics, run.append_measurement, run.read_measurements),
        (run.events, run.append_event, run.read_events),
    ):
        append(record(64))
        append(record(128))
        path.write_bytes(path.read_bytes()[:-cut])  # 1: whole but for its end
        append(record(192))
        assert read() == [record(64), *([record(128)] if cut == 1 else []), record(192)]
        assert path.read_text(encoding="utf-8").count("\n") == len(read())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "it cannot be used (it is not an object); remove the line"),
        ("{}", "it has no field 'progress/nimg'; remove the line"),
        ('{"progress/nimg": "5"}', "it cannot be used (progress/nimg is not a number); remove the line"),
        ('{"progress/nimg": 5, "loss/g": []}', "it cannot be used (loss/g is not a number); remove the line"),
    ],
)
def test_a_line_that_holds_no_statistics_is_named(line: str, reason: str, run: RunFolder) -> None:
    run.stats.write_text(f'{{"progress/nimg": 1}}\n{line}\n', encoding="utf-8")
    for read in (run.read_stats, lambda: run.forget_after(1, 0)):
        with pytest.raises(RunError) as caught:
            read()
        assert message(caught) == f"{run.stats}: line 2: {reason}"


@pytest.mark.parametrize("line", ['{"kind": "tracking"}', '{"what": 3}', "7", "null"])
def test_a_measurement_or_an_event_of_another_form_is_named(line: str, run: RunFolder) -> None:
    for path, make in ((run.metrics, Measurement.from_plain), (run.events, Event.from_plain)):
        path.write_text(f"\n{line}\n", encoding="utf-8")
        with pytest.raises(RunError) as caught:
            list(read_lines(path, make))
        assert message(caught).startswith(f"{path}: line 2: it cannot be used (")


def test_lines_that_will_be_written_again_are_forgotten(run: RunFolder) -> None:
    for nimg in (64, 128, 192):
        run.append_stats(record(nimg))
    run.forget_after(128, 0)
    assert run.read_stats() == [record(64), record(128)]


def judged(kind: str, nimg: int) -> dict[str, Any]:
    return {"kind": kind, "generated": {"nimg": nimg}}


def test_measurements_on_the_way_are_forgotten_with_the_statistics_but_evaluations_stay(run: RunFolder) -> None:
    assert run.read_measurements() == []
    lines = [judged("tracking", 64), judged("tracking", 128), judged("evaluation", 128)]
    for line in lines:
        run.append_measurement(line)
    run.forget_after(64, 0)
    assert run.read_measurements() == [lines[0], lines[2]]


def test_events_are_forgotten_by_their_number(run: RunFolder) -> None:
    events = [{"what": what, "nimg": nimg} for what, nimg in (("began", 128), ("rollback", 128), ("began", 96))]
    for event in events:
        run.append_event(event)
    run.forget_after(64, 2)
    assert run.read_events() == events[:2]


# --- the best generator ------------------------------------------------------------------------------------


def generator_of(number: int) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "state.json", {"nimg": number})


def kept(run: RunFolder) -> int:
    assert run.best is not None
    number: int = json.loads((run.best / "state.json").read_text())["nimg"]
    return number


def test_the_best_generator_is_replaced_by_a_better_one(run: RunFolder) -> None:
    assert run.best is None
    for number in (64, 128):
        run.keep_best(generator_of(number))
        assert kept(run) == number
    assert [path.name for path in run.path.iterdir() if path.is_dir()] == ["best"]


def test_a_kill_while_the_best_is_replaced_leaves_one(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.keep_best(generator_of(64))
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target.name == "best":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        run.keep_best(generator_of(128))
    assert kept(run) == 64
    run.keep_best(generator_of(192))
    assert kept(run) == 192
    assert [path.name for path in run.path.iterdir() if path.is_dir()] == ["best"]


def test_the_status_says_how_the_run_is(run: RunFolder) -> None:
    run.set_status("stopped", step=3)
    status = json.loads(run.status.read_text(encoding="utf-8"))
    assert (status["state"], status["step"], status["rollbacks"]) == ("stopped", 3, 0)
    run.append_event({"what": "rollback"})
    run.set_status("running")
    assert json.loads(run.status.read_text(encoding="utf-8"))["rollbacks"] == 1


def test_json_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write_text = tmp_path / "x.json", Path.write_text

    def full_disk(self: Path, text: str, **options: str) -> None:
        write_text(self, text[:3], **options)
        raise OSError("disk full")

    write_json(path, {"a": 1})
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]
    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


# --- one training at a time --------------------------------------------------------------------------------

CLAIM = """
import sys
from pathlib import Path
from gansmith.runs import RunFolder
with RunFolder(Path(sys.argv[1])).claim():
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_kept_out_until_the_first_has_died(run: RunFolder) -> None:
    command = [sys.executable, "-c", CLAIM, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "mine\n"
        with pytest.raises(RunError) as caught, run.claim():
            pass
        assert message(caught) == f"{run.path}: another process is training here; wait for it or stop it first"
        other.kill()
    with run.claim():
        pass


def test_a_claim_ends_with_its_block_however_it_ends(run: RunFolder) -> None:
    with pytest.raises(KeyboardInterrupt), run.claim():
        raise KeyboardInterrupt
    with run.claim(), pytest.raises(RunError), run.claim():
        pass


def test_a_best_generator_without_its_state_is_not_taken_for_none(run: RunFolder) -> None:
    run.keep_best(generator_of(64))
    (run.path / "best" / "state.json").unlink()
    assert run.best == run.path / "best"  # so that who opens it says that it is damaged
