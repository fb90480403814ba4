"""The page of a run: what it says, that nothing hostile gets through, and what it says where something is missing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import CLASSES, FACTS, make_run, measurement
from safetensors.torch import save_file

from gansmith.cli import main
from gansmith.component import to_plain
from gansmith.errors import RunError
from gansmith.images.pixels import save_png
from gansmith.images.sheets import SheetRows
from gansmith.report import write_report
from gansmith.report.reading import attempt, read_measurements, read_picture
from gansmith.report.run_page import RunPage, gather_run_page
from gansmith.report.samples import RunPictures, show_nearest
from gansmith.runs import RunFolder, write_json
from gansmith.training.presets import configure
from gansmith.training.sample_sheets import SampleGrid
from gansmith.training.snapshots import find_snapshot, load_generator

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """A page's elements, text and mistakes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.text += " "
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "signs-001")


def words(page: RunPage) -> str:
    """Every sentence of a page about what is missing."""
    parts = [getattr(page, field.name) for field in dataclasses.fields(page)]
    return " ".join([*page.verdict, *(part.why for part in parts if hasattr(part, "why"))])


# --- what it says ------------------------------------------------------------------------------------------


def test_it_says_how_training_went_and_how_good_it_is(run_report: Path) -> None:
    text = " ".join(Page(run_report.read_text(encoding="utf-8")).text.split())
    assert "Finished after 30.7 kimg (480 steps) in 15.4 s, 2,000 images per second." in text
    assert "FID 12.3 (95 % interval 11.7 to 13.0) on 5,000 images of the best generator at 30.7 kimg." in text
    assert "signs: 600 images, 16x16 RGB, 3 classes" in text
    assert all(name in text for name in CLASSES)


def test_it_shows_figures_with_interval_direction_failures_and_origin(run_report: Path) -> None:
    text = " ".join(Page(run_report.read_text(encoding="utf-8")).text.split())
    assert "KID (classifier) 0.00810 0.00780 to 0.00840 0.00810 ↓ lower" in text
    assert "mypkg:sharpness 3.00 2.90 to 3.10 3.00 \N{EN DASH}" in text
    assert "0.10 % among held-out images; Wilson" in text
    assert "intra-fid class 2 has too few images" in text
    assert "5,000 images of the best generator at 30.7 kimg, averaged weights, seeds 0 to 4,999." in text
    assert "570 real images of signs, training images (data d1d1d1d1d1d1, selection 5e5e5e5e5e5e)" in text
    assert text.count("Values marked (classifier) are not comparable with published FIDs") == 1
    assert text.count("A classifier trained from another seed changed FIDs by") == 1
    assert "classifier: held-out accuracy 98.7 % (weights c1c1c1c1c1c1)" in text
    assert "best at 25.6 kimg, 2026-01-02: the number of generated images differs (5,000 and 1,000)" in text


def test_it_shows_the_curves_and_marks_the_best(run_report: Path) -> None:
    text = " ".join(Page(run_report.read_text(encoding="utf-8")).text.split())
    assert "Best (circle): 40.0 (95 % interval 38.0 to 42.0) at 25.6 kimg." in text
    assert "Measured 6 times during training, on 1,000 images of fixed seeds against 570 real ones" in text
    for title in (
        "Losses",
        "Discriminator's logits",
        "Discriminator's accuracy",
        "Gradient norms",
        "Images per second",
    ):
        assert title in text


def test_it_tells_what_the_guard_saw_and_did(run: RunFolder, run_report: Path) -> None:
    text = " ".join(Page(run_report.read_text(encoding="utf-8")).text.split())
    assert "after 15.4 kimg The discriminator has won. after 15.4 kimg Back to step 80: R1 is added." in text
    run.events.unlink()
    assert gather_run_page(run).guard.why == "The guard detected no problem."
    write_json(run.config, json.loads(run.config.read_text()) | {"guard": None})
    assert gather_run_page(run).guard.why == "The guard was disabled."


def test_it_tells_configuration_machine_and_commands(run_report: Path) -> None:
    text = " ".join(Page(run_report.read_text(encoding="utf-8")).text.split())
    assert "model.width 24 32" in text
    assert "length 30 kimg 10 min" in text
    assert "float32 instead of bfloat16: old" in text
    assert "gansmith train signs --length '30 kimg'" in text
    folder = run_report.parent
    assert all(f"gansmith {verb} {folder}" in text for verb in ("resume", "sample", "evaluate", "report"))


