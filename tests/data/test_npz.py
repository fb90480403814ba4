"""Npz: arrays in every usual shape become the same pixels; anything else is refused in a line."""

from __future__ import annotations

import dataclasses
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith.data import npz as module
from gansmith.data import npz_arrays, resolve
from gansmith.data.npz import Npz
from gansmith.data.store import Preparation, prepare
from gansmith.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)


def saved(folder: Path, *arrays: Any, **named: Any) -> Npz:
    path = folder / "set.npz"
    np.savez_compressed(path, *arrays, **named)
    return Npz(path=path)


def read(source: Npz) -> np.ndarray[Any, Any]:
    records = source.records()
    return np.stack([records.read(i) for i in range(len(records))])


@pytest.mark.parametrize("key", ["images", "x_train", "arr_0", "x"])
def test_usual_names_are_found(tmp_path: Path, key: str) -> None:
    assert np.array_equal(read(saved(tmp_path, **{key: PIXELS})), PIXELS)


def test_layouts(tmp_path: Path) -> None:
    assert np.array_equal(read(saved(tmp_path, PIXELS.transpose(0, 3, 1, 2))), PIXELS)
    assert np.array_equal(read(saved(tmp_path, np.asfortranarray(PIXELS))), PIXELS)
    assert np.array_equal(read(saved(tmp_path, PIXELS[..., 0])), PIXELS[..., :1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_converted_back_exactly(tmp_path: Path, dtype: Any) -> None:
    unit = (PIXELS / 255).astype(dtype)
    assert np.array_equal(read(saved(tmp_path, unit)), PIXELS)
    assert np.array_equal(read(saved(tmp_path, unit * 2 - 1)), PIXELS)


@pytest.mark.parametrize("value", [-1.01, 1.01, 63.0, 256.0, np.nan, np.inf])
def test_floats_out_of_range_are_refused(tmp_path: Path, value: float) -> None:
    values = np.zeros((2, 4, 4), np.float32)
    values[0, 0, 0] = value
    with pytest.raises(DataError, match="expected most of the range 0 to 1, -1 to 1 or 0 to 255"):
        saved(tmp_path, values).records().read(1)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_labels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    labels = np.array([2, 0, 1, 1, 2], np.uint8).reshape(shape)
    records = saved(tmp_path, x_train=PIXELS, y_train=labels, x_test=PIXELS).records()
    assert records.labels is not None and records.labels.dtype == np.int64
    assert records.labels.tolist() == [2, 0, 1, 1, 2] and records.class_names == ("0", "1", "2")
    assert records.notes == ("only x_train is read; not read: x_test; --data.split all reads all splits",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": PIXELS}, "contains other; expected images as one of images, arr_0, x, x_train, train_images"),
        ({}, "contains nothing"),
        ({"images": PIXELS.astype(np.int64)}, "images is int64 [5 6 7 3]; expected uint8, uint16 or float"),
        ({"images": PIXELS[..., :2]}, "with 1, 3 or 4 channels"),
        ({"images": PIXELS[:0]}, "expected uint8, uint16 or float"),
        ({"images": np.uint8(3)}, "expected uint8, uint16 or float"),
        (
            {"images": PIXELS, "labels": np.zeros(4, int)},
            "labels is int64 [4]; expected one whole number for each of 5",
        ),
        ({"images": PIXELS, "labels": np.zeros((5, 10))}, "expected one whole number for each of 5 images"),
        ({"images": PIXELS, "labels": np.zeros(5)}, "expected one whole number per image"),
        ({"images": PIXELS, "labels": np.full(5, -1)}, "labels are from -1 to -1"),
        ({"images": PIXELS, "labels": np.full(5, 10**9)}, "expected 0 to 99999"),
    ],
)
def test_anything_else_is_refused_in_a_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        saved(tmp_path, **arrays).records()
    assert message in str(caught.value) and "set.npz: " in str(caught.value) and "\n" not in str(caught.value)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.array([Trap()] * 5, object)
    with pytest.raises(DataError, match="labels cannot be read"):
        saved(tmp_path, images=PIXELS, labels=trap).records()
    with pytest.raises(DataError, match="images is object"):
        saved(tmp_path, images=trap.reshape(5, 1, 1)).records()
    assert not (tmp_path / "sprung").exists()


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, PIXELS).path
    data = path.read_bytes()
    for broken in (b"", b"text", data[: len(data) // 2]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"cannot be read as \.npz"):
            Npz(path=path).records()
    with pytest.raises(DataError, match="No such file"):
        Npz(path=tmp_path / "nothing.npz").records()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", "no array")
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        Npz(path=path).records()


def test_a_damaged_array_is_refused_when_read(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=PIXELS.repeat(60, axis=0))
    data = bytearray(path.read_bytes())
    data[30_000] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match="images cannot be read"):
        Npz(path=path).records().read(0)


def test_an_array_over_the_limit_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ARRAY_LIMIT", 100)
    records = saved(tmp_path, PIXELS).records()
    monkeypatch.setattr(module.np, "load", None)
    with pytest.raises(DataError, match="630 bytes; expected at most 100"):
        records.read(0)


def test_the_fingerprint_follows_values_without_loading_them(tmp_path: Path) -> None:
    first = saved(tmp_path, PIXELS).records().fingerprint
    assert saved(tmp_path, PIXELS).records().fingerprint == first
    assert saved(tmp_path, 255 - PIXELS).records().fingerprint != first
    assert saved(tmp_path, PIXELS, np.arange(5)).records().fingerprint != first


# --- ranges ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255)])
@pytest.mark.parametrize("beyond", [-1e-6, 1e-6])
def test_a_hair_beyond_the_range_changes_nothing(tmp_path: Path, low: int, high: int, beyond: float) -> None:
    values = (PIXELS / 255 * (high - low) + low).astype(np.float32)
    values[0, 0, 0] = low + beyond if beyond < 0 else high + beyond
    wanted = PIXELS.copy()
    wanted[0, 0, 0] = 0 if beyond < 0 else 255
    assert np.array_equal(read(saved(tmp_path, images=values)), wanted)


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (0, 0.06), (0, 16), (-2.1, 2.6), (0, 4095), (0, 1.3)])
def test_a_range_that_fits_none_is_refused_with_what_was_found(tmp_path: Path, low: float, high: float) -> None:
    values = np.linspace(low, high, 2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4)
    with pytest.raises(DataError, match=f"from {low:g} to {high:g}; expected most of the range 0 to 1"):
        saved(tmp_path, images=values).records().read(0)


