"""GTSRB in three layouts, as folder and as zip, with and without its regions of interest."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.data import gtsrb
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.source import Records
from gansmith.download import RemoteFile
from gansmith.errors import ConfigError, DataError, UnreadableImage

LABELS, TRACKS, FRAMES = (0, 14, 42), 3, 2  # classes, tracks of each, frames of each
NUM = len(LABELS) * TRACKS * FRAMES
WIDTH, HEIGHT = 12, 10
BOX = (2, 3, 11, 9)  # left, top, right, bottom


def pixels(label: int, track: int, frame: int) -> np.ndarray:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[3:9, 2:11] = (label, 10 * track, 100 * frame + 50)  # the sign fills its region
    return image


def encoded(label: int, track: int, frame: int, suffix: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(label, track, frame)).save(stream, {"ppm": "PPM", "png": "PNG"}[suffix])
    return stream.getvalue()


ALL = [(label, track, frame) for label in LABELS for track in range(TRACKS) for frame in range(FRAMES)]
REGION = f"{WIDTH}{{0}}{HEIGHT}{{0}}{BOX[0]}{{0}}{BOX[1]}{{0}}{BOX[2]}{{0}}{BOX[3]}{{0}}"
COLUMNS = "Width{0}Height{0}Roi.X1{0}Roi.Y1{0}Roi.X2{0}Roi.Y2{0}ClassId"


def official(folder: str) -> dict[str, bytes]:
    files = {f"{folder}/{c:05}/{t:05}_{f:05}.ppm": encoded(c, t, f, "ppm") for c, t, f in ALL}
    for label in LABELS:
        rows = [f"{t:05}_{f:05}.ppm;{REGION.format(';')}{c}" for c, t, f in ALL if c == label]
        table = "\r\n".join([f"Filename;{COLUMNS.format(';')}", *rows, ""])
        files[f"{folder}/{label:05}/GT-{label:05}.csv"] = table.encode()
    return files


def kaggle(folder: str = "Train") -> dict[str, bytes]:
    paths = {(c, t, f): f"Train/{c}/{c:05}_{t:05}_{f:05}.png" for c, t, f in ALL}
    files = {path.replace("Train", folder, 1): encoded(*key, "png") for key, path in paths.items()}
    rows = [f"{REGION.format(',')}{key[0]},{path}" for key, path in paths.items()]
    files["Train.csv"] = "\n".join([f"{COLUMNS.format(',')},Path", *rows, ""]).encode()
    files["Test/00000.png"] = files["Meta/0.png"] = encoded(0, 0, 0, "png")
    files["Test.csv"] = files["Meta.csv"] = b"Path\n"
    return files


LAYOUTS = {
    "official": official("GTSRB/Final_Training/Images"),
    "fixed": official("GTSRB/Training"),
    "kaggle": kaggle(),
}
INSIDE = {"official": "GTSRB/Final_Training/Images", "fixed": "GTSRB", "kaggle": "Train"}


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack(files: dict[str, bytes], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def place(layout: str, form: str, tmp_path: Path) -> Path:
    files = LAYOUTS[layout]
    if form == "zip":
        return pack(files, tmp_path / "set.zip")
    if form == "folder of a zip":
        return pack(files, tmp_path / "GTSRB_set.zip").parent
    return unpack(files, tmp_path / "set") / (INSIDE[layout] if form == "inside" else "")


def content(records: Records) -> dict[tuple[int, int, bytes], str]:
    """Label, group and pixels of every image."""
    assert records.labels is not None and records.groups is not None
    keys = [
        (int(label), int(group), np.asarray(records.read(index)).tobytes())
        for index, (label, group) in enumerate(zip(records.labels, records.groups, strict=True))
    ]
    return dict(zip(keys, records.names, strict=True))


@pytest.mark.parametrize("roi", [False, True])
@pytest.mark.parametrize("form", ["folder", "zip", "folder of a zip", "inside"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(tmp_path: Path, layout: str, form: str, roi: bool) -> None:
    records = Gtsrb(root=place(layout, form, tmp_path), roi=roi).records()
    left, top, right, bottom = BOX if roi else (0, 0, WIDTH, HEIGHT)
    expected = {(c, c * 100_000 + t, pixels(c, t, f)[top:bottom, left:right].tobytes()) for c, t, f in ALL}
    assert len(records) == NUM
    assert set(content(records)) == expected
    assert records.class_names == GTSRB_CLASSES and records.class_names[14] == "stop"
    assert records.skipped == () and records.notes == ()


def test_the_split_is_by_track_and_keeps_every_class_on_both_sides(tmp_path: Path) -> None:
    root = unpack(LAYOUTS["official"], tmp_path)
    train, held_out, both = (Gtsrb(root=root, split=split).records() for split in ("train", "held-out", "all"))
    assert train.groups is not None and held_out.groups is not None
    assert not set(train.groups) & set(held_out.groups)
    assert set(train.labels) == set(held_out.labels) == set(LABELS)
    assert len(set(held_out.groups)) == len(LABELS)  # a tenth of three tracks, but at least one
    assert sorted([*train.names, *held_out.names]) == sorted(both.names)
    assert len({train.fingerprint, held_out.fingerprint, both.fingerprint}) == 3


def test_all_copies_are_split_alike(tmp_path: Path) -> None:
    groups = []
    for layout in LAYOUTS:
        records = Gtsrb(root=place(layout, "zip", tmp_path / layout), split="held-out", held_out=0.6).records()
        groups.append(sorted(records.groups))
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups[0])) == 2 * len(LABELS)  # 0.6 of three tracks


def test_held_out_leaves_a_track_to_train_on(tmp_path: Path) -> None:
    root = unpack(LAYOUTS["kaggle"], tmp_path)
    assert set(Gtsrb(root=root, split="train", held_out=0.99).records().labels) == set(LABELS)
    with pytest.raises(ConfigError, match=r"Gtsrb\.held_out: 1\.0 is out of range"):
        Gtsrb(held_out=1.0)


def test_a_class_with_one_track_is_only_trained_on(tmp_path: Path) -> None:
    files = {name: data for name, data in LAYOUTS["kaggle"].items() if "_00000_" in name or "Train/0/" in name}
    root = unpack(files, tmp_path / "set")
    assert set(Gtsrb(root=root, split="held-out").records().labels) == {0}
    assert set(Gtsrb(root=root, split="train").records().labels) == set(LABELS)
    single = unpack({name: data for name, data in files.items() if "_00000_" in name}, tmp_path / "single")
    with pytest.raises(DataError, match="no class has two tracks, so none can be held out"):
        Gtsrb(root=single, split="held-out").records()


def test_of_several_copies_the_largest_is_read_and_the_rest_named(tmp_path: Path) -> None:
    small = {name: data for name, data in official("GTSRB/Training").items() if "00000" in name.split("/")[2]}
    root = unpack({**small, **LAYOUTS["official"]}, tmp_path / "both")
    records = Gtsrb(root=root).records()
    assert len(records) == NUM and all("Final_Training" in name for name in records.names)
    assert records.notes == (f"{root}: {TRACKS * FRAMES} more images in GTSRB/Training are not read",)
    twice = pack({**kaggle("train"), **kaggle()}, tmp_path / "twice" / "archive.zip")
    records = Gtsrb(root=twice.parent, roi=True).records()
    assert len(records) == NUM and all(name.startswith("Train/") for name in records.names)
    assert records.notes == (f"{twice}: {NUM} more images in train are not read",)


def test_files_that_are_no_frames_are_named(tmp_path: Path) -> None:
    root = unpack({**LAYOUTS["kaggle"], "Train/14/mine.png": b"", "readme.txt": b""}, tmp_path)
    records = Gtsrb(root=root).records()
    assert len(records) == NUM
    assert records.skipped == (("Train/14/mine.png", "not named like 00000_00000.ppm (track, frame)"),)


def test_without_a_table_there_are_labels_but_no_regions(tmp_path: Path) -> None:
    files = {name: data for name, data in LAYOUTS["official"].items() if not name.endswith("GT-00014.csv")}
    root = unpack(files, tmp_path)
    assert len(Gtsrb(root=root).records()) == NUM
    with pytest.raises(
        DataError, match=r"no region of interest for 6 images, first .*/00014/00000_00000\.ppm; .*roi fal"
    ):
        Gtsrb(root=root, roi=True).records()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            (b";12;10;", b";12;8;"),
            r"line 2: the region 2,3 to 11,9 is not inside 12x8 .width x height.; expected Filename",
        ),
        ((b";2;3;11;9;", b";2;3;2;9;"), r"the region 2,3 to 2,9 is not inside"),
        ((b";12;10;", b";twelve;10;"), r"GT-00000\.csv: line 2: invalid literal"),
        ((b"Roi.X1", b"Roi"), r"line 2: 'Roi\.X1'; expected Filename or Path, ClassId, Width"),
        ((b";0\r\n", b"\r\n"), r"line 2: int\(\) argument"),
    ],
)
def test_damaged_tables_are_refused_with_their_line(tmp_path: Path, change: tuple[bytes, bytes], expected: str) -> None:
    name = "GTSRB/Final_Training/Images/00000/GT-00000.csv"
    files = dict(LAYOUTS["official"])
    files[name] = files[name].replace(*change)
    root = pack(files, tmp_path / "gtsrb.zip")
    assert len(Gtsrb(root=root).records()) == NUM
    with pytest.raises(DataError, match=expected) as refused:
        Gtsrb(root=root, roi=True).records()
    assert str(refused.value).startswith(f"{root}: {name}: ") and "\n" not in str(refused.value)


def test_a_resized_image_has_lost_its_region(tmp_path: Path) -> None:
    files = dict(LAYOUTS["kaggle"])
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    files["Train/0/00000_00000_00000.png"] = stream.getvalue()
    records = Gtsrb(root=unpack(files, tmp_path), roi=True).records()
    with pytest.raises(UnreadableImage, match="its size is 32x32, but the table says 12x10"):
        records.read(records.names.index("Train/0/00000_00000_00000.png"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_image_is_unreadable(tmp_path: Path, packed: bool) -> None:
    files = {**LAYOUTS["kaggle"], "Train/0/00000_00000_00000.png": b"no image"}
    records = Gtsrb(root=pack(files, tmp_path / "a.zip") if packed else unpack(files, tmp_path)).records()
    with pytest.raises(UnreadableImage):
        records.read(0)


def test_a_class_that_gtsrb_has_not_is_refused(tmp_path: Path) -> None:
    root = unpack({"Train/43/00043_00000_00000.png": encoded(43, 0, 0, "png")}, tmp_path)
    with pytest.raises(DataError, match=r"Train/43/00043_00000_00000\.png has class 43, expected 0 to 42"):
        Gtsrb(root=root).records()


def test_nothing_there_says_what_to_put_where(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(0, 0, 0, "png"))
    with pytest.raises(DataError, match=r"gtsrb: no images like .* put GTSRB_Final_Training_Images\.zip there"):
        Gtsrb(root=tmp_path).records()
    with pytest.raises(DataError, match="no such folder or zip"):
        Gtsrb(root=tmp_path / "nowhere").records()


def test_without_a_root_the_pinned_archive_is_fetched_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(LAYOUTS["official"], tmp_path / "web.zip")

    def fetch(file: RemoteFile, folder: Path) -> Path:
        assert (file.name, folder) == ("GTSRB_Final_Training_Images.zip", tmp_path / "cache" / "gtsrb")
        return path

    monkeypatch.setattr(gtsrb, "fetch", fetch)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    assert len(Gtsrb().records()) == NUM


def test_the_classes() -> None:
    assert len(GTSRB_CLASSES) == len(set(GTSRB_CLASSES)) == 43
    assert Gtsrb().kind == "signs"


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_the_real_frames() -> None:
    root = Path(os.environ["GANSMITH_DATA"]) / "gtsrb"
    whole, cropped = Gtsrb(root=root).records(), Gtsrb(root=root, roi=True).records()
    assert len(whole) == len(cropped) == 13_070
    assert set(whole.labels) == set(range(43)) and len(set(whole.groups)) == 1307
    assert whole.skipped == () and whole.notes == ()
    sizes = [np.asarray(records.read(0)).shape for records in (whole, cropped)]
    assert sizes == [(30, 29, 3), (19, 19, 3)]  # the region 5,6 to 24,25 of 29x30


@pytest.mark.parametrize(("layout", "form"), [("official", "folder"), ("official", "zip"), ("kaggle", "folder")])
def test_a_table_beyond_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, form: str
) -> None:
    root = place(layout, form, tmp_path)
    for path in tmp_path.rglob("Train"):
        root = path  # the table lies outside
    monkeypatch.setattr(gtsrb, "TABLE_LIMIT", 10)
    with pytest.raises(DataError, match=r"\.csv: more than the limit of 10 bytes"):
        Gtsrb(root=root, roi=True).records()


# --- the official test set ---------------------------------------------------------------------------------

TESTED = (42, 0, 14, 0)  # classes of the test images, by number
ROWS = "\n".join(f"{i:05}.ppm;{REGION.format(';')}{label}" for i, label in enumerate(TESTED))
TEST_TABLE = f"Filename;{COLUMNS.format(';')}\n{ROWS}\n".encode()
TEST_PICTURES = {i: encoded(label, i, 0, "ppm") for i, label in enumerate(TESTED)}
OFFICIAL_TEST = {
    **{f"GTSRB/Final_Test/Images/{i:05}.ppm": data for i, data in TEST_PICTURES.items()},
    "GTSRB/Final_Test/Images/GT-final_test.test.csv": b"Filename;Width;Height\n",
}


def kaggle_test() -> dict[str, bytes]:
    rows = "\n".join(f"{REGION.format(',')}{label},Test/{i:05}.png" for i, label in enumerate(TESTED))
    pictures = {f"Test/{i:05}.png": encoded(label, i, 0, "png") for i, label in enumerate(TESTED)}
    return {**kaggle(), **pictures, "Test.csv": f"{COLUMNS.format(',')},Path\n{rows}\n".encode()}


@pytest.mark.parametrize("form", ["zips", "folder", "kaggle"])
@pytest.mark.parametrize("roi", [False, True])
def test_the_official_test_set_is_read_packed_or_not(form: str, roi: bool, tmp_path: Path) -> None:
    if form == "zips":
        pack(official("GTSRB/Final_Training/Images"), tmp_path / "GTSRB_Final_Training_Images.zip")
        pack(OFFICIAL_TEST, tmp_path / "GTSRB_Final_Test_Images.zip")
        pack({"GT-final_test.csv": TEST_TABLE}, tmp_path / "GTSRB_Final_Test_GT.zip")
    elif form == "folder":
        unpack({**official("GTSRB/Final_Training/Images"), **OFFICIAL_TEST, "GT-final_test.csv": TEST_TABLE}, tmp_path)
    else:
        pack(kaggle_test(), tmp_path / "archive.zip")
    source = Gtsrb(root=tmp_path, split="test", roi=roi)
    assert source.has_test()
    records = source.records()
    assert records.labels is not None and records.labels.tolist() == list(TESTED)
    assert records.groups is None and records.class_names == GTSRB_CLASSES
    for i, label in enumerate(TESTED):
        whole = pixels(label, i, 0)
        wanted = whole[BOX[1] : BOX[3], BOX[0] : BOX[2]] if roi else whole
        assert np.array_equal(np.asarray(records.read(i)), wanted)
    assert len(Gtsrb(root=tmp_path).records()) == NUM  # the training images are still found


def test_a_missing_or_incomplete_test_set_is_named(tmp_path: Path) -> None:
    unpack(official("GTSRB/Final_Training/Images"), tmp_path)
    source = Gtsrb(root=tmp_path, split="test")
    assert not source.has_test() and not Gtsrb(split="test").has_test()
    with pytest.raises(DataError, match=r"no test set in .*; put GTSRB_Final_Test_Images.zip and .* there"):
        source.records()
    unpack(OFFICIAL_TEST, tmp_path)
    assert not source.has_test()  # images without classes
    unpack({"GT-final_test.csv": TEST_TABLE.rpartition(b"00003")[0]}, tmp_path)
    with pytest.raises(DataError, match=r"has no row for 1 test images, first 00003.ppm"):
        source.records()
