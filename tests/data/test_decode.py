"""decode: every readable kind arrives as the right pixels, every broken file as UnreadableImage."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gansmith.data import decode as module
from gansmith.data.convert import convert, to_pixels
from gansmith.data.decode import decode
from gansmith.errors import UnreadableImage


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def scene(width: int = 40, height: int = 24) -> Image.Image:
    """Red left of blue, with a green corner at the top left: shows turns, mirrors and swapped channels."""
    image = Image.new("RGB", (width, height), "red")
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 2, 0, width, height), fill="blue")
    draw.rectangle((0, 0, width // 4, height // 4), fill="lime")
    return image


def png_header(width: int, height: int) -> bytes:
    """A tiny PNG that declares any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_arrive_exactly(kind: str) -> None:
    assert np.array_equal(to_pixels(decode(encoded(scene(), kind)), (24, 40), 3), np.asarray(scene()))


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95}), ("GIF", {})]
)
def test_other_formats_arrive_nearly(kind: str, options: dict[str, Any]) -> None:
    pixels = to_pixels(decode(encoded(scene(), kind, **options)), (24, 40), 3)
    assert np.abs(pixels.astype(int) - np.asarray(scene())).mean() < 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_modes_arrive_as_rgb(mode: str) -> None:
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    image = scene().convert(mode)
    options = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}  # Pillow 12 cannot read it without
    decoded = decode(encoded(image, kind, **options))
    difference = np.abs(to_pixels(decoded, (24, 40), 3).astype(int) - np.asarray(image.convert("RGB")))
    assert difference.max() <= (3 if mode == "YCbCr" else 0)  # libtiff rounds in another way
    assert decoded.format == kind


def test_an_open_file_is_read() -> None:
    assert decode(io.BytesIO(encoded(scene(), "PNG"))).size == (40, 24)


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert to_pixels(decode(data), (8, 8), 3)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = to_pixels(decode(encoded(Image.fromarray(values), kind)), (256, 256), 1)[..., 0]
    assert np.array_equal(pixels, np.round(values / 65535 * 255))


def test_wide_integers_are_scaled_or_refused() -> None:
    wide = Image.fromarray(np.array([[0, 257, 65535]], np.int32))
    assert to_pixels(decode(encoded(wide, "TIFF")), (1, 3), 1).ravel().tolist() == [0, 1, 255]
    with pytest.raises(UnreadableImage, match="values from -1 to 70000; expected 0 to 65535"):
        to_pixels(Image.fromarray(np.array([[-1, 70000]], np.int32)), (1, 2), 1)