def test_it_contains_everything_and_asks_for_nothing(run_report: Path, study_report: Path) -> None:
    for report in (run_report, study_report):
        html = report.read_text(encoding="utf-8")
        page = Page(html)
        sources = [value for _, attributes in page.elements for key, value in attributes.items() if key.endswith("src")]
        assert sources and all(value is not None and value.startswith("data:image/png;base64,") for value in sources)
        links = [str(value) for _, it in page.elements for key, value in it.items() if key.endswith("href")]
        assert links and all(link.startswith("#") for link in links)
        assert "://" not in html and "@import" not in html and "<script" not in html
        assert "default-src 'none'" in html, "and the browser is told so"


def test_it_is_sound_and_accessible_html(run_report: Path, study_report: Path) -> None:
    for report in (run_report, study_report):
        page = Page(report.read_text(encoding="utf-8"))
        assert page.open == []
        names = [name for name, _ in page.elements]
        assert [names.count(name) for name in ("h1", "header", "nav", "main", "footer")] == [1] * 5
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        targets = {str(attributes["href"])[1:] for attributes in page.named("a")}
        assert targets <= set(ids)
        assert all(attributes.get("alt") for attributes in page.named("img"))
        assert all(attributes.get("aria-label") for attributes in page.named("svg"))
        assert all(attributes.get("scope") in ("row", "col") for attributes in page.named("th"))
        assert dict(page.named("html")[0]) == {"lang": "en"}


def test_the_same_files_make_the_same_page(run_report: Path, tmp_path: Path) -> None:
    again = write_report(run_report.parent, tmp_path / "again.html").read_text(encoding="utf-8")
    dated = re.compile(r"<time.*</time>")
    assert dated.sub("", again) == dated.sub("", run_report.read_text(encoding="utf-8"))


def test_the_command_writes_it(run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["report", str(run.path)]) == 0
    assert capsys.readouterr().out == f"{run.report}\n"
    assert main(["report", str(run.path), "--out", str(tmp_path / "missing" / "page.html")]) == 2
    assert "choose another file with --out" in capsys.readouterr().err
    assert main(["report", str(run.path), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "not a run" in capsys.readouterr().err


# --- what is missing ---------------------------------------------------------------------------------------


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "new")
    write_json(run.config, to_plain(configure("signs")))
    FACTS.write(run.data)
    run.set_status("running", nimg=0)
    said = words(gather_run_page(run))
    for sentence in (
        "Interrupted, for example by a kill or a power failure; it can be resumed; so far 0\N{NO-BREAK SPACE}k",
        "Nothing was measured yet.",
        "No statistics were written yet.",
        "Training has saved no samples yet.",
        "No metric was tracked during training.",
        f"This run was not evaluated yet; to evaluate it: gansmith evaluate {run.path}",
        "There is no nearest.png; an evaluation draws it",
        "environment.json is missing.",
    ):
        assert sentence in said
    assert write_report(run.path).stat().st_size > 10_000


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ({"state": "stopped", "step": 80, "nimg": 5120}, "Stopped at 5.12 kimg (80 steps)"),
        (
            {"state": "failed", "step": 80, "nimg": 5120, "reason": "loss is nan"},
            "15.4 s, 2,000 images per second: loss is nan.",
        ),
        ({"state": "running", "nimg": 0}, "Interrupted"),
        ({"state": "resting"}, "Unknown state: resting"),
    ],
)
def test_it_says_how_a_run_stands(run: RunFolder, status: dict[str, object], sentence: str) -> None:
    write_json(run.status, status)
    assert sentence in gather_run_page(run).verdict[0].replace("\N{NO-BREAK SPACE}", " ")


def test_a_run_that_is_trained_now_is_under_way(run: RunFolder) -> None:
    write_json(run.status, {"state": "running", "nimg": 0})
    with run.claim():
        assert gather_run_page(run).verdict[0].startswith("Running; so far")
    (run.path / ".lock").unlink(missing_ok=True)
    (run.path / ".lock").mkdir()
    assert gather_run_page(run).verdict[0].startswith("Running, or interrupted; so far")


def test_without_an_evaluation_the_best_tracked_figure_is_said(run: RunFolder) -> None:
    run.metrics.write_text("")
    run.append_measurement(measurement(5120, 80.0).to_plain())
    run.append_measurement(measurement(10240, 90.0).to_plain())
    verdict = gather_run_page(run).verdict[1].replace("\N{NO-BREAK SPACE}", " ")
    assert verdict == "Best tracked FID 80.0 (95 % interval 76.0 to 84.0), at 5.12 kimg, on 1,000 images."


