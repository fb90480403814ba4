"""check: finds what is there and what is wrong with it, and proposes what follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from gansmith.data.arrays import ArrayRecords
from gansmith.data.check import check
from gansmith.data.folder import Folder
from gansmith.data.source import Records, Size, Source
from gansmith.data.store import Preparation
from gansmith.types import ImageSpec


def picture(seed: int, size: Size = (20, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


@pytest.fixture
def flawed(tmp_path: Path) -> Folder:
    """Two classes with every flaw: a copy, a copy in the other class, a broken file, a text file."""
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
    for i in range(4):
        picture(i).save(tmp_path / "cat" / f"{i}.png")
    picture(4, (30, 20)).convert("L").save(tmp_path / "dog" / "4.bmp")
    picture(0).convert("RGBA").save(tmp_path / "cat" / "copy.png")  # the same picture in another mode
    picture(1).save(tmp_path / "dog" / "wrong.bmp")
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"")
    (tmp_path / "dog" / "notes.txt").write_text("text")
    return Folder(path=tmp_path)


def test_everything_is_found(flawed: Folder) -> None:
    findings = check(flawed)
    assert findings.num_images == 8
    assert findings.sizes == {(20, 30): 6, (30, 20): 1}
    assert findings.modes == {"RGB": 5, "RGBA": 1, "L": 1} and findings.formats == {"PNG": 5, "BMP": 2}
    assert findings.classes == {"cat": 5, "dog": 3}
    assert findings.unreadable == (("dog/broken.jpg", "the file is empty"),)
    assert findings.skipped == (("dog/notes.txt", "the suffix is not that of an image"),)
    assert findings.duplicates == (("cat/0.png", "cat/copy.png"), ("cat/1.png", "dog/wrong.bmp"))
    assert findings.conflicts == (("cat/1.png", "dog/wrong.bmp"),)
    assert findings.spec == ImageSpec(height=16, width=16, channels=3, num_classes=2)


def test_the_page_says_all_of_it(flawed: Folder) -> None:
    page = "\n".join(check(flawed).lines())
    for line in (
        "images      8 found, 7 readable",
        "size        width 20 to 30, median 30",
        "size        height 20 to 30, median 20",
        "size        30x20 (6), 20x30 (1)",
        "pixels      RGB (5), RGBA (1), L (1)",
        "format      PNG (5), BMP (2)",
        "classes     2, with 3 to 5 images each",
        "  cat       5 " + "█" * 32,
        "unreadable  1\n  dog/broken.jpg: the file is empty",
        "skipped     1\n  dog/notes.txt: the suffix is not that of an image",
        "duplicates  1 images occur more than once\n  cat/0.png = cat/copy.png",
        "conflicts   1 images occur in more than one class\n  cat/1.png = dog/wrong.bmp",
        "proposal    16x16 RGB, conditional on 2 classes; augmentation: mirror, translation, cutout, ",
    ):
        assert line in page


def test_a_blank_of_another_shape_is_no_duplicate(tmp_path: Path) -> None:
    for i, size in enumerate([(4, 9), (9, 4), (6, 6)]):
        Image.new("L", size).save(tmp_path / f"{i}.png")
    assert check(Folder(path=tmp_path)).duplicates == ()


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    for i in range(25):
        (tmp_path / f"{i:02}.png").write_text("text")
    picture(0).save(tmp_path / "good.png")
    lines = check(Folder(path=tmp_path)).lines()
    start = lines.index("unreadable  25")
    assert lines[start + 11] == "  and 15 more" and lines[start + 10].startswith("  09.png")


def test_many_classes_are_cut_and_counted(tmp_path: Path) -> None:
    for i in range(104):
        for j in range(2):
            (tmp_path / str(i)).mkdir(exist_ok=True)
            (tmp_path / str(i) / f"{j}.png").touch()
    lines = check(Folder(path=tmp_path)).lines()
    assert lines[lines.index("  99        2 " + "█" * 32) + 1] == "  and 4 more"


def test_data_without_a_readable_image_are_still_described(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    findings = check(Folder(path=tmp_path))
    assert findings.spec is None and findings.lines()[-1] == "proposal    none: no image can be read"


def test_what_is_chosen_is_not_proposed_otherwise(flawed: Folder) -> None:
    spec = check(flawed, Preparation(size=(12, 34), channels="gray")).spec
    assert spec == ImageSpec(height=12, width=34, channels=1, num_classes=2)


def test_notes_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    picture(0).save(tmp_path / "a" / "0.png")
    picture(1).save(tmp_path / "1.png")
    assert any(
        line.startswith("note        no classes, because 1 of 2") for line in check(Folder(path=tmp_path)).lines()
    )


def test_progress_counts_up(flawed: Folder) -> None:
    seen: list[tuple[int, int]] = []
    check(flawed, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]


@dataclass(frozen=True, kw_only=True)
class Drawn(Source):
    kind: ClassVar[str] = "digits"
    native_size: ClassVar[Size | None] = (8, 8)

    def records(self, size: Size | None = None) -> Records:
        """Three gray images with numbered labels."""
        images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
        return ArrayRecords(images=images, names="abc", fingerprint="", labels=np.array([2, 0, 2]))


def test_digits_are_never_mirrored_and_gray_is_never_saturated() -> None:
    findings = check(Drawn())
    assert findings.classes == {"0": 1, "1": 0, "2": 2} and findings.spec is not None
    assert findings.spec.channels == 1
    assert findings.augmentations == ("translation", "cutout")


def test_gray_photos_bear_no_saturation(tmp_path: Path) -> None:
    picture(0).convert("L").save(tmp_path / "a.png")
    augmentations: Any = check(Folder(path=tmp_path)).augmentations
    assert "mirror" in augmentations and "saturation" not in augmentations