@pytest.mark.parametrize(("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 100.4, 255], [0, 100, 255])])
def test_floats_are_scaled(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert to_pixels(decode(encoded(image, "TIFF")), (1, 3), 1).ravel().tolist() == expected


@pytest.mark.parametrize("value", [-0.5, 1000, np.nan])
def test_floats_out_of_range_are_refused(value: float) -> None:
    with pytest.raises(UnreadableImage, match=r"expected 0 to 1 or 0 to 255|NaN or infinite"):
        to_pixels(Image.fromarray(np.array([[0, value]], np.float32)), (1, 2), 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    method = inverse.get(orientation, module.UPRIGHT.get(orientation))
    stored = scene() if method is None else scene().transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        upright = decode(encoded(stored, kind, exif=exif))
        assert np.array_equal(to_pixels(upright, (24, 40), 3), np.asarray(scene())), kind
        assert upright.format == kind


def test_broken_exif_does_not_cost_the_image() -> None:
    data = encoded(scene(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xffbroken")
    assert decode(data).size == (40, 24)


# --- transparency ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_is_laid_on_white(channels: int) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    assert to_pixels(image, (1, 2), channels)[0].max(axis=-1).tolist() == [255, 0]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_palette_and_alpha_transparency_is_kept_for_rgba(kind: str) -> None:
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (4, 4, 12, 12))
    pixels = to_pixels(decode(encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))), (16, 16), 4)
    assert pixels[8, 8].tolist() == [255, 0, 0, 255]
    assert pixels[0, 0, 3] == 0


def test_a_transparent_palette_entry_becomes_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    decoded = decode(encoded(image, "PNG", transparency=1))
    assert to_pixels(decoded, (1, 2), 4).tolist() == [[[10, 20, 30, 255], [40, 50, 60, 0]]]
    assert to_pixels(decoded, (1, 2), 3).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_opaque_alpha_changes_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    noise[..., 3] = 255
    assert np.array_equal(to_pixels(noise, (8, 8), 3), noise[..., :3])


def test_invisible_colour_does_not_bleed_when_resized() -> None:
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))  # green that nobody sees
    image.paste((255, 0, 0, 255), (0, 0, 33, 64))
    for fit in ("crop", "pad", "stretch"):
        pixels = to_pixels(image, (16, 16), 4, fit)  # type: ignore[arg-type]
        visible = pixels[pixels[..., 3] > 8]
        assert visible[:, 1].max() == 0 and visible[:, 0].min() > 240


# --- size and channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_right_shape_passes_untouched(channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (28, 28, channels), np.uint8)
    assert np.array_equal(to_pixels(noise, (28, 28), channels), noise)
    assert np.array_equal(to_pixels(Image.fromarray(noise.squeeze()), (28, 28), channels), noise)


def test_gray_to_rgb_and_back_is_exact() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    rgb = to_pixels(gray, (16, 16), 3)
    assert np.array_equal(rgb, gray.repeat(3, axis=2))
    assert np.array_equal(to_pixels(rgb, (16, 16), 1), gray)


def test_crop_keeps_the_middle() -> None:
    image = Image.new("L", (90, 30), 0)
    image.paste(255, (30, 0, 60, 30))
    assert to_pixels(image, (30, 30), 1, "crop").min() == 255
    assert to_pixels(image, (10, 10), 1, "crop").min() > 230  # Lanczos looks a little beyond the crop


def test_stretch_keeps_all() -> None:
    image = Image.new("L", (90, 30), 0)
    image.paste(255, (45, 0, 90, 30))
    pixels = to_pixels(image, (16, 16), 1, "stretch")[8, :, 0]
    assert pixels[:7].max() <= 1 and pixels[9:].min() >= 254


@pytest.mark.parametrize("ground", [0, 90, 255])
def test_pad_keeps_all_on_the_ground_of_the_image(ground: int) -> None:
    image = Image.new("L", (64, 32), ground)
    image.paste(200, (24, 8, 40, 24))
    pixels = to_pixels(image, (32, 32), 1, "pad")[..., 0]
    assert (pixels[:8] == ground).all() and (pixels[24:] == ground).all() and pixels[16, 16] == 200


def test_pad_of_a_transparent_image_is_transparent() -> None:
    image = Image.new("RGBA", (32, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (8, 4, 24, 12))
    assert to_pixels(image, (32, 32), 4, "pad")[0, 0, 3] == 0


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((256, 256, 1), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(to_pixels(stripes, (16, 16), 1)[:, 2:-2].astype(int) - 127).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (3, 200), (31, 17)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_any_size_from_any_size(size: tuple[int, int], fit: Any) -> None:
    for width, height in [(1, 1), (1, 99), (100, 3), (33, 47)]:
        assert to_pixels(scene(width, height), size, 3, fit).shape == (*size, 3)


def test_a_large_jpeg_is_decoded_coarsely_but_never_below_twice_the_size() -> None:
    data = encoded(scene(1600, 800), "JPEG")
    assert decode(data).size == (1600, 800)
    for side in (32, 64, 100, 300):
        coarse = decode(data, (side, side))
        assert min(coarse.size) >= min(2 * side, 800)
    assert decode(data, (32, 32)).size == (200, 100)


def test_an_unknown_colour_space_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="LAB cannot be converted to L"):
        convert(Image.new("LAB", (4, 4)), 1)


# --- broken and hostile files ------------------------------------------------------------------------------


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="the file is empty"):
        decode(b"")


def test_text_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        decode(b"once upon a time")


def test_a_format_that_is_not_listed_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        decode(encoded(scene(), "ICO"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    for share in (0.02, 0.5, 0.9):
        with pytest.raises(UnreadableImage):
            decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(side: int) -> None:
    with pytest.raises(UnreadableImage, match="more than the limit of 100,000,000"):
        decode(png_header(side, side))


def test_no_warning_escapes_and_the_filters_stay_as_they_were() -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=_refused, args=(png_header(9_600, 10_400),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        warnings.warn("ours", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["ours"]
    assert warnings.filters == before


def _refused(data: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode(data)


def test_random_bytes_after_a_true_start_never_crash() -> None:
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF"):
        data = np.frombuffer(encoded(scene(), kind), np.uint8)
        for _ in range(40):
            broken = data.copy()
            broken[rng.integers(4, len(broken), 8)] = rng.integers(0, 256, 8)
            try:
                to_pixels(decode(broken.tobytes()), (8, 8), 3)
            except UnreadableImage as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_png_whose_pixels_differ_from_their_checksum_is_damaged(share: float) -> None:
    """Pillow loads many of them without a word."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 4, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    whole = bytearray(stream.getvalue())
    assert (np.asarray(decode(bytes(whole))) == pixels).all()
    at = int(share * len(whole))
    whole[at : at + 8] = bytes(8)
    with pytest.raises(UnreadableImage, match=r"^damaged: "):
        decode(bytes(whole))
