"""Moving pictures: frames, their times and their colours, read back from the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from gansmith.errors import ConfigError, MissingExtra
from gansmith.images import video
from gansmith.images.video import HOLD_SECONDS, can_write_mp4, thin_frames, write_animation
from gansmith.types import PixelArray


def flat(level: int, channels: int = 3, height: int = 16, width: int = 24) -> PixelArray:
    return np.full((height, width, channels), level, np.uint8)


def read_gif(path: Path) -> tuple[list[PixelArray], list[float]]:
    with Image.open(path) as gif:
        frames, seconds = [], []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("RGB")))
            seconds.append(gif.info["duration"] / 1000)
        assert gif.info["loop"] == 0  # for ever
    return frames, seconds


@pytest.mark.parametrize("fps", [10.0, 25.0])
def test_a_gif_shows_its_frames_and_holds_the_last(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "deep" / "x.gif"
    assert write_animation((flat(level) for level in (0, 90, 200)), path, fps) == path
    frames, seconds = read_gif(path)
    assert [frame[0, 0].tolist() for frame in frames] == [[0] * 3, [90] * 3, [200] * 3]
    assert all(frame.shape == (16, 24, 3) for frame in frames)
    assert seconds[:2] == [1 / fps, 1 / fps] and seconds[2] == pytest.approx(1 / fps + HOLD_SECONDS, abs=1 / fps)


def test_a_single_frame_is_a_gif_too(tmp_path: Path) -> None:
    assert len(read_gif(write_animation([flat(7)], tmp_path / "x.gif"))[0]) == 1


def test_gray_stays_gray_and_alpha_is_laid_on_white(tmp_path: Path) -> None:
    half = np.concatenate([flat(0), flat(128, channels=1)], axis=2)
    for frame, shown in ((flat(90, channels=1), 90), (half, 127)):
        frames, _ = read_gif(write_animation([frame], tmp_path / "x.gif"))
        assert (frames[0] == shown).all()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # imageio-ffmpeg's reader leaves its pipes open
def test_an_mp4_has_all_frames_at_the_rate_asked_for(tmp_path: Path) -> None:
    path = write_animation([flat(level, height=33, width=25) for level in (20, 90, 200)], tmp_path / "x.mp4", fps=8)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    frames = [np.frombuffer(frame, np.uint8) for frame in reader]
    assert facts["size"] == (24, 32) and facts["fps"] == 8  # the codec wants even sides
    assert [round(float(frame.mean()), -1) for frame in frames] == [20, 90] + [200] * (1 + round(HOLD_SECONDS * 8))


def test_mp4_without_its_package_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_write_mp4()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not can_write_mp4()
    with pytest.raises(MissingExtra) as caught:
        write_animation([flat(0)], tmp_path / "x.mp4")
    assert str(caught.value) == (
        "imageio-ffmpeg is needed to write MP4 files; install it with: pip install 'gansmith[mp4]'"
    )
    assert write_animation([flat(0)], tmp_path / "x.gif").exists()


@pytest.mark.parametrize(
    ("name", "frames", "message"),
    [
        ("x.avi", [flat(0)], "cannot write .avi files; expected x.gif or x.mp4"),
        ("x", [flat(0)], "cannot write such files; expected x.gif or x.mp4"),
        ("x.gif", [], "no frames, expected at least one"),
        (
            "x.gif",
            [flat(0), flat(0, height=8)],
            "the frames differ in size; use frames of one run with one grid",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, frames: list[PixelArray], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_animation(frames, tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {message}" and not (tmp_path / name).exists()


@pytest.mark.parametrize(("num", "most"), [(3, 5), (5, 5), (6, 5), (1000, 7)])
def test_thinning_keeps_the_ends_and_spaces_evenly(num: int, most: int) -> None:
    items = [[Path(f"{i}.png")] for i in range(num)]
    kept = [int(item[0].stem) for item in thin_frames(items, most)]
    gaps = np.diff(kept)
    assert len(kept) == min(num, most) and (kept[0], kept[-1]) == (0, num - 1)
    assert gaps.min() > 0 and gaps.max() - gaps.min() <= 1
    assert video.thin_frames(items, most) is not items
