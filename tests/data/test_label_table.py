"""Labels from a table beside the images: read as people keep them, and what is not understood is said in a line."""

from __future__ import annotations

import io
import json
import os
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gansmith.cli import main
from gansmith.data import tables as tables_module
from gansmith.data.folder import Folder
from gansmith.data.source import Records
from gansmith.data.store import Preparation, prepare
from gansmith.errors import DataError

PETS = ("cat", "dog")
ROWS = [(f"{i}.png", PETS[i % 2]) for i in range(4)]
WANTED = dict(ROWS)


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), shade).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["data", "data.zip"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


def write(path: Path, images: list[str], texts: Mapping[str, str | bytes]) -> Path:
    """Images of these names and other files, in a folder or zip."""
    contents = {name: png(9 * i) for i, name in enumerate(images)}
    contents |= {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return path
    for name, data in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def csv(*rows: tuple[Any, ...], separator: str = ",") -> str:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows)


def flat(path: Path, name: str, text: str | bytes) -> Path:
    return write(path, list(WANTED), {name: text})


def labelled(records: Records) -> dict[str, str]:
    assert records.labels is not None, records.notes
    return {name: records.class_names[label] for name, label in zip(records.names, records.labels, strict=True)}


def refusal(path: Path, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        Folder(path=path, **fields).records()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- conventions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["labels.csv", "Labels.CSV", "trainLabels.csv", "train_labels.csv", "train.csv", "metadata.csv", "data.csv"],
)
def test_usual_names_are_read(name: str, place: Path) -> None:
    records = Folder(path=flat(place, name, csv(("id", "label"), *ROWS))).records()
    assert labelled(records) == WANTED and records.class_names == PETS
    assert records.notes == (f"labels are from {name} (columns id, label)",)
    assert records.skipped == ()  # the table was read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.tsv", csv(("file", "class"), *ROWS, separator="\t")),
        ("labels.csv", csv(("file", "class"), *ROWS, separator=";")),
        ("labels.csv", csv(("file", "class"), *ROWS, separator="\t")),
        ("labels.csv", "sep=;\r\n" + csv(("x", "file", "class"), *((0, *row) for row in ROWS), separator=";")),
        ("labels.csv", b"\xef\xbb\xbf" + csv(("file", "class"), *ROWS).replace("\n", "\r\n").encode()),
        ("labels.csv", csv(("file", "class"), *((f'"{file}"', f' "{kind}"') for file, kind in ROWS))),
        ("labels.csv", csv(*ROWS)),
        ("labels.csv", csv(*((kind, file) for file, kind in ROWS))),
        ("labels.csv", csv(("", "label"), *ROWS)),
        ("labels.csv", csv(("", "Image Name", "Class"), *((i, *row) for i, row in enumerate(ROWS)))),
        ("labels.csv", csv(("foto", "art"), *ROWS)),
        ("labels.csv", csv(("foto", "art"), *ROWS) + "\n,\n\n"),
        ("labels.txt", csv(*ROWS, separator="  ")),
        ("labels.txt", csv(*ROWS, separator="\t")),
        ("train_labels.txt", csv(*ROWS)),
        ("metadata.jsonl", "\n".join(json.dumps({"file_name": file, "label": kind}) for file, kind in ROWS)),
        ("labels.jsonl", "\n".join(json.dumps({"w": [1], "image": file, "class": kind}) for file, kind in ROWS)),
    ],
)
def test_usual_forms_are_read(name: str, text: str | bytes, place: Path) -> None:
    assert labelled(Folder(path=flat(place, name, text)).records()) == WANTED


