"""Small sets as people bring them: empty classes, very few or very flat images, photographs turned by their camera."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gansmith import api
from gansmith.cli import main
from gansmith.data.folder import Folder
from gansmith.data.store import Preparation, prepare
from gansmith.images.sheets import labelled_rows
from gansmith.training.snapshots import real_rows

SMALL = ["--length", "2 steps", "--batch_size", "4", "--model.width", "4", "--tracking", "none", "--guard", "none"]
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def from_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset.json whose labels begin at 1."""
    folder = tmp_path_factory.mktemp("data") / "from1"
    folder.mkdir()
    for i in range(24):
        Image.fromarray(DRAW.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{i}.png")
    labels = [[f"{i}.png", 1 + i % 2] for i in range(24)]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    return folder


def test_an_empty_class_is_counted_apart_and_has_no_row(
    from_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(from_one)]) == 0
    text = capsys.readouterr().out
    assert "classes     2, with 12 to 12 images each\nno images   1: 0\n" in text
    assert "conditional on 2 classes and 1 without images; " in text
    assert main(["train", str(from_one), "--run", str(tmp_path / "run"), "--preset", "dcgan-r1", *SMALL]) == 0
    assert "2 classes and 1 without images (1, 2)" in capsys.readouterr().out
    run = api.open_run(tmp_path / "run")
    store = prepare(run.config.source, run.config.preparation)
    generator = run.generator()
    sheet = real_rows(store, generator.spec).pixels()
    with Image.open(run.folder.images / "real.png") as real:
        assert np.array_equal(np.asarray(real), sheet)
    drawn = labelled_rows([np.zeros((8, 16, 16, 3), np.uint8)] * 2, generator.class_names, [1, 2], 2)
    assert sheet.shape == drawn.shape
    assert main(["report", str(run.path)]) == 0
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "2 classes and 1 without images" in page
    assert "generated: 1" in page and "generated: 2" in page and "generated: 0" not in page


@pytest.mark.parametrize(
    ("sides", "num", "printed"), [((1, 1), 4, "1x1 RGB"), ((32, 32), 3, "32x32 RGB"), ((4000, 1), 4, "RGB")]
)
def test_tiny_sets_are_described_and_trained_on_or_refused_in_one_line(
    sides: tuple[int, int], num: int, printed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(num):
        Image.new("RGB", sides, (60 * i, 10, 10)).save(photos / f"{i}.png")
    assert main(["data", "check", str(photos)]) == 0
    assert printed in capsys.readouterr().out
    status = main(["train", str(photos), "--run", str(tmp_path / "run"), "--preset", "dcgan-r1", *SMALL])
    error = capsys.readouterr().err
    if status:
        assert status == 2 and error.startswith("error: ") and error.count("\n") == 1
        assert not (tmp_path / "run").exists()
    else:
        assert api.open_run(tmp_path / "run").status()["state"] == "finished"


def upright() -> Image.Image:
    """Black, with a red left half."""
    image = Image.new("RGB", (48, 32))
    ImageDraw.Draw(image).rectangle((0, 0, 23, 31), fill="red")
    return image


def test_photographs_are_turned_and_converted_to_what_they_show(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    stored = upright().transpose(Image.Transpose.ROTATE_90)
    for suffix in ("jpg", "png", "webp", "tif"):
        stored.save(tmp_path / f"turned.{suffix}", exif=exif, **({"quality": 95} if suffix in ("jpg", "webp") else {}))
    upright().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    upright().save(tmp_path / "mpo.jpg", format="MPO", save_all=True, append_images=[upright()], quality=95)
    upright().save(tmp_path / "plain.png")
    store = prepare(Folder(path=tmp_path), Preparation(size=(32, 48)))
    assert len(store) == 7
    assert np.abs(store.images.astype(int) - np.asarray(upright()).astype(int)).mean(axis=(1, 2, 3)).max() < 8