def test_why_nothing_was_tracked_is_said(run: RunFolder) -> None:
    run.metrics.write_text("")
    run.append_measurement(measurement(5120, 80.0, values={}, failures={"fid": "too few images"}).to_plain())
    run.append_measurement(measurement(5120, 80.0, kind="evaluation", failures={"kid": "another reason"}).to_plain())
    assert "No metric was tracked during training: too few images." in words(gather_run_page(run))


def test_an_equivalent_command_where_none_was_recorded(run: RunFolder) -> None:
    write_json(run.environment, {"command": ["/usr/bin/gansmith", "resume", "x"]})
    first = gather_run_page(run).commands.needed()[0]
    assert first.purpose == "The command was not recorded; an equivalent one"
    assert first.text.startswith("gansmith train signs --preset auto ")
    assert "--model.width 24" in first.text and "--length '30 kimg'" in first.text


def test_a_run_without_labels_shows_samples_beside_real_ones(run: RunFolder) -> None:
    plain = json.loads(run.config.read_text())
    write_json(run.config, plain | {"use_labels": False})
    for path in run.images.iterdir():
        SheetRows(images=np.zeros((8, 8, 16, 16, 3), np.uint8)).save(path)
    samples = RunPictures(folder=run, config=json.loads(run.config.read_text()), facts=FACTS).samples()
    assert not samples.rows and samples.generated and samples.real
    assert (samples.generated.width, samples.generated.enlarged) == (3 * 142, True)


# --- what is hostile ---------------------------------------------------------------------------------------

SCRIPT = "<script>alert(1)</script>"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    names = (SCRIPT, '"><img src=x onerror=alert(1)>', "\ud800 $\\frac$ \N{RIGHT-TO-LEFT OVERRIDE}")
    run = make_run(tmp_path / "x<script>")
    dataclasses.replace(FACTS, title=SCRIPT, class_names=names).write(run.data)
    made = measurement(40000, 1.0, kind="evaluation", failures={SCRIPT: SCRIPT}).to_plain()
    made["values"] = {SCRIPT: made["values"]["fid"] | {"note": SCRIPT}}
    made["extractor"]["note"] = made["generated"]["path"] = SCRIPT
    run.append_measurement(made)
    write_json(run.environment, {SCRIPT: SCRIPT, "notes": [SCRIPT], "command": [SCRIPT]})
    write_json(run.status, {"state": "failed", "reason": SCRIPT})
    run.append_event(run.read_events()[0] | {"sentence": SCRIPT, "kind": SCRIPT})
    plain = json.loads(run.config.read_text())
    write_json(run.config, plain | {"preset": SCRIPT, "loss": {"name": SCRIPT, SCRIPT: 1}})
    html = write_report(run.path).read_text(encoding="utf-8")
    assert "<script" not in html and "<img src=x" not in html
    assert html.count("&lt;script&gt;") > 10
    assert Page(html).open == []


WORDS = ("samples", "state", "nimg", "step", "preset", "data", "command", "notes", "kind", "values")
GARBAGE = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "too deep": b"[" * 100_000,
    "wrong types": json.dumps({key: [[1]] for key in WORDS}).encode(),
    "no numbers": b'{"nimg": NaN, "step": 1e400, "progress/nimg": -Infinity, "loss/generator": {}, "kind": 7}',
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_in_every_file_is_no_reason_to_fall(run: RunFolder, kind: str) -> None:
    for path in (run.config, run.data, run.environment, run.status, run.stats, run.metrics, run.events):
        path.write_bytes(GARBAGE[kind])
    for path in (run.nearest, *run.images.iterdir()):
        path.write_bytes(GARBAGE[kind])
    page = gather_run_page(run)
    assert page.samples.content is None and page.samples.why
    assert page.evaluation.content is None and page.evaluation.why
    assert write_report(run.path).exists()


def test_garbage_in_one_file_leaves_the_rest(run: RunFolder) -> None:
    run.metrics.write_text('{"kind": "evaluation"}\n')
    page = gather_run_page(run)
    assert "a line of metrics.jsonl cannot be read" in page.evaluation.why
    assert page.charts.content and page.samples.content and page.strip.content


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"fid": {"value": 10**400, "low": 1, "high": 2, "interval": ""}}},
        {"values": {"fid": {"value": float("nan"), "low": 1, "high": 2, "interval": ""}}},
        {"values": {"fid": {"value": "1", "low": 1, "high": 2, "interval": ""}}},
        {"failures": [1]},
        {"reference": {"title": "x", "split": "some", "num": 1, "digest": "", "selection": ""}},
        {"when": None},
    ],
)
def test_unsound_measurements_are_never_shown(run: RunFolder, change: dict[str, object]) -> None:
    run.append_measurement(measurement(1, 1.0, kind="evaluation").to_plain() | change)
    found = attempt(read_measurements, run, what="metrics.jsonl")
    assert found.content is None and found.why