@pytest.mark.parametrize(
    ("images", "table", "spell"),
    [
        ("train/{}.png", "trainLabels.csv", "{}"),  # Kaggle's CIFAR-10
        ("train/{}.jpg", "labels.csv", "{}"),  # Kaggle's dog breeds
        ("train/{}.png", "train/metadata.csv", "{}.png"),  # Hugging Face's image folder
        ("train/{}.png", "metadata.jsonl", "train/{}.png"),
        ("train/{}.png", "train.csv", "{}.png"),
        ("images/{}.png", "labels.csv", "{}.png"),
        ("images/{}.png", "labels.csv", "images\\{}.png"),
        ("images/{}.png", "labels.csv", "./images/{}"),
        ("a/images/{}.png", "a/labels.csv", "a/images/{}.png"),
        ("{}.png", "labels.csv", "/home/someone/set/{}.png"),
        ("images/{}.png", "labels.csv", "C:\\set\\images\\{}.png"),
        ("part_1/x{}.png", "labels.csv", "../data/part_1/x{}.png"),
    ],
)
def test_paths_begin_here_or_there(images: str, table: str, spell: str, place: Path) -> None:
    names = [images.format(i) for i in range(4)]
    rows = [(spell.format(i), PETS[i % 2]) for i in range(4)]
    header = ("file_name" if "metadata" in table else "id", "label")
    text = csv(header, *rows)
    if table.endswith("jsonl"):
        text = "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows)
    records = Folder(path=write(place, names, {table: text})).records()
    assert labelled(records) == {name: PETS[i % 2] for i, name in enumerate(names)}


def test_ids_of_images_in_several_folders_are_found(place: Path) -> None:
    names = ["part_1/a.png", "part_1/b.png", "part_2/c.png", "part_2/d.png", "e.png"]
    text = csv(("image_id", "target"), *((name[-5], i % 2) for i, name in enumerate(names)))
    assert labelled(Folder(path=write(place, names, {"metadata.csv": text})).records()) == {
        name: str(i % 2) for i, name in enumerate(names)
    }


def test_decomposed_unicode_is_the_same_name(place: Path) -> None:
    decomposed, composed = unicodedata.normalize("NFD", "überholen"), unicodedata.normalize("NFC", "überholen")
    names = [f"{form}{i}.png" for i in range(2) for form in (decomposed, "b")]
    rows = [(f"{composed}0.png", composed), (f"{composed}1.png", decomposed), ("b0", "b"), ("b1", "b")]
    records = Folder(path=write(place, names, {"labels.csv": csv(("file", "label"), *rows)})).records()
    assert records.class_names == ("b", composed)


def test_other_columns_may_stand_beside(place: Path) -> None:
    text = csv(("width", "file_name", "license", "label"), *((8, file, "MIT", kind) for file, kind in ROWS))
    assert labelled(Folder(path=flat(place, "metadata.csv", text)).records()) == WANTED


def test_a_column_of_splits_is_said_not_to_be_read(place: Path) -> None:
    text = csv(("file", "label", "split"), *((*row, "train") for row in ROWS))
    assert "column split of labels.csv is not read" in Folder(path=flat(place, "labels.csv", text)).records().notes[1]


# --- classes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("10 2 10 2", ("2", "10")),
        ("00014 1 00014 1", ("1", "00014")),
        ("1 01 2 2.0", ("1", "2")),
        ("-1 1 -1 1", ("-1", "1")),
        ("b10 b9 b10 b9", ("b9", "b10")),
        ("1 a 1 a", ("1", "a")),
        ("New_York New_York York York", ("New_York", "York")),
    ],
)
def test_numbers_are_compared_and_sorted_by_value(labels: str, classes: tuple[str, ...], place: Path) -> None:
    rows = [(f"{i}.png", label.replace("_", " ")) for i, label in enumerate(labels.split())]
    found = Folder(path=flat(place, "labels.csv", csv(("id", "label"), *rows))).records().class_names
    assert found == tuple(name.replace("_", " ") for name in classes)


@pytest.mark.parametrize("values", [[0, 1], [False, True], [2.0, 3.0]])
def test_values_of_json_are_classes(values: list[Any], place: Path) -> None:
    text = "\n".join(json.dumps({"file_name": f"{i}.png", "label": values[i % 2]}) for i in range(4))
    names = Folder(path=flat(place, "metadata.jsonl", text)).records().class_names
    assert names == tuple(json.dumps(value).removesuffix(".0") for value in values)


