"""Stores: built once, atomically, exactly; opened without reading; unreadable images counted, never fatal half-way."""

from __future__ import annotations

import io
import os
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from gansmith.data import survey, writer
from gansmith.data.folder import Folder
from gansmith.data.levels import Span
from gansmith.data.parallel import map_in_order
from gansmith.data.source import Record, Records, Size, Source, cache_folder
from gansmith.data.store import Preparation, Store, prepare
from gansmith.data.survey import Facts, inspect_image, propose_channels, propose_size
from gansmith.errors import ConfigError, DataError, UnreadableImage
from gansmith.plain_json import seal, unseal

NOISE = np.random.default_rng(0).integers(0, 256, (50, 6, 8, 3), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Noise(Source):
    """Fifty images in memory, of which some may be broken."""

    native_size: ClassVar[Size | None] = (6, 8)

    broken: int = 0
    labelled: bool = True

    def records(self, size: Size | None = None) -> Records:
        return _NoiseRecords(
            names=[f"image {i}" for i in range(50)],
            fingerprint=f"{self.broken} {self.labelled}",
            labels=np.arange(50) % 5 if self.labelled else None,
            class_names=tuple("abcde"),
            groups=np.arange(50) // 10,
            factors={"angle": np.linspace(0, 1, 50), "word": np.array(["x", "yy"] * 25)},
            skipped=(("notes.txt", "not an image"),),
            notes=("a note",),
            broken=self.broken,
        )


@dataclass(frozen=True, kw_only=True)
class _NoiseRecords(Records):
    broken: int

    def read(self, index: int) -> Record:
        if index < self.broken:
            raise UnreadableImage("it is broken")
        return NOISE[index]


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def contents(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir()) if path.exists() else []


# --- what is kept ------------------------------------------------------------------------------------------


def test_everything_known_of_the_images_is_kept_exactly(tmp_path: Path) -> None:
    store = prepare(Noise(), cache=tmp_path)
    assert np.array_equal(store.images, NOISE) and len(store) == 50
    assert (store.spec.height, store.spec.width, store.spec.channels, store.spec.num_classes) == (6, 8, 3, 5)
    assert store.labels is not None and store.labels.tolist() == [i % 5 for i in range(50)]
    assert store.groups is not None and store.groups.tolist() == [i // 10 for i in range(50)]
    assert set(store.factors) == {"angle", "word"} and store.factors["word"].tolist() == ["x", "yy"] * 25
    assert (store.title, store.kind, store.class_names) == ("noise", "photos", tuple("abcde"))
    assert store.skipped == (("notes.txt", "not an image"),) and store.notes == ("a note",)


def test_the_images_are_mapped_and_read_only(tmp_path: Path) -> None:
    images = prepare(Noise(), cache=tmp_path).images
    assert isinstance(images, np.memmap) and not images.flags.writeable


def test_unlabelled_data_have_no_labels(tmp_path: Path) -> None:
    store = prepare(Noise(labelled=False), cache=tmp_path)
    assert store.labels is None and store.class_names == () and store.spec.num_classes == 0


def test_the_digest_follows_pixels_and_labels(tmp_path: Path) -> None:
    digest = prepare(Noise(), cache=tmp_path).digest
    assert prepare(Noise(), cache=tmp_path / "again").digest == digest
    assert prepare(Noise(labelled=False), cache=tmp_path).digest != digest
    assert prepare(Noise(), Preparation(size=(6, 7)), cache=tmp_path).digest != digest
    assert prepare(Noise(broken=1), cache=tmp_path).digest != digest


def test_nothing_in_a_store_is_a_pickle(tmp_path: Path) -> None:
    store = prepare(Noise(), cache=tmp_path)
    for file in store.path.glob("*.npy"):
        np.load(file, allow_pickle=False)
    assert {file.suffix for file in store.path.iterdir()} == {".npy", ".json"}


# --- built once, all or nothing ----------------------------------------------------------------------------


def test_a_second_call_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(Noise(), cache=tmp_path)
    monkeypatch.setattr(_NoiseRecords, "read", None)
    assert prepare(Noise(), cache=tmp_path).path == first.path


def test_another_source_preparation_or_content_is_another_store(tmp_path: Path) -> None:
    image = save(tmp_path / "images" / "a.png", Image.new("L", (8, 8)))
    source = Folder(path=image.parent)
    paths = {prepare(source, cache=tmp_path / "cache").path}
    paths.add(prepare(source, Preparation(size=(4, 4)), cache=tmp_path / "cache").path)
    paths.add(prepare(source, Preparation(channels="rgb"), cache=tmp_path / "cache").path)
    os.utime(image, ns=(1, 1))
    paths.add(prepare(source, cache=tmp_path / "cache").path)
    assert len(paths) == 4 and all(path.name.startswith("images-") for path in paths)


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError])
def test_an_interrupted_build_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupt(done: int, total: int) -> None:
        raise error

    with pytest.raises(error):
        prepare(Noise(), cache=tmp_path, progress=interrupt)
    assert contents(tmp_path) == []
    assert len(prepare(Noise(), cache=tmp_path)) == 50


