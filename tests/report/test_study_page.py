"""The page of a study."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_up import make_study

from gansmith.cli import main
from gansmith.errors import RunError
from gansmith.plain_json import write_json
from gansmith.report import write_report
from gansmith.report.study_page import gather_study_page
from gansmith.study.folder import StudyFolder


@pytest.fixture
def study(tmp_path: Path) -> StudyFolder:
    make_study(tmp_path / "norms")
    return StudyFolder(tmp_path / "norms")


def text_of(path: Path) -> str:
    html = path.read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]*>", " ", html[html.index("</style>") :]).split())


def test_the_answer_comes_first(study_report: Path) -> None:
    text = text_of(study_report)
    places = [text.index(words) for words in ("Which is better?", "It is shown.", "Not more.", "Means over seeds")]
    assert places == sorted(places)
    assert "5 finished, 1 diverged" in text
    assert "length = 8 kimg" in text
    assert "With 3 pairs little can be seen." in text


def test_measures_have_intervals_over_seeds(study_report: Path) -> None:
    text = text_of(study_report)
    assert "FID at best * 40.0 30.0 to 50.0 21 ↓ lower" in text, "a single seed has no interval"
    assert "diverged 1 of 3 1 to 91 % \N{EN DASH} ↓ lower" in text


def test_comparisons_have_difference_p_and_effect(study_report: Path) -> None:
    text = text_of(study_report)
    minus = "\N{MINUS SIGN}"
    assert f"FID at best {minus}19.0 {minus}25.0 to {minus}13.0 &lt; 0.001 0.012 {minus}1.50 ({minus}2.50 to" in text


def test_runs_origin_and_command_are_told(study_report: Path) -> None:
    text = text_of(study_report)
    assert "runs/1.0-2 plain 2 diverged loss/discriminator is nan" in text
    assert "1,000 images of the generator during training" in text
    assert "gansmith study it.toml" in text


def test_samples_are_those_of_the_median_run(study_report: Path, study: StudyFolder) -> None:
    samples = gather_study_page(study).settings[0].samples
    assert [sample.title for sample in samples] == ["plain, seed 0", "<b>normed</b>, seed 1", "Real images"]
    assert all(sample.shown.content for sample in samples)


def test_names_stay_text(study_report: Path) -> None:
    html = study_report.read_text(encoding="utf-8")
    assert "<b>normed" not in html and "&lt;b&gt;normed&lt;/b&gt;" in html
    assert "D<i>" not in html


def test_a_run_outside_the_study_is_not_looked_at(study: StudyFolder) -> None:
    plain = json.loads(study.results.read_text())
    for run in plain["settings"][0]["runs"]:
        run["path"] = "../elsewhere"
    write_json(study.results, plain)
    page = gather_study_page(study)
    assert "outside the study's folder" in page.settings[0].samples[0].shown.why
    assert page.settings[0].provenance.content is None
    assert page.environment.content is None


def test_without_curves_and_runs_it_says_so(study: StudyFolder) -> None:
    plain = json.loads(study.results.read_text())
    for run in plain["settings"][0]["runs"]:
        run |= {"curve": [], "state": "unfinished", "path": "runs/none"}
    plain["settings"][0] |= {"comparisons": [], "conclusions": [], "summaries": []}
    write_json(study.results, plain)
    text = text_of(write_report(study.path))
    for sentence in (
        "No metric was tracked.",
        "None of its runs has finished.",
        "Nothing can be concluded from these runs.",
        "There are no pairs of runs to compare.",
        "Nothing was measured.",
    ):
        assert sentence in text


def test_what_must_not_be_compared_is_not_drawn_together(study: StudyFolder) -> None:
    plain = json.loads(study.results.read_text())
    plain["settings"][0]["incomparable"] = ["the feature network differs"]
    write_json(study.results, plain)
    page = gather_study_page(study)
    assert page.settings[0].charts.why == "These curves are not comparable: the feature network differs."
    sentence = "Values of these runs are not comparable: the feature network differs."
    assert text_of(write_report(study.path)).count(sentence) == 2


def test_a_study_without_sound_results_is_one_line(study: StudyFolder, capsys: pytest.CaptureFixture[str]) -> None:
    study.results.write_text('{"title": 3}')
    assert main(["report", str(study.path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    study.results.unlink()
    with pytest.raises(RunError, match="has no results yet"):
        write_report(study.path)