def test_classes_that_differ_in_capitals_alone_are_named(place: Path) -> None:
    rows = [("0", "Cat"), ("1", "cat"), ("2", "cat"), ("3", "Cat")]
    notes = Folder(path=flat(place, "labels.csv", csv(("id", "label"), *rows))).records().notes
    assert "the classes Cat, cat differ only in upper and lower case" in notes


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("cat cat cat cat", "has only one label (cat)"),
        ("a b c d", "4 labels for 4 images"),
        ("0.5 1 0.5 1", "are amounts such as 0.5"),
    ],
)
def test_labels_that_are_no_classes_are_said(labels: str, said: str, place: Path) -> None:
    rows = [(i, label) for i, label in enumerate(labels.split())]
    path = flat(place, "labels.csv", csv(("id", "label"), *rows))
    records = Folder(path=path).records()
    assert records.labels is None and said in records.notes[0]
    if "one label" in said:
        assert "--data.labels none" in refusal(path, labels="table")
    else:
        assert set(Folder(path=path, labels="table").records().class_names) == set(labels.split())


@pytest.mark.parametrize("label", ["0 1 0", "[0, 1]", "a b", "a;b", "{'x': 1}"])
def test_several_labels_an_image_name_the_remedy(label: str, place: Path) -> None:
    text = csv(("id", "label"), ("0.png", f'"{label}"'), ("1.png", "a"), ("2.png", "b"), ("3.png", "a"))
    message = refusal(flat(place, "labels.csv", text))
    assert "labels.csv: line 2: the label of 0.png is" in message and "--data.labels none" in message


def test_a_vector_in_json_names_the_remedy(place: Path) -> None:
    text = "\n".join(json.dumps({"file_name": f"{i}.png", "label": [i % 2]}) for i in range(4))
    path = flat(place, "metadata.jsonl", text)
    assert "line 1: the label of 0.png is [0]; expected one class per image; train without" in refusal(path)
    assert Folder(path=path, labels="none").records().labels is None


# --- columns -----------------------------------------------------------------------------------------------


