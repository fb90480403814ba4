"""A dry run says what training would do, and leaves nothing behind but caches."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gansmith
from gansmith.cli import main
from gansmith.cli.train import _count_files
from gansmith.component import to_plain
from gansmith.errors import ConfigError
from gansmith.training import preview, session

SMALL = ["--model.width", "4", "--tracking.num", "4", "--batch_size", "4"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of wide images, and a file that is no image."""
    draw = np.random.default_rng(0)
    for name, num in (("cats", 30), ("dogs", 10)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(num):
            pixels = draw.integers(0, 256, (8, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "photos" / "cats" / "broken.png").write_bytes(b"not an image")
    return tmp_path / "photos"


@pytest.mark.parametrize("words", [["--steps", "20"], ["--preset", "dcgan-r1", "--minutes", "2"]])
def test_a_dry_run_prints_everything_and_leaves_nothing(
    words: list[str], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(photos), "--size", "8", "--dry-run", *words, *SMALL]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == f"reading 41 files in {photos}"
    for line in ("class   cats: 30 images", "class   dogs: 10 images", "config  model.width 4", "memory  about "):
        assert line in text
    assert "40 of 40 images lose more than a third" in text and "skipped cats/broken.png" in text
    assert "config  augment none" in text and "passes over the data" in text
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_dry_run_as_json_is_what_a_training_then_does(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(photos), "--size", "8", "--steps", "3", *SMALL]
    assert main(["train", *words, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["classes"] == {"cats": 30, "dogs": 10}
    assert (found["num_steps"], found["num_images"]) == (3, 12)
    assert found["seconds"] > 0 and found["memory_bytes"] > 0 and found["images_per_second"] > 0
    run = gansmith.train(
        photos, size=8, steps=3, run=tmp_path / "run", overrides={"model.width": 4, "tracking.num": 4, "batch_size": 4}
    )
    assert to_plain(run.config) == found["config"]


def test_json_without_a_dry_run_is_the_state_of_the_run(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--size", "8", "--steps", "2", "--tracking", "none", *SMALL[:2], *SMALL[4:]]
    assert main(["train", str(photos), *words, "--run", str(tmp_path / "run"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["state"] == "finished"
    assert "reading 41 files" in printed.err


def test_python_previews_too(photos: Path) -> None:
    found = gansmith.preview(photos, preset="dcgan-r1", batch_size=4, length="8 steps", tracking=None)
    assert (found.num_steps, found.num_images, found.extractor_seconds) == (8, 32, 0.0)
    assert found.class_counts == {"cats": 30, "dogs": 10}
    with pytest.raises(ConfigError, match="preview: "):
        gansmith.preview(found.chosen.config, preset="auto")


def test_the_extractors_training_is_timed_and_ended(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(preview.time, "perf_counter", lambda: 0.6 * next(clock))
    done: list[int] = []

    class Learning:
        def network(self, store: Any, training: Any, progress: Any) -> None:
            for images in range(64, 64 * 101, 64):
                done.append(images)
                progress(images, 6400)

    config = gansmith.configure(photos, preset="dcgan-r1", overrides={"length": "8 steps"})
    prepared = session.prepare_data(config)
    monkeypatch.setattr(preview, "choose_extractor", lambda config, store: (Learning(), ""))
    seconds, notes = preview._estimate_extractor(prepared, session.Chosen(config=config))
    assert done == [64, 128, 192] and notes == []
    assert seconds == pytest.approx(1.2 * 6400 / 128)


def test_the_first_line_does_not_wait_for_torch(photos: Path) -> None:
    text = "import sys; from gansmith.cli import train; train._announce_reading(sys.argv[1])"
    text += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", text, str(photos)], capture_output=True, text=True, check=True)
    assert done.stdout == f"reading 41 files in {photos}\n"


def test_what_is_not_there_is_not_announced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().out == ""


def test_files_are_counted_in_folders_and_zips_but_arrays_are_no_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.zeros(2))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", b"")
    assert _count_files(tmp_path / "x.npz") is None
    assert _count_files(tmp_path / "x.zip") == "1" and _count_files(tmp_path) == "2"
