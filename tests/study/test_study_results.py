"""From a study's folder, written by hand, to results, a table and a file for spreadsheets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from gansmith.component import to_plain
from gansmith.errors import RunError
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.study.collect import collect
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import Study
from gansmith.study.record import Record, prepare_record
from gansmith.study.results import StudyResults, read_results, write_results
from gansmith.study.table import show_results, write_csv

STUDY = Study(
    title="By hand",
    question="Which is better?",
    note="Numbers made up.",
    seeds=3,
    length="5 kimg",  # type: ignore[arg-type]
    variants=(
        {"title": "A", "overrides": {"model": {"width": 4}}},  # type: ignore[arg-type]
        {"title": "B"},  # type: ignore[arg-type]
    ),
    data=({"title": "Digits", "source": "digits"},),  # type: ignore[arg-type]
    evaluation={"num": 10},  # type: ignore[arg-type]
)


@pytest.fixture
def written(tmp_path: Path, measurement: Callable[..., Measurement]) -> tuple[Record, StudyFolder]:
    """A study of which one run diverged and one has not begun."""
    folder = StudyFolder(tmp_path)
    record = prepare_record(STUDY, ("3 of 5 seeds",), folder)
    for number, cell in enumerate(record.cells[:5]):
        run = RunFolder(folder.run(cell.title))
        run.path.mkdir(parents=True)
        start = 80.0 if cell.variant == "A" else 40.0
        diverged = number == 4
        for step in range(1, 3 if diverged else 6):
            run.append_measurement(measurement(step * 1000, {"fid": start / step + cell.seed}).to_plain())
            run.append_stats({"progress/nimg": step * 1000, "loss/generator": 1.0, "gradient/generator": 2.0 + step})
        if not diverged:
            run.append_measurement(measurement(5000, {"fid": start / 5}, "last").to_plain())
            run.append_measurement(measurement(5000, {"fid": 1.0}, "last", num=99).to_plain())  # somebody's own
        run.environment.write_text(json.dumps({"threads": 1}), encoding="utf-8")
        record = record.with_outcome(cell.title, "diverged" if diverged else "finished", "nan" if diverged else "")
    return record, folder


@pytest.fixture
def results(written: tuple[Record, StudyFolder]) -> StudyResults:
    return collect(*written)


def test_results_say_what_was_studied(results: StudyResults) -> None:
    assert (results.title, results.shortened, results.seeds) == ("By hand", ("3 of 5 seeds",), (0, 1, 2))
    assert results.variants[0].changes == ("model.width = 4",)
    (setting,) = results.settings
    assert (setting.length, setting.tracked, setting.tracked_title) == ("5 kimg", "fid", "FID")
    assert [run.state for run in setting.runs] == ["finished"] * 4 + ["diverged", "unfinished"]
    assert setting.runs[0].path == "runs/digits-a-seed0"
    assert setting.runs[0].curve[:2] == ((1000, 10.0, 80.0), (2000, 20.0, 40.0))


def test_results_measure_and_compare_what_has_ended(results: StudyResults) -> None:
    (setting,) = results.settings
    assert [run.value("tracked/best") for run in setting.runs] == [16, 8, 17, 9, 42, None]
    assert setting.runs[0].value("last/fid") == setting.runs[0].value("best/fid") == 16
    assert setting.runs[4].value("diverged") == 1
    assert setting.thresholds[-1] == 17  # what the worst variant's median run reaches
    headlines = [measure.key for measure in setting.measures if measure.headline]
    assert headlines[:2] == ["best/fid", "last/fid"]  # of more images than were tracked
    (best,) = [comparison for comparison in setting.comparisons if comparison.measure == "tracked/best"]
    assert (best.num, best.difference and best.difference.value) == (2, -8)
    assert [conclusion.group for conclusion in setting.conclusions] == ["quality", "convergence", "stability"]
    assert any(
        "cannot give less than p = 0.25" in note or "cannot give less than p = 0.5" in note for note in setting.notes
    )


def test_seconds_of_other_machines_are_left_out_and_that_is_said(written: tuple[Record, StudyFolder]) -> None:
    record, folder = written
    other = RunFolder(folder.run(record.cells[0].title))
    other.environment.write_text(json.dumps({"threads": 8}), encoding="utf-8")
    (setting,) = collect(record, folder).settings
    assert any("seconds are not compared" in note for note in setting.notes)
    assert not [entry for entry in setting.summaries if entry.measure.startswith("seconds/")]


def test_figures_seen_through_another_network_are_found(
    written: tuple[Record, StudyFolder], measurement: Callable[..., Measurement]
) -> None:
    record, folder = written
    odd = RunFolder(folder.run(record.cells[1].title))
    odd.metrics.write_text(json.dumps(measurement(1000, {"fid": 9.0}, network="other").to_plain()) + "\n", "utf-8")
    (setting,) = collect(record, folder).settings
    assert setting.incomparable == ("the feature extractor differs (e d and e other)",)
    assert "not comparable" in setting.conclusions[0].sentences[0]


def test_a_study_of_which_nothing_is_done_has_results_too(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    (setting,) = collect(prepare_record(STUDY, (), folder), folder).settings
    assert {run.state for run in setting.runs} == {"unfinished"}
    assert setting.summaries == ()


def test_results_survive_their_file(results: StudyResults, tmp_path: Path) -> None:
    write_results(results, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == results
    (tmp_path / "results.json").write_text('{"title": 3', encoding="utf-8")
    with pytest.raises(RunError, match=r"results\.json: cannot be read"):
        read_results(tmp_path / "results.json")


def test_results_of_an_earlier_version_are_read(results: StudyResults, tmp_path: Path) -> None:
    """It had a sentence for each comparison, and one for each group that ran all together."""
    plain = to_plain(results)
    (setting,) = plain["settings"]
    for comparison in setting["comparisons"]:
        comparison["sentence"] = "FID: open."
    for conclusion in setting["conclusions"]:
        conclusion["sentence"] = f"{conclusion['group']}: one; two."
        del conclusion["sentences"]
    write_json(tmp_path / "results.json", plain)
    read = read_results(tmp_path / "results.json").settings[0]
    assert read.conclusions[0].sentences == ("quality: one; two.",)
    assert read.comparisons == results.settings[0].comparisons


def test_a_spreadsheet_has_one_row_a_run(results: StudyResults, tmp_path: Path) -> None:
    write_csv(results, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"], row["state"]) for row in rows[3:5]] == [
        ("B", "1", "finished"),
        ("A", "2", "diverged"),
    ]
    assert rows[0]["tracked/best"] == "16.0"
    assert rows[4]["tracked/last"] == ""


def test_the_terminal_shows_a_table_and_what_can_be_concluded(results: StudyResults) -> None:
    text = io.StringIO()
    show_results(results, Console(file=text, width=120))
    said = text.getvalue()
    for expected in (
        "Digits: 5 kimg",
        "tracked FID at best",
        "tracked FID, end to best *",
        "Quality:\n",
        "Shortened: 3 of 5 seeds.",
        "made up",
    ):
        assert expected in said
    assert "digits-a-seed2: diverged: nan" in said
    assert "1 of 6 runs have not ended" in said