def test_several_columns_of_labels_are_asked_about(place: Path) -> None:
    text = csv(("id", "species", "breed"), *((i, PETS[i % 2], i // 2) for i in range(4)))
    path = flat(place, "labels.csv", text)
    assert "columns breed, species may all be the labels; choose with --data.label_column" in refusal(path)
    assert labelled(Folder(path=path, label_column="species").records()) == WANTED
    assert Folder(path=path, label_column="Breed").records().class_names == ("0", "1")


def test_a_column_of_names_and_one_of_their_numbers_are_one(place: Path) -> None:
    text = csv(("class_id", "id", "class name"), *((i % 2, file, kind) for i, (file, kind) in enumerate(ROWS)))
    assert labelled(Folder(path=flat(place, "labels.csv", text)).records()) == WANTED


def test_columns_are_named_by_options(place: Path) -> None:
    rows = [(10 + i, file, "x", kind) for i, (file, kind) in enumerate(ROWS)]
    path = flat(place, "labels.csv", csv(("id", "foto", "wer", "art"), *rows))
    records = Folder(path=path).records()
    assert records.labels is None and "no column has a usual name for labels (id, foto, wer, art)" in records.notes[0]
    assert "no column is called 'arts'; did you mean 'art'?" in refusal(path, label_column="arts")
    assert "none of its 4 rows names an image here" in refusal(path, label_column="art")
    assert labelled(Folder(path=path, name_column="foto", label_column="art").records()) == WANTED


def test_columns_without_a_header_are_numbered(place: Path) -> None:
    path = flat(place, "labels.csv", csv(*((file, 7, kind) for file, kind in ROWS)))
    assert "no column has a usual name for labels (1, 2, 3)" in Folder(path=path).records().notes[0]
    assert labelled(Folder(path=path, label_column="3").records()) == WANTED


def test_columns_of_json_need_not_be_in_the_first_line(place: Path) -> None:
    rows = [{"file_name": "9.png"}, *({"file_name": file, "label": kind} for file, kind in ROWS)]
    path = flat(place, "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    assert labelled(Folder(path=path).records()) == WANTED


def test_control_codes_of_a_header_reach_no_terminal(place: Path) -> None:
    rows = [(*row, 0) for row in ROWS]
    path = flat(place, "labels.csv", csv(("id", "\x1b[31mred", "\x1b]0;x"), *rows))
    assert "(id, \\x1b[31mred, \\x1b]0;x)" in Folder(path=path).records().notes[0]
    notes = Folder(path=path, label_column="31mred").records().notes
    assert notes == ("labels are from labels.csv (columns id, \\x1b[31mred)",)
    assert "\x1b" not in refusal(path, label_column="green")


def test_captions_are_no_labels(place: Path) -> None:
    rows = [(file, f"a {kind}") for file, kind in ROWS]
    records = Folder(path=flat(place, "metadata.csv", csv(("file_name", "text"), *rows))).records()
    assert records.labels is None and "(file_name, text); choose it with --data.label_column" in records.notes[0]


def test_sizes_are_no_labels(place: Path) -> None:
    text = csv(("file_name", "width"), *((file, 8 + i % 2) for i, (file, _) in enumerate(ROWS)))
    assert Folder(path=flat(place, "metadata.csv", text)).records().labels is None


def test_two_columns_of_one_name_are_refused(place: Path) -> None:
    path = flat(place, "labels.csv", csv(("id", "kind", "kind"), *((*row, 1) for row in ROWS)))
    assert "2 columns are called 'kind'" in refusal(path, label_column="kind")


# --- rows and images that do not meet ----------------------------------------------------------------------


def test_images_without_a_row_are_an_error_or_left_out(place: Path) -> None:
    path = flat(place, "labels.csv", csv(("id", "label"), *ROWS[:2]))
    message = refusal(path)
    assert "labels.csv has no row for 2 of 4 images, first 2.png, 3.png; add them, or skip these images" in message
    assert "--data.labels table" in message and "--data.labels none" in message
    records = Folder(path=path, labels="table").records()
    assert labelled(records) == dict(ROWS[:2])
    assert records.notes[-1] == "2 images without a row are skipped: 2.png, 3.png"


def test_rows_without_an_image_are_counted(place: Path) -> None:
    rows = [*ROWS, ("9.png", ""), ("x/1.png", "bird")]
    records = Folder(path=flat(place, "labels.csv", csv(("id", "label"), *rows))).records()
    assert labelled(records) == WANTED
    assert records.notes[1] == "2 of 6 rows of labels.csv name no image here, first 9.png"


def test_a_table_of_other_images_is_named(place: Path) -> None:
    path = flat(place, "labels.csv", csv(("id", "label"), ("a", "b"), ("c", "d")))
    records = Folder(path=path).records()
    assert records.labels is None
    assert "labels.csv: none of its 2 rows names an image here; column id has names such as a" in records.notes[0]
    assert "none of its 2 rows" in refusal(path, labels="table")


def test_rows_that_repeat_must_agree(place: Path) -> None:
    text = csv(("id", "label"), *ROWS, ROWS[0])
    assert labelled(Folder(path=flat(place, "labels.csv", text)).records()) == WANTED
    message = refusal(flat(place, "labels.csv", text + "0,dog\n"))
    assert "labels.csv: lines 2 and 7 give 0.png different labels (cat and dog)" in message


def test_a_name_of_two_images_is_asked_about(place: Path) -> None:
    path = write(place, ["a.png", "a.jpg"], {"labels.csv": csv(("id", "label"), ("a", 1))})
    assert "labels.csv: line 2: a may be a.jpg or a.png; write its path and suffix" in refusal(path)
    whole = csv(("id", "label"), ("a.png", 1), ("a.jpg", 0))
    records = Folder(path=write(place, ["a.png", "a.jpg"], {"labels.csv": whole}), labels="table").records()
    assert labelled(records) == {"a.jpg": "0", "a.png": "1"}


def test_rows_of_another_split_are_neither_counted_nor_taken(place: Path) -> None:
    names = [f"{part}/{i}.png" for part in ("train", "test") for i in range(4)]
    text = csv(("file_name", "label"), *((name, PETS[int(name[-5]) % 2]) for name in names))
    path = write(
        place, names, {"metadata.csv": text, "testLabels.csv": csv(("id", "label"), *((i, 9) for i in "0123"))}
    )
    records = Folder(path=path).records()
    assert labelled(records) == {f"train/{file}": kind for file, kind in ROWS}
    assert not any("name no image" in note for note in records.notes)
    assert "testLabels.csv (line 2) give an image different labels, cat and 9" in refusal(path, split="all")


def test_a_table_of_the_training_images_says_nothing_of_test_images(place: Path) -> None:
    text = csv(("id", "label"), *((i, PETS[i % 2]) for i in range(4)))
    path = write(place, [f"test/{i}.png" for i in range(4)], {"trainLabels.csv": text})
    records = Folder(path=path).records()
    assert records.labels is None and "trainLabels.csv may contain labels and is not read" in records.notes[0]


# --- malformed tables --------------------------------------------------------------------------------------

HEAD = "id,label\n0.png,cat\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("labels.csv", HEAD + "1.png,\n", "line 3: the label of 1.png is empty"),
        ("labels.csv", HEAD + "1.png,NaN\n", "line 3: the label of 1.png is empty"),
        ("labels.csv", HEAD + ",dog\n", "line 3: the name of the image is empty"),
        ("labels.csv", HEAD.encode() + "1.png,Häher\n".encode("latin-1"), "line 3: not UTF-8 (byte 0xe4)"),
        ("labels.csv", HEAD.encode("utf-16"), "line 1: not UTF-8 (byte 0xff)"),
        ("labels.csv", HEAD + "1.png,d\0g\n", "line 3: a NUL character"),
        ("labels.csv", HEAD + '1.png,"dog\n2.png,cat\n', "line 3: unexpected end of data"),
        ("labels.csv", HEAD + '1.png,"d"og\n', "line 3: ',' expected after '\"'"),
        ("labels.csv", HEAD + "1.png,crow, black\n", "line 3: 3 fields, expected 2 (id, label)"),
        ("labels.csv", HEAD + "1.png\n", "line 3: 1 fields, expected 2 (id, label)"),
        ("labels.csv", HEAD + f"1.png,{'x' * 200_000}\n", "line 3: field larger than field limit"),
        ("labels.csv", HEAD + f"1.png,{'x' * 300}\n", "expected at most 255 printable characters"),
        ("labels.csv", HEAD + '1.png,"a\nb"\n', "expected at most 255 printable characters"),
        ("labels.csv", HEAD + ",".join("x" * 2_000_000), "line 3: the row has more than 1,048,576 characters"),
        ("labels.csv", "", "the table is empty"),
        ("labels.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the file"),
        ("metadata.jsonl", "", "the table is empty"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": 1}\n{"file_name": ', "line 2: not JSON"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": 1}\n[1]\n', "line 2: expected an object"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": null}\n', "line 1: the label of 0.png is empty"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": NaN}\n', "line 1: the label of 0.png is empty"),
        ("metadata.jsonl", '{"file_name": "0.png", "label": "\\ud800"}\n', "printable characters"),
        ("metadata.jsonl", "[" * 100_000, "line 1: not JSON (nested"),
        ("metadata.jsonl", "{}\n", "line 1: the object is empty"),
    ],
)
def test_a_malformed_table_is_refused_in_a_line(name: str, text: str | bytes, said: str, place: Path) -> None:
    message = refusal(flat(place, name, text))
    assert f"{place}: {name}: " in message and said in message and "--data.labels none" in message
    str(message).encode()  # can be printed


def test_a_table_has_a_largest_size(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = flat(place, "labels.csv", csv(("id", "label"), *ROWS))
    monkeypatch.setattr(tables_module, "MOST_ROWS", 3)
    assert "labels.csv: line 5: more than the limit of 3 rows" in refusal(path)
    monkeypatch.setattr("gansmith.data.label_search.LARGEST_BYTES", 20)
    assert "labels.csv: more than the limit of 20 bytes" in refusal(path)


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "data", list(WANTED), {})
    (tmp_path / "elsewhere.csv").write_text(csv(("id", "label"), *ROWS))
    (path / "labels.csv").symlink_to(tmp_path / "elsewhere.csv")
    os.mkfifo(path / "metadata.csv")
    notes = Folder(path=path).records().notes
    assert "labels.csv may contain labels and is not read: a link that points outside the folder" in notes[0]
    assert "metadata.csv may contain labels and is not read: not a regular file" in notes[1]
    assert "metadata.csv: not a regular file" in refusal(path, labels_table="metadata.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "no such file" in refusal(path, labels_table="../pipe.csv")


def test_damaged_tables_are_never_a_traceback(place: Path) -> None:
    draw = np.random.default_rng(0)
    jsonl = "\n".join(json.dumps({"file_name": file, "label": kind}) for file, kind in ROWS)
    for name, text in (
        ("labels.csv", csv(("id", "label"), *ROWS)),
        ("metadata.jsonl", jsonl),
        ("labels.txt", csv(*ROWS)),
    ):
        for _ in range(40):
            data = bytearray(text.encode())
            for at in draw.integers(0, len(data), draw.integers(1, 4)):
                alien = bytes(
                    draw.choice([b"\0", b'"', b",", b"\n", b"\xff", b"[", b"{", b"9", b"", b"\xc3\xbc", b"\r"])
                )
                data[at : at + int(draw.integers(0, 3))] = alien
            try:
                records = Folder(path=flat(place, name, bytes(data))).records()
                assert records.labels is not None or records.notes
            except DataError as error:
                assert "\n" not in str(error)


# --- which table -------------------------------------------------------------------------------------------


def test_a_table_is_named_by_an_option(place: Path) -> None:
    text = csv(("id", "label"), *ROWS)
    path = flat(place, "pets.csv", text)
    records = Folder(path=path).records()
    assert records.labels is None
    assert records.notes == ("pets.csv may contain labels and is not read; --data.labels_table pets.csv reads it",)
    assert labelled(Folder(path=path, labels_table="pets.csv").records()) == WANTED
    assert "no table of labels" in refusal(write(place.with_name(f"b{place.suffix}"), ["1.png"], {}), labels="table")
    assert "no such file; expected a file in it" in refusal(path, labels_table="nothing.csv")
    assert "expected a name that ends in .csv" in refusal(path, labels_table="labels.xlsx")
    assert "--data.labels folders contradicts" in refusal(path, labels_table="pets.csv", labels="folders")


def test_a_table_outside_is_named_and_read_on_request(place: Path) -> None:
    path = write(place, [f"{i}.png" for i in range(4)], {})
    alone = Folder(path=path).records().fingerprint
    (place.parent / "dataLabels.csv").write_text(csv(("id", "label"), *ROWS))
    assert Folder(path=path).records().fingerprint != alone  # the note is kept in the store
    up = "" if place.suffix else "../"
    remedy = f"--data.labels_table {up}dataLabels.csv"
    assert Folder(path=path).records().notes == (
        f"{up}dataLabels.csv may contain labels and is not read; {remedy} reads it",
    )
    for given in (f"{up}dataLabels.csv", str(place.parent / "dataLabels.csv")):
        assert labelled(Folder(path=path, labels_table=given).records()) == WANTED


def test_tables_in_other_forms_are_named(place: Path) -> None:
    notes = Folder(path=write(place, list(WANTED), {"labels.xlsx": b"x", "labels.csv.gz": b"x"})).records().notes
    assert notes == tuple(
        f"labels.{e} may contain labels, in a format that is not supported; save it as CSV" for e in ("csv.gz", "xlsx")
    )


def test_two_tables_must_agree(place: Path) -> None:
    text = csv(("id", "label"), *ROWS)
    path = write(
        place, list(WANTED), {"labels.csv": text, "train.csv": text, "metadata.csv": csv(("id", "kind"), (1, 2))}
    )
    assert labelled(Folder(path=path).records()) == WANTED
    path = write(place, list(WANTED), {"labels.csv": text, "train.csv": text.replace("2.png,cat", "2.png,dog")})
    message = refusal(path)
    assert "labels.csv (line 4) and train.csv (line 4) give an image different labels" in message
    assert labelled(Folder(path=path, labels_table="labels.csv").records()) == WANTED
    assert Folder(path=path, labels_table="none").records().labels is None


def test_a_table_in_each_part_is_read_with_all_parts(place: Path) -> None:
    names = [f"{part}/{i}.png" for part in ("train", "test") for i in range(4)]
    text = csv(("file_name", "label"), *ROWS)
    path = write(place, names, {f"{part}/metadata.csv": text for part in ("train", "test")})
    assert len(labelled(Folder(path=path).records())) == 4
    assert labelled(Folder(path=path, split="all").records()) == {name: WANTED[name.split("/")[1]] for name in names}


def test_each_part_has_a_table_called_after_it(place: Path) -> None:
    names = [f"{part}/{i}.png" for part in ("train", "val") for i in range(4)]
    text = csv(("id", "label"), *ROWS)
    path = write(place, names, {"train.csv": text, "val_labels.csv": text})
    assert labelled(Folder(path=path, split="all").records()) == {name: WANTED[name.split("/")[1]] for name in names}
    path = write(
        place.with_name(f"b{place.suffix}"), names[4:], {"train.csv": csv(("id", "label"), (0, 7)), "val.csv": text}
    )
    assert labelled(Folder(path=path).records()) == {name: WANTED[name.split("/")[1]] for name in names[4:]}


def test_the_name_of_the_folder_itself_may_be_that_of_a_split(place: Path) -> None:
    path = place.with_name(f"val{place.suffix}")
    tables = {"train.csv": csv(("id", "label"), *((i, 9) for i in range(4))), "val.csv": csv(("id", "label"), *ROWS)}
    assert labelled(Folder(path=write(path, list(WANTED), tables)).records()) == WANTED


def test_too_many_tables_are_not_tried(place: Path) -> None:
    names = [f"{i}/{i}.png" for i in range(70)]
    path = write(place, names, {f"{i}/labels.csv": csv(("id", "label"), (i, i % 2)) for i in range(70)})
    assert "70 tables may contain labels, such as 0/labels.csv; expected at most 64" in refusal(path)


def test_a_list_of_classes_is_no_table(place: Path) -> None:
    folders = [f"{kind}/{i}.png" for kind in PETS for i in range(2)]
    records = Folder(
        path=write(place, folders, {"labels.txt": "cat\ndog\n", "classes.csv": "class_id,name\n0,cat\n"})
    ).records()
    assert records.class_names == PETS and records.notes == ()
    notes = Folder(path=flat(place.with_name(f"b{place.suffix}"), "labels.txt", "cat\ndog\n")).records().notes
    assert "labels.txt" in notes[0] and "no labels are read from it" in notes[0]


# --- beside class folders and dataset.json -----------------------------------------------------------------

FOLDERS = [f"{kind}/{i}.png" for kind in ("a", "b") for i in range(2)]


def table_of(*labels: str, of: list[str] = FOLDERS) -> dict[str, str]:
    return {"labels.csv": csv(("file", "label"), *zip(of, labels, strict=True))}


def test_class_folders_that_a_table_confirms_are_the_classes(place: Path) -> None:
    records = Folder(path=write(place, FOLDERS, table_of("x", "x", "y", "y"))).records()
    assert records.class_names == ("a", "b") and records.notes == ()


def test_class_folders_that_a_table_denies_are_asked_about(place: Path) -> None:
    path = write(place, FOLDERS, table_of("x", "y", "x", "y"))
    message = refusal(path)
    assert "the folders (a, b) and labels.csv (x, y) give different classes" in message
    assert Folder(path=path, labels="folders").records().class_names == ("a", "b")
    assert Folder(path=path, labels="table").records().class_names == ("x", "y")


@pytest.mark.parametrize(
    "text",
    [
        csv(("file", "label"), ("a/0.png", "x"), ("b/0.png", "y")),
        csv(("file", "shape"), *((name, i % 2) for i, name in enumerate(FOLDERS))),  # which may be anything
        'file,label\n"',
    ],
)
def test_class_folders_go_before_a_table_of_some_images(text: str, place: Path) -> None:
    records = Folder(path=write(place, FOLDERS, {"labels.csv": text})).records()
    assert records.class_names == ("a", "b")
    assert "classes are from folders; " in records.notes[0] and "labels.csv" in records.notes[0]


def test_tables_that_contradict_each_other_leave_class_folders_alone(place: Path) -> None:
    other = {"train.csv": table_of("x", "x", "x", "y")["labels.csv"]}
    records = Folder(path=write(place, FOLDERS, table_of("x", "x", "y", "y") | other)).records()
    assert records.class_names == ("a", "b") and "give an image different labels" in records.notes[0]


def test_alike_folders_are_settled_by_a_table(place: Path) -> None:
    names = [f"{outer}/{inner}/{i}.png" for outer in "ab" for inner in "xy" for i in range(2)]
    path = write(place, names, table_of(*("x", "x", "y", "y") * 2, of=names))
    assert "the folders (a, b) and labels.csv (x, y) give different classes" in refusal(path)
    assert Folder(path=path, labels="table").records().class_names == ("x", "y")


def test_dataset_json_goes_before_a_table_unless_one_is_asked_for(place: Path) -> None:
    numbers = json.dumps({"labels": [[name, i // 2] for i, name in enumerate(WANTED)]})
    path = write(place, list(WANTED), {"dataset.json": numbers, "labels.csv": csv(("id", "label"), *ROWS)})
    assert Folder(path=path).records().class_names == ("0", "1")
    assert Folder(path=path, labels="table").records().class_names == PETS
    assert Folder(path=path, label_column="label").records().class_names == PETS


def test_gtsrb_tables_in_class_folders_are_left_alone(place: Path) -> None:
    names = [f"0000{k}/0000{i}_00000.png" for k in range(2) for i in range(2)]
    annotations = {f"0000{k}/GT-0000{k}.csv": "Filename;Width;ClassId\n00000_00000.png;8;0\n" for k in range(2)}
    records = Folder(path=write(place, names, annotations)).records()
    assert records.class_names == ("00000", "00001")
    assert not any("may contain labels" in note for note in records.notes)


# --- the whole way -----------------------------------------------------------------------------------------


def test_a_changed_table_makes_a_new_store(tmp_path: Path) -> None:
    path = flat(tmp_path / "data", "labels.csv", csv(("id", "label"), *ROWS))
    status = (path / "labels.csv").stat()
    first = prepare(Folder(path=path), Preparation(), cache=tmp_path / "cache")
    assert prepare(Folder(path=path), Preparation(), cache=tmp_path / "cache").path == first.path
    (path / "labels.csv").write_text(csv(("id", "label"), *ROWS).replace("cat", "cow"))
    os.utime(path / "labels.csv", ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time
    second = prepare(Folder(path=path), Preparation(), cache=tmp_path / "cache")
    assert (first.class_names, second.class_names) == (PETS, ("cow", "dog")) and first.path != second.path


def test_the_command_line_reads_and_names_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "data", list(WANTED), {"pets.csv": csv(("id", "a", "b"), *((*row, 0) for row in ROWS))})
    options = ["--data.labels_table", "pets.csv", "--data.label_column", "a"]
    assert main(["data", "check", str(path), *options]) == 0
    shown = capsys.readouterr().out
    assert "cat" in shown and "labels are from pets.csv (columns id, a)" in shown
    assert main(["data", "check", str(path), "--data.labels", "table"]) == 2
    assert "--data.labels_table pets.csv reads it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("partial", "words", "remedy"),
    [
        ("made", [], "complete the table, or move it elsewhere to measure the samples without labels"),
        ("real", [], "skip these images with --against.labels table, or measure without labels: --against.labels none"),
        (
            "other",
            ["--held-out", "other"],
            "--held_out.labels table, or measure without labels: --held_out.labels none",
        ),
    ],
)
def test_an_evaluation_names_its_own_options_where_a_table_is_incomplete(
    partial: str, words: list[str], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("made", "real", "other"):
        flat(tmp_path / side, "labels.csv", csv(("id", "label"), *(ROWS[:-1] if side == partial else ROWS)))
    named = [str(tmp_path / word) if word == "other" else word for word in words]
    command = ["evaluate", str(tmp_path / "made"), "--against", str(tmp_path / "real"), *named]
    assert main([*command, "--metrics", "kid", "--extractor", "random-conv"]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path / partial}: labels.csv has no row for 1 of" in said and remedy in said and "--data." not in said


def test_evaluation_says_where_the_labels_of_its_reference_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = flat(tmp_path / "real", "pets.csv", csv(("id", "label"), *ROWS))
    samples = write(tmp_path / "made", list(WANTED), {"labels.csv": csv(("id", "label"), *ROWS)})
    command = ["evaluate", str(samples), "--against", str(path), "--metrics", "sliced-wasserstein,intra-fid"]
    assert main([*command, "--extractor", "random-conv"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "note real: pets.csv may contain labels and is not read; --against.labels_table pets.csv reads it" in shown
    assert "needs labels (intra-fid)" in shown
    assert main([*command, "--extractor", "random-conv", "--against.labels_table", "pets.csv"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "note real: labels are from pets.csv (columns id, label)" in shown and "needs labels" not in shown
