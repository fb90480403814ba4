"""Walks: they begin and end where they should, keep what they promise between, and are written as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.errors import ConfigError
from gansmith.images.sheets import grid
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.sampling.paths import Method, walk
from gansmith.sampling.walks import interpolate, save_walk

START, END = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", ["slerp", "lerp"])
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_the_ends_are_exact(method: Method, steps: int) -> None:
    way = walk(START, END, steps, method)
    assert way.shape == (steps, 100) and way.dtype == torch.float32
    assert torch.equal(way[0], START) and torch.equal(way[-1], END)


def test_slerp_keeps_the_length_and_turns_evenly() -> None:
    start, end = START / START.norm() * 10, END / END.norm() * 10
    way = walk(start, end, 9)
    torch.testing.assert_close(way.norm(dim=1), torch.full((9,), 10.0))
    cosines = (way[1:] * way[:-1]).sum(dim=1) / 100
    torch.testing.assert_close(cosines, cosines[:1].expand(8))
    assert cosines[0] < 1 - 1e-3


def test_lerp_goes_straight() -> None:
    way = walk(START, END, 5, "lerp")
    torch.testing.assert_close(way[2], (START + END) / 2)
    torch.testing.assert_close(way[1], 0.75 * START + 0.25 * END)
    assert way[2].norm() < walk(START, END, 5, "slerp")[2].norm()


@pytest.mark.parametrize("end", [START, -START, 2 * START, START * (1 + 1e-7)])
def test_where_there_is_no_plane_to_turn_in_it_stays_finite(end: torch.Tensor) -> None:
    way = walk(START, end, 5)
    assert way.isfinite().all()
    torch.testing.assert_close(way[2], (START + end) / 2)


def test_from_nowhere_it_stays_finite() -> None:
    way = walk(torch.zeros(100), END, 5)
    assert way.isfinite().all() and torch.equal(way[-1], END)


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_a_walk_has_two_ends(steps: int) -> None:
    with pytest.raises(ConfigError, match=rf"^steps: {steps} is out of range; expected 2, the two ends, to 10,000$"):
        walk(START, END, steps)


# --- of images ---------------------------------------------------------------------------------------------


def test_it_leads_from_one_seed_s_image_to_another_s(small_generator: TrainedGenerator) -> None:
    way = interpolate(small_generator, 3, 8, steps=5)
    assert way.images.shape == (5, 12, 16, 3) and way.labels is None
    for image, seed in ((way.images[0], 3), (way.images[-1], 8)):
        (own,) = small_generator.sample(1, seed=seed).images
        assert np.abs(image.astype(int) - own.astype(int)).max() <= 1
    (start, end), _ = small_generator.draw([3, 8])
    middle = small_generator.images(walk(start, end, 5), None)[2]
    assert np.array_equal(way.images[2], middle)


def test_all_its_images_are_of_one_class_the_first_seed_s_by_default(class_generator: TrainedGenerator) -> None:
    own = class_generator.sample(20).labels
    assert own is not None
    first, last = own.tolist().index(0), own.tolist().index(1)
    free = interpolate(class_generator, first, last, steps=4)
    fixed = interpolate(class_generator, first, last, steps=4, label="yield")
    assert free.labels is not None and fixed.labels is not None
    assert free.labels.tolist() == [0] * 4 and fixed.labels.tolist() == [1] * 4
    assert free.class_names == ("stop", "yield", "go")
    assert np.array_equal(free.images[0], class_generator.sample(1, seed=first).images[0])
    assert not np.array_equal(free.images, fixed.images)


# --- files -------------------------------------------------------------------------------------------------

FRAMES = np.arange(0, 250, 50, dtype=np.uint8)  # five flat images
WALK = Samples(images=np.broadcast_to(FRAMES[:, None, None, None], (5, 8, 8, 3)).copy())


def test_a_png_has_one_row(tmp_path: Path) -> None:
    with Image.open(save_walk(WALK, tmp_path / "x.png")) as read:
        assert np.array_equal(np.asarray(read), grid(WALK.images, columns=5))


def test_a_gif_goes_to_and_fro(tmp_path: Path) -> None:
    path = save_walk(WALK, str(tmp_path / "x.gif"), fps=20)
    with Image.open(path) as read:
        shown = []
        for i in range(read.n_frames):
            read.seek(i)
            shown.append(np.asarray(read.convert("RGB"))[0, 0, 0])
        assert read.size == (256, 256)  # 8 x 8 pixels can hardly be seen
    assert shown == [0, 50, 100, 150, 200, 150, 100, 50]


def test_a_folder_is_numbered(tmp_path: Path) -> None:
    folder = save_walk(WALK, tmp_path / "frames")
    assert sorted(path.name for path in folder.iterdir()) == [f"{i:05d}.png" for i in range(5)]
    with Image.open(folder / "00000.png") as read:
        assert read.size == (8, 8)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write \.avi files"):
        save_walk(WALK, tmp_path / "x.avi")