def test_what_a_killed_build_left_is_cleared_when_it_is_old(tmp_path: Path) -> None:
    for name, age in (("x.unfinished-1", 7200), ("x.unfinished-2", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images.npy").touch()
        for path in (tmp_path / name / "images.npy", tmp_path / name):
            os.utime(path, (time.time() - age, time.time() - age))
    prepare(Noise(), cache=tmp_path)
    assert "x.unfinished-1" not in contents(tmp_path) and "x.unfinished-2" in contents(tmp_path)


def test_two_builds_at_once_make_one_store(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def build(_: int) -> Store:
        waited: Iterator[None] = iter([None])

        def progress(done: int, total: int) -> None:
            for _ in waited:
                together.wait(timeout=30)

        return prepare(Noise(), cache=tmp_path, progress=progress)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(build, range(2))
    assert one.path == other.path and np.array_equal(one.images, other.images)
    assert contents(tmp_path) == [one.path.name]


@pytest.mark.parametrize("step", ["mkdir", "open", "rename"])
def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(Path, step, refuse)
    with pytest.raises(
        DataError, match=r"cannot be written \(not allowed\); free some disk space, or set GANSMITH_CACHE"
    ):
        prepare(Noise(), cache=tmp_path)
    monkeypatch.undo()
    assert contents(tmp_path) == []


def test_progress_counts_up_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CHUNK_IMAGES", 20)
    seen: list[tuple[int, int]] = []
    prepare(Noise(broken=1), cache=tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(20, 50), (40, 50), (50, 50)]


def test_the_default_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))
    assert prepare(Noise()).path.parent == tmp_path / "stores"


# --- unreadable images -------------------------------------------------------------------------------------


def test_unreadable_images_are_left_out_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    store = prepare(Noise(broken=2), cache=tmp_path)
    assert np.array_equal(store.images, NOISE[2:])
    assert store.labels is not None and store.labels[0] == 2 and store.factors["angle"][0] == 2 / 49
    assert store.skipped[1:] == (("image 0", "it is broken"), ("image 1", "it is broken"))


def test_ten_fewer_images_still_make_a_readable_file(tmp_path: Path) -> None:
    """The header shrinks from 50 to 1 image, from two digits to one."""
    store = prepare(Noise(broken=49), Preparation(max_unreadable=1), cache=tmp_path)
    assert np.array_equal(store.images, NOISE[49:])


def test_too_many_unreadable_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(Noise(broken=10), cache=tmp_path)
    message = "noise: 10 of 50 images (20.0%) cannot be read (image 0: it is broken; image 1: it is broken; image 2: "
    assert str(caught.value).startswith(message)
    assert "allow more with --preparation.max_unreadable (now 0.05)" in str(caught.value)
    assert contents(tmp_path) == []
    assert len(prepare(Noise(broken=10), Preparation(max_unreadable=0.2), cache=tmp_path)) == 40


@pytest.mark.parametrize("preparation", [Preparation(max_unreadable=1), Preparation(max_unreadable=1, channels="rgb")])
def test_no_readable_image_at_all_is_refused(tmp_path: Path, preparation: Preparation) -> None:
    with pytest.raises(DataError, match=r"50 of 50 images \(100\.0%\) cannot be read"):
        prepare(Noise(broken=50), preparation, cache=tmp_path)


def test_every_kind_of_broken_file_costs_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for i in range(40):
        save(folder / f"good{i}.png", Image.new("RGB", (16, 16), (i, 0, 0)))
    photo = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(photo, "JPEG")
    (folder / "cut.jpg").write_bytes(photo.getvalue()[:1000])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("once upon a time")
    store = prepare(Folder(path=folder), Preparation(max_unreadable=0.1), cache=tmp_path / "cache")
    assert len(store) == 40
    assert [name for name, _ in store.skipped] == ["cut.jpg", "empty.png", "text.png"]


# --- size and channels -------------------------------------------------------------------------------------


def test_size_as_given_beats_the_native_one(tmp_path: Path) -> None:
    store = prepare(Noise(), Preparation(size=(12, 4)), cache=tmp_path)
    assert store.images.shape == (50, 12, 4, 3) and str(store.spec).startswith("4x12 (width x height) RGB")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(28, 28)] * 3, (28, 28)),
        ([(64, 48)] * 3, (64, 48)),
        ([(128, 100)] * 3, (128, 100)),
        ([(1024, 768)] * 3, (128, 128)),
        ([(218, 178)] * 3, (128, 128)),
        ([(50, 40), (60, 70), (35, 33)], (32, 32)),
        ([(100, 100), (120, 110), (2000, 3000)], (96, 96)),
        ([(5, 6), (7, 4)], (8, 8)),
    ],
)
def test_the_proposed_size(sizes: list[Size], expected: Size) -> None:
    assert propose_size(sizes) == expected