# --- keys and splits ---------------------------------------------------------------------------------------


def medmnist(folder: Path) -> Path:
    arrays = {f"{split}_images": PIXELS[:n] for split, n in (("train", 5), ("val", 2), ("test", 3))}
    labels = {f"{split}_labels": np.arange(n)[:, None] % 3 for split, n in (("train", 5), ("val", 2), ("test", 3))}
    return saved(folder, **arrays, **labels).path


@pytest.mark.parametrize(("split", "indices"), [("train", range(5)), ("val", range(2)), ("test", range(3))])
def test_medmnist_splits(tmp_path: Path, split: Any, indices: range) -> None:
    source = Npz(path=medmnist(tmp_path), split=split)
    records = source.records()
    assert records.labels is not None and records.labels.tolist() == [i % 3 for i in indices]
    assert np.array_equal(read(source), PIXELS[: len(indices)]) and "--data.split all" in records.notes[0]


def test_all_splits_are_joined_with_their_labels(tmp_path: Path) -> None:
    source = Npz(path=medmnist(tmp_path), split="all")
    records = source.records()
    assert records.labels is not None and records.labels.tolist() == [0, 1, 2, 0, 1, 0, 1, 0, 1, 2]
    assert np.array_equal(read(source), np.concatenate([PIXELS, PIXELS[:2], PIXELS[:3]])) and records.notes == ()


def test_keys_by_option(tmp_path: Path) -> None:
    path = saved(tmp_path, pictures=PIXELS, kinds=np.arange(5)).path
    records = Npz(path=path, images_key="pictures", labels_key="kinds").records()
    assert records.labels is not None and records.labels.tolist() == [0, 1, 2, 3, 4]
    assert Npz(path=path, images_key="pictures").records().labels is None
    with pytest.raises(DataError, match="no array is called 'picture'; did you mean 'pictures'"):
        Npz(path=path, images_key="picture").records()
    with pytest.raises(DataError, match=r"contains pictures, kinds; .* --data.images_key KEY --data.labels_key KEY"):
        Npz(path=path).records()


