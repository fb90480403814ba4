"""Walks, sweeps and directions, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gansmith
from gansmith.cli import main

SMALL = {
    "model.width": 4,
    "model.z_dim": 8,
    "model.depth": 2,
    "batch_size": 4,
    "preparation.size": [8, 8],
    "guard": None,
    "tracking": None,
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on digits of ten classes, hardly trained."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    gansmith.train("digits", preset="dcgan-r1", length="1 steps", run=path, overrides=SMALL)
    return path


def said(words: Sequence[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    """What a command prints, which must be one line of error where it fails."""
    capsys.readouterr()
    assert main(list(words)) == status
    printed = capsys.readouterr()
    if status:
        assert printed.err.count("\n") == 1
        return printed.err
    return printed.out


def test_a_walk_through_seeds_and_classes(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "walk.npz"
    words = ["interpolate", str(digits), "--out", str(path), "--loop", "--steps", "3", "--num", "2"]
    text = said([*words, "--seeds", "1, 2,5", "--labels", "3,7", "--truncation", "0.7"], capsys)
    assert text == f"2 walks of 6 images through seeds 1, 2, 5 and classes 3, 7 and back: {path}\n"
    generator = gansmith.open_run(digits).generator()
    with np.load(path) as arrays:
        for i, (seed, label) in enumerate([(1, 3), (2, 7), (5, 3)]):
            own = generator.sample(1, seed=seed, label=label, truncation=0.7).images[0]
            assert np.array_equal(arrays["images"][0, 2 * i], own)
    facts = json.loads(said([*words, "--seeds", "1,2,5", "--label", "3", "--json"], capsys))
    assert facts == {
        "path": str(path),
        "num_walks": 2,
        "num_images": 12,
        "walk": "seeds",
        "seeds": [1, 2, 5],
        "labels": ["3"],
        "loop": True,
    }


def test_two_seeds_keep_the_class_of_the_first(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["interpolate", str(digits), "--from-seed", "3", "--to-seed", "4", "--steps", "3", "--scale", "2"]
    text = said([*words, "--out", str(tmp_path / "x.png")], capsys)
    assert text == f"3 images through seeds 3, 4: {tmp_path / 'x.png'}\n"
    own = gansmith.open_run(digits).interpolate(3, 4, steps=3)
    with Image.open(tmp_path / "x.png") as sheet:
        assert np.array_equal(np.asarray(sheet)[:16:2, 36::2], own.images[2, :, :, 0])


def test_the_class_changes_on_one_seed_and_a_random_walk_returns(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, npz = str(digits), str(tmp_path / "x.npz")
    text = said(["interpolate", run, "--from-seed", "5", "--labels", "3,7", "--out", npz], capsys)
    assert text == f"8 images through seed 5 and classes 3, 7: {npz}\n"
    random = ["interpolate", run, "--walk", "random", "--from-seed", "5", "--label", "3"]
    assert said([*random, "--out", npz], capsys) == f"16 images at random from seed 5 and class 3 and back: {npz}\n"
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"], gansmith.open_run(digits).random_walk(5, [3], steps=16).images)
    gif = tmp_path / "x.gif"
    assert said([*random, "--scale", "1", "--smooth", "--out", str(gif)], capsys).startswith("96 images at random")
    with Image.open(gif) as read:
        assert read.size == (8, 8)
    unnamed = ["interpolate", run, "--walk", "random", "--out", npz]
    assert said(unnamed, capsys) != said(unnamed, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1,2", "--from-seed", "3"], "--seeds: gives all seeds; omit --from-seed and --to-seed"),
        (["--seeds", "1,x"], "--seeds: expected whole numbers with commas, such as 1,2,5, got '1,x'"),
        (["--labels", "1,,2"], "--labels: expected a list with commas, such as one,two, got '1,,2'"),
        (["--labels", "1,2", "--label", "3"], "--labels: gives the class of each seed; omit --label"),
        (["--walk", "random", "--to-seed", "3"], "--walk random: begins at --from-seed and chooses its way"),
        (["--seeds", "1"], "seeds: got 1 seeds and 0 labels; expected at least two seeds or two labels"),
        (["--seeds", "1,2", "--labels", "3,12"], "label: no class is called 12"),
    ],
)
def test_walks_that_contradict_themselves_are_one_line(
    words: list[str], message: str, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(["interpolate", str(digits), *words, "--out", str(tmp_path / "x.png")], capsys, status=2)
    assert text.startswith(f"error: {message}")
    assert not any(tmp_path.iterdir())


@pytest.fixture
def found(digits: Path, tmp_path: Path) -> Path:
    """Latents and classes of the seeds 3 and 4, as gansmith project writes them."""
    z, _ = gansmith.open_run(digits).generator().draw([3, 4], 7)
    np.savez(tmp_path / "found.npz", latents=z.numpy(), labels=np.array([7, 2]))
    return tmp_path / "found.npz"


def test_latents_of_a_file(digits: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, generator, npz = str(digits), gansmith.open_run(digits).generator(), str(tmp_path / "x.npz")
    given = ["--latents", str(found), "--truncation", "0.7", "--out", npz]
    assert said(["sample", run, *given], capsys) == f"2 images: {npz}\n"
    ends = [generator.sample(1, seed=s, label=label, truncation=0.7).images[0] for s, label in ((3, 7), (4, 2))]
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"], ends) and arrays["labels"].tolist() == [7, 2]
    facts = json.loads(said(["sample", run, *given, "--label", "2", "--json"], capsys))
    assert facts == {"path": npz, "num_images": 2, "latents": str(found), "class_name": "2"}
    words = ["interpolate", run, *given, "--steps", "3"]
    assert said([*words, "--loop"], capsys) == f"4 images through 2 latents of {found} and back: {npz}\n"
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"][0, ::2], ends)
    lerp = [*words, "--labels", "2,7", "--method", "lerp"]
    assert said(lerp, capsys) == f"3 images through 2 latents of {found} and classes 2, 7: {npz}\n"
    z, _ = generator.draw([3, 4], 0)
    with np.load(npz) as arrays:
        middle = generator.images(z.mean(dim=0, keepdim=True) * 0.7, torch.eye(10)[[2, 7]].mean(dim=0, keepdim=True))
        assert np.abs(arrays["images"][0, 1].astype(int) - middle[0]).max() <= 1
    facts = json.loads(said([*words, "--label", "5", "--json"], capsys))
    assert facts["num_images"] == 3 and facts["latents"] == str(found) and facts["labels"] == ["5"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "--num", "2"], "--latents: gives one image for each latent of the file; omit --num"),
        (["sample", "--seed", "0"], "--latents: gives one image for each latent of the file; omit --seed"),
        (["sample", "--sweep", "classes"], "--latents: gives one image for each latent of the file; omit --sweep"),
        (["interpolate", "--seeds", "1,2"], "--latents: gives all places to visit; omit --seeds"),
        (["interpolate", "--to-seed", "1"], "--latents: gives all places to visit; omit --seeds"),
        (["interpolate", "--walk", "random"], "--latents: gives all places to visit; omit --seeds"),
        (["interpolate", "--num", "2"], "--num: other walks have other seeds"),
    ],
)
def test_latents_beside_seeds_are_one_line(
    words: list[str], message: str, digits: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *more = words
    text = said([verb, str(digits), "--latents", str(found), *more, "--out", str(tmp_path / "x.png")], capsys, status=2)
    assert text.startswith(f"error: {message}") and not (tmp_path / "x.png").exists()


def test_sweeps(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, sample = gansmith.open_run(digits), ["sample", str(digits), "--seed", "5"]
    npz = str(tmp_path / "x.npz")
    text = said([*sample, "--sweep", "classes", "--labels", "3,7", "--num", "2", "--out", npz], capsys)
    assert text == f"2 x 2 images, classes swept: {npz}\n"
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"], run.sweep_classes([3, 7], num=2, seed=5).images)
    said([*sample, "--sweep", "truncation", "--label", "3", "--out", npz], capsys)
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"], run.sweep_truncation(seed=5, label=3).images)
    facts = json.loads(said([*sample, "--sweep", "layers", "--labels", "3,7", "--json", "--out", npz], capsys))
    assert facts["rows"][0] == "5 + 9" and facts["columns"][0].startswith("0 of ")
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["images"], run.mix_layers([3, 7], seed=5).images)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale", "2"], "--scale: belongs to a sweep; add --sweep classes, --sweep truncation or --sweep layers"),
        (["--smooth"], "--smooth: belongs to a sweep"),
        (["--labels", "1,2"], "--labels: belongs to a sweep"),
        (["--sweep", "classes", "--label", "1"], "--label: --sweep classes has several classes; use --labels"),
        (["--sweep", "truncation", "--truncation", "0.5"], "--sweep truncation: has one class and all truncations"),
    ],
)
def test_sweeps_that_contradict_themselves_are_one_line(
    words: list[str], message: str, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(["sample", str(digits), *words], capsys, status=2).startswith(f"error: {message}")


def test_directions_are_shown_written_and_told(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, words = gansmith.open_run(digits), ["directions", str(digits), "--num", "2"]
    png, npz = tmp_path / "x.png", tmp_path / "x.npz"
    found = run.directions("weights", 2)
    text = said([*words, "--method", "weights", "--steps", "3", "--scale", "2", "--out", str(png)], capsys)
    assert text == f"2 directions by weights of stem ({found.shares[0]:.1%}, {found.shares[1]:.1%}): {png}\n"
    with Image.open(png) as sheet:
        assert np.array_equal(np.asarray(sheet)[:, :, None], found.strip(steps=3).sheet(scale=2))
    told = json.loads(said([*words, "--num-latents", "50", "--label", "3", "--out", str(npz), "--json"], capsys))
    by_features = run.directions("features", 2, num_latents=50, label=3)
    assert told["shares"] == pytest.approx(by_features.shares.tolist()) and told["layer"] == by_features.layer
    with np.load(npz) as arrays:
        assert np.array_equal(arrays["vectors"], by_features.vectors.numpy())