def png_of(width: int, height: int) -> bytes:
    """The beginning of a PNG file that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.parametrize("size", [(60_000, 60_000), (8000, 8000), (16, 16)])
def test_huge_and_damaged_pictures_are_said(run: RunFolder, size: tuple[int, int]) -> None:
    newest = sorted(run.images.glob("fakes_*"))[-1]
    newest.write_bytes(png_of(*size))
    run.nearest.write_bytes(png_of(*size))
    pictures = RunPictures(folder=run, config=json.loads(run.config.read_text()), facts=FACTS)
    with pytest.raises(RunError, match=rf"{newest.name} .* shown"):
        pictures.samples()
    with pytest.raises(RunError, match=r"nearest\.png .* shown"):
        show_nearest(run)
    strip = pictures.strip()
    assert len(strip.unreadable) == 1 and len(strip.frames) == 5


def test_sheets_of_earlier_versions_are_shown_as_they_are(run: RunFolder) -> None:
    """They have no layout: neither the newest samples nor the real images are cut."""
    for path in run.images.iterdir():
        save_png(read_picture(path), path)
    pictures = RunPictures(folder=run, config=json.loads(run.config.read_text()), facts=FACTS)
    samples, strip = pictures.samples(), pictures.strip()
    assert not samples.rows and samples.generated and samples.real
    height, width, _ = read_picture(run.images / "real.png").shape
    for shown in (samples.real, samples.generated, *(picture for _, picture in strip.frames)):
        factor = shown.width // width
        assert (shown.width, shown.height) == (factor * width, factor * height)


LAYOUTS = {
    "a list": "[]",
    "no JSON": "{",
    "incomplete": '{"height": 16}',
    "wrong types": '{"height": "a", "width": 16, "columns": 8, "scale": 1, "rows": [[0, 0]], "classes": []}',
    "too large": '{"height": 4096, "width": 4096, "columns": 9, "scale": 1, "rows": [[0, 0]], "classes": []}',
    "too many": json.dumps(
        {"height": 40, "width": 40, "columns": 1, "scale": 1, "rows": [[0, 0]] * 999, "classes": []}
    ),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_layout_that_does_not_fit_is_said(run: RunFolder, kind: str) -> None:
    newest = sorted(run.images.glob("fakes_*"))[-1]
    save_png(read_picture(newest), newest, layout=LAYOUTS[kind])
    pictures = RunPictures(folder=run, config=json.loads(run.config.read_text()), facts=FACTS)
    with pytest.raises(RunError, match="its layout cannot be read"):
        pictures.samples()
    assert len(pictures.strip().unreadable) == 1


def test_a_best_generator_that_cannot_be_asked_gives_way_to_the_newest_samples(run: RunFolder) -> None:
    (run.path / "best").mkdir()
    write_json(run.path / "best" / "state.json", {"nimg": 1, "step": 1, "seconds": 1})
    samples = RunPictures(folder=run, config=json.loads(run.config.read_text()), facts=FACTS).samples()
    assert "newest samples" in samples.title
    assert samples.notes and samples.notes[0].startswith("The best generator cannot be used: ")


def test_missing_config_is_one_line(run: RunFolder) -> None:
    shutil.move(run.config, run.path / "gone.json")
    with pytest.raises(RunError, match="not a run"):
        write_report(run.path)


def test_samples_are_those_of_the_best_generator_that_was_kept(run: RunFolder) -> None:
    config = configure("signs", overrides={"model.width": 4})
    write_json(run.config, to_plain(config))
    network = config.model.generator(FACTS.spec(True))
    run.keep_best(lambda folder: save_best(network, folder))
    pictures = RunPictures(folder=run, config=to_plain(config), facts=FACTS)
    title, shown, notes = pictures.best_sheet()
    assert title.replace("\N{NO-BREAK SPACE}", " ") == "samples of the best generator, at 20.5 kimg"
    assert notes == ()
    rows = SampleGrid().draw_rows(load_generator(run, find_snapshot(run)))
    assert np.array_equal(shown.tiles, rows.images) and np.array_equal(shown.pixels, rows.pixels())


def save_best(network: torch.nn.Module, folder: Path) -> None:
    """What a tracked training keeps."""
    save_file(network.state_dict(), folder / "generator_ema.safetensors")
    write_json(folder / "state.json", {"nimg": 20480, "step": 320, "seconds": 10})