def facts(**changes: Any) -> Facts:
    return Facts(**{"size": (8, 8), "mode": "RGB", "format": "PNG", "coloured": False, "transparent": False} | changes)


def test_the_proposed_channels() -> None:
    gray, colour, clear = facts(), facts(coloured=True), facts(coloured=True, transparent=True)
    assert propose_channels([gray, gray]) == 1
    assert propose_channels([gray, gray, colour]) == 3
    assert propose_channels([clear, colour, colour]) == 3
    assert propose_channels([clear, clear, gray]) == 4


def test_gray_in_colour_files_is_gray_and_opaque_alpha_is_none() -> None:
    gray = Image.effect_noise((8, 8), 50)
    assert not inspect_image(gray.convert("RGB")).coloured
    assert inspect_image(Image.new("RGB", (8, 8), (9, 9, 10))).coloured
    assert not inspect_image(gray.convert("RGBA")).transparent
    assert inspect_image(Image.new("RGBA", (8, 8), (0, 0, 0, 254))).transparent
    assert inspect_image(NOISE[0]) == facts(size=(6, 8), format="array", coloured=True)
    assert inspect_image(Image.new("I;16", (8, 4))) == facts(
        size=(4, 8), mode="I;16", format="array", span=Span(0, 0, False)
    )


@pytest.mark.parametrize(("channels", "expected"), [("auto", 1), ("gray", 1), ("rgb", 3), ("rgba", 4)])
def test_channels_are_found_or_chosen(tmp_path: Path, channels: Any, expected: int) -> None:
    for i in range(3):
        save(tmp_path / "images" / f"{i}.png", Image.new("RGB", (40, 30 + i), (i, i, i)))
    store = prepare(Folder(path=tmp_path / "images"), Preparation(channels=channels), cache=tmp_path / "cache")
    assert store.images.shape == (3, 16, 16, expected)


def test_a_large_jpeg_is_decoded_for_the_size_that_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "images" / "a.jpg", Image.new("RGB", (900, 1000), "red"))
    asked: list[Size | None] = []
    records = Folder.records

    def spy(self: Folder, size: Size | None = None) -> Records:
        asked.append(size)
        return records(self, size)

    monkeypatch.setattr(Folder, "records", spy)
    assert prepare(Folder(path=tmp_path / "images"), cache=tmp_path / "cache").images.shape == (1, 128, 128, 3)
    assert asked == [None, (128, 128)]


def test_a_preparation_is_checked() -> None:
    assert Preparation(size=[48, 64]).size == (48, 64)  # type: ignore[arg-type]
    for wrong in ({"size": (0, 4)}, {"fit": "squash"}, {"channels": "cmyk"}, {"max_unreadable": 2}):
        with pytest.raises(ConfigError):
            Preparation(**wrong)  # type: ignore[arg-type]


# --- opening -----------------------------------------------------------------------------------------------


def test_a_missing_or_damaged_store_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no usable store"):
        Store.open(tmp_path / "nothing")
    path = prepare(Noise(), cache=tmp_path).path
    about = (path / "store.json").read_text()
    images = (path / "images.npy").read_bytes()
    for file, content in (
        ("store.json", b"{"),
        ("store.json", b"[]"),
        ("store.json", about.replace('"digest"', '"dig"').encode()),
        ("store.json", about.replace('"num_images": 50', '"num_images": 49').encode()),
        ("images.npy", images[:-1]),
        ("images.npy", b""),
    ):
        (path / file).write_bytes(content)
        with pytest.raises(DataError, match="delete it and prepare the data again"):
            Store.open(path)
        (path / "store.json").write_text(about)
        (path / "images.npy").write_bytes(images)
    (path / "labels.npy").unlink()
    with pytest.raises(DataError, match="no usable store"):
        Store.open(path)


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    path = prepare(Noise(), cache=tmp_path).path
    about = unseal((path / "store.json").read_text()) | {"format": 1}
    (path / "store.json").write_text(seal(about))
    with pytest.raises(DataError, match="format 1, expected 2"):
        Store.open(path)


# --- memory ------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    png = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(png, "PNG")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(3000):
            archive.writestr(f"{i}.png", png.getvalue())
    source = Folder(path=tmp_path / "x.zip")
    tracemalloc.start()
    store = prepare(source, cache=tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.images.nbytes > 36_000_000 and peak < 30_000_000


def test_map_in_order_is_ordered_lazy_and_passes_errors_on() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            asked.append(i)
            yield i

    results = map_in_order(lambda i: 1 / (i - 500), items())
    assert next(results) == -1 / 500 and len(asked) < 40
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert list(map_in_order(str, range(100))) == [str(i) for i in range(100)]


def test_the_sample_leaves_unreadable_images_out() -> None:
    found, failed = survey.survey(Noise(broken=1).records(), range(3))
    assert len(found) == 2 and failed == [("image 0", "it is broken")]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("GANSMITH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match="no home folder; set GANSMITH_CACHE"):
        cache_folder()