def test_labels_of_several_numbers_name_the_remedy(tmp_path: Path) -> None:
    path = saved(tmp_path, train_images=PIXELS, train_labels=np.zeros((5, 14), np.uint8)).path
    with pytest.raises(DataError, match=r"ignore the labels with --data.labels_key none"):
        Npz(path=path).records()
    assert Npz(path=path, labels_key="none").records().labels is None


# --- members that promise more than they hold ----------------------------------------------------------------


def promising(path: Path, shape: tuple[int, ...], data: bytes, **sizes: int) -> Npz:
    """An .npz whose member says that it has another shape than its bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header.getvalue() + data)
        for name, value in sizes.items():
            setattr(archive.infolist()[0], name, value)
    return Npz(path=path)


def test_a_shape_that_the_member_has_no_bytes_for_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images is uint8 \[1000000000 28 28\], which needs 784,000,000,000 bytes"):
        promising(tmp_path / "a.npz", (10**9, 28, 28), b"x" * 784).records()


def test_a_size_that_deflate_cannot_reach_is_refused_at_once(tmp_path: Path) -> None:
    lying = promising(tmp_path / "a.npz", (10**6, 28, 28), b"x" * 784, file_size=128 + 784 * 10**6)
    with pytest.raises(DataError, match="which needs 784,000,000 bytes, but the file has at most"):
        lying.records()


def test_more_images_than_any_set_has_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "many.npz"
    np.savez_compressed(path, images=np.zeros((2**26 + 1, 1, 1), np.uint8))
    with pytest.raises(DataError, match="67,108,865 images; expected at most 67,108,864"):
        Npz(path=path).records()


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_read_as_those_of_files_are(tmp_path: Path, order: str, channels: int) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (5, 6, 7, channels)).astype(order)
    values[0, 0, 0] = 4095
    store = prepare(saved(tmp_path, np.asfortranarray(values)), Preparation(size=(6, 7)), cache=tmp_path / "cache")
    assert any("have values up to 4095: read as 12 bits" in note for note in store.notes)
    assert store.images.shape == values.shape
    expected = np.rint(values.astype(float) / 4095 * 255)[..., :3]
    assert np.array_equal(store.images[..., :3], expected)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2"])
def test_byte_orders_and_orders_of_axes(tmp_path: Path, dtype: str) -> None:
    found = read(saved(tmp_path, np.asfortranarray((PIXELS / 255).astype(dtype))))
    assert np.array_equal(found, PIXELS)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(-1, -4, 4)", "expected whole numbers from 0 on"),
        ("(True, 4, 4)", "expected whole numbers from 0 on"),
        (f"({10**30}, 4, 4)", "but the file has at most 16"),
        ("(0, 4, 4)", "which needs 0 bytes, but the file has at most 16"),
        ("(" * 3000 + ")" * 3000, "cannot be read as .npz"),
    ],
)
@pytest.mark.parametrize("version", [b"\1\0", b"\3\0"])
def test_headers_that_lie(tmp_path: Path, shape: str, message: str, version: bytes) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    data = b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<I", len(header)) + header + bytes(16)
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", data)
    with pytest.raises(DataError, match=message if version == b"\1\0" else "format 3.0; expected 1.0 or 2.0") as caught:
        Npz(path=tmp_path / "set.npz").records()
    assert "\n" not in str(caught.value)


def test_more_than_is_free_is_refused_before_it_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(tmp_path, PIXELS)
    monkeypatch.setattr(module, "free_bytes", lambda device: PIXELS.nbytes - 1)
    with pytest.raises(DataError, match=r"images|arr_0.* need 0 MiB of memory, .*; keep the images in a folder or zip"):
        source.records()
    both = saved(tmp_path, x_train=PIXELS, x_test=PIXELS)
    monkeypatch.setattr(module, "free_bytes", lambda device: 3 * PIXELS.nbytes)
    assert len(both.records()) == 5
    with pytest.raises(DataError, match="need 0 MiB of memory"):  # twice there while they are joined
        dataclasses.replace(both, split="all").records()


def test_more_arrays_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_arrays, "MEMBER_LIMIT", 1)
    with pytest.raises(DataError, match="2 arrays, more than 1"):
        saved(tmp_path, a=PIXELS, b=PIXELS).records()


def test_a_plain_array_names_the_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS)
    with pytest.raises(DataError, match=r"pack it with numpy.savez\('images.npz', images=numpy.load\('images.npy'\)\)"):
        resolve(str(tmp_path / "images.npy"))
