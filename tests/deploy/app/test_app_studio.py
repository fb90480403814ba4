"""The page's images: those of the command line, whoever asks beside; what runs it finds; what it tells visitors."""

from __future__ import annotations

import json
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansmith.api import train
from gansmith.cli import main
from gansmith.deploy.app.controls import clean_text, make_spot
from gansmith.deploy.app.markup import data_address, fill_template, list_tiles
from gansmith.deploy.app.picture_views import show_neighbours
from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.app.shelf import MOST_GENERATORS, Shelf
from gansmith.deploy.app.studio import MAP_SIDE, REACH, Spot, Studio
from gansmith.deploy.app.training_images import NeighbourFinder
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.nearest import find_run_neighbours
from gansmith.evaluation.options import EvaluationOptions
from gansmith.images.pixels import png_bytes
from gansmith.metrics.random_conv import RandomConv
from gansmith.numerals import number
from gansmith.plain_json import write_json
from gansmith.runs import RunFolder
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.sampling.projection import Search
from gansmith.types import PixelArray

NAME = "signs run"


def test_a_grid_is_that_of_the_command_line(studio: Studio, run: Path, tmp_path: Path) -> None:
    words = ["--seed", "7", "--num", "5", "--label", "3", "--truncation", "0.6", "--out", str(tmp_path / "x.npz")]
    assert main(["sample", str(run), *words]) == 0
    with np.load(tmp_path / "x.npz") as arrays:
        found = studio.sample(Spot(run=NAME, seed=7, label=3, truncation=0.6), 5)
        assert np.array_equal(found.images, arrays["images"]) and found.images.std() > 1
        assert found.labels is not None and np.array_equal(found.labels, arrays["labels"])


def test_answers_do_not_depend_on_who_asks_beside(studio: Studio) -> None:
    spots = [Spot(run=NAME, seed=seed, label=seed % 3) for seed in range(4)]
    alone = [studio.sample(spot, 3).images for spot in spots]
    found: dict[tuple[int, int], PixelArray] = {}
    barrier = threading.Barrier(4)

    def visit(i: int) -> None:
        barrier.wait()
        for turn in range(3):
            found[i, turn] = studio.sample(spots[i], 3).images

    visitors = [threading.Thread(target=visit, args=(i,)) for i in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert len(found) == 12
    assert all(np.array_equal(images, alone[i]) for (i, _), images in found.items())


def test_a_walk_visits_the_samples_of_its_seeds(studio: Studio) -> None:
    spot = Spot(run=NAME, seed=0, label=4, truncation=0.8)
    ends = [studio.sample(replace(spot, seed=seed), 1).images[0].astype(int) for seed in (3, 9)]
    there = studio.walk(spot, [3, 9], 4).images.astype(int)
    assert len(there) == 4 + 1
    assert np.abs(there[0] - ends[0]).max() <= 1 and np.abs(there[4] - ends[1]).max() <= 1
    around = studio.walk(spot, [3, 9], 4, method="lerp", loop=True).images.astype(int)
    assert len(around) == 2 * 4 and np.abs(around[4] - ends[1]).max() <= 1
    generator = studio.shelf.generator(NAME)
    z, labels = generator.draw([3, 9], 4)
    assert labels is not None
    middle = generator.images((z[:1] + z[1:]) / 2 * 0.8, labels[:1])
    assert np.abs(around[2] - middle[0]).max() <= 1, "half of a straight way"
    assert np.abs(there[2] - middle[0]).max() > 1, "which a spherical one does not take"


def test_a_walk_visits_classes(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    spot = Spot(run=NAME, seed=3)
    named = studio.walk(spot, [3], 2, classes=[14, 1]).images.astype(int)
    own = studio.walk(spot, [3, 9], 2).images.astype(int)
    monkeypatch.setattr(TrainedGenerator, "can_mix_classes", lambda self: False)
    first = studio.walk(spot, [3, 9], 2).images.astype(int)
    labels = studio.sample(spot, 7).labels
    assert labels is not None and labels[0] != labels[6]
    for images, label, seed in ((named, 1, 3), (own, int(labels[6]), 9), (first, int(labels[0]), 9)):
        end = studio.sample(replace(spot, label=label, seed=seed), 1).images[0]
        assert len(images) == 3 and np.abs(images[2] - end).max() <= 1


def test_steps_along_directions_move_the_latent(studio: Studio) -> None:
    spot = Spot(run=NAME, seed=8, label=2, truncation=0.9)
    still = studio.move(spot, [0.0] * 6).images
    assert np.array_equal(still, studio.sample(spot, 1).images)
    generator = studio.shelf.generator(NAME)
    vectors = studio.directions(NAME).vectors
    assert studio.directions(NAME) is studio.directions(NAME) and len(vectors) == 6
    z, labels = generator.draw([8], 2)
    moved = generator.images((z + 2.5 * vectors[1:2] - vectors[4:5]) * 0.9, labels)
    found = studio.move(spot, [0, 2.5, 0, 0, -1.0, 0]).images
    assert np.array_equal(found, moved) and not np.array_equal(found, still)


def test_the_map_shows_two_directions_from_the_left_and_from_below(studio: Studio) -> None:
    spot = Spot(run=NAME, seed=8, label=2)
    drawn = studio.map(spot, [0, 0, 1.0, 0, 0, 0], 3, 1).images.astype(int)
    assert len(drawn) == MAP_SIDE**2
    for row, column, y, x in ((0, 0, REACH, -REACH), (2, 2, 0, 0), (4, 3, -REACH, REACH / 2)):
        expected = studio.move(spot, [0, y, 1.0, x, 0, 0]).images[0]
        assert np.abs(drawn[row * MAP_SIDE + column] - expected).max() <= 1
    with pytest.raises(ConfigError, match="pad: expected two different directions"):
        studio.map(spot, [0.0] * 6, 1, 1)


def test_requests_beyond_the_limits_are_refused(studio: Studio) -> None:
    spot = Spot(run=NAME, seed=0)
    for num in (0, 33, 10**9):
        with pytest.raises(ConfigError, match=f"images: {num} are out of range; expected 1 to 32"):
            studio.sample(spot, num)
    with pytest.raises(ConfigError, match="frames: 41 are out of range; expected 1 to 40"):
        studio.walk(spot, [1, 2, 3], 20)
    with pytest.raises(ConfigError, match="seeds: got 1 seeds or classes; expected 2 to 32"):
        studio.walk(spot, [1], 4)
    with pytest.raises(ConfigError, match="frames: 0 is out of range"):
        studio.walk(spot, [1, 2], 0)
    small = Studio(studio.shelf, AppSettings(most_pixels=32 * 32 * 4))
    with pytest.raises(ConfigError, match="images: 5 are out of range; expected 1 to 4"):
        small.sample(spot, 5)
    for steps in ([float("nan")], [3.1], [float("inf")]):
        with pytest.raises(ConfigError, match="directions: expected steps from -3 to 3"):
            studio.move(spot, steps)
    with pytest.raises(ConfigError, match="truncation: 0 is out of range"):
        Spot(run=NAME, seed=0, truncation=0)
    with pytest.raises(ConfigError, match="no class 43; expected 0 to 42"):
        studio.sample(Spot(run=NAME, seed=0, label=43), 1)
    with pytest.raises(ConfigError, match="runs: got 7; expected 1 to 6"):
        studio.compare([spot] * 7, 1)


@pytest.mark.parametrize(
    "values",
    [
        *((None, 0, "", 1), ("x", None, "", 1), ("x", float("nan"), "", 1), ("x", 2**60, "", 1), ("x", True, "", 1)),
        *(("x", 0, "stop", 1), ("x", 0, "-1", 1), ("x", 0, 3, 1), ("x", 0, "", "1"), ("x", 0, "", None)),
        (["x"], 0, "", 1),
    ],
)
def test_controls_accept_what_they_offer_only(values: tuple[object, ...]) -> None:
    with pytest.raises(ConfigError):
        make_spot(*values)
    assert make_spot("x", -5.0, "3", 0.5) == Spot(run="x", seed=-5, label=3, truncation=0.5)


def test_a_picture_is_projected_into_its_class(studio: Studio) -> None:
    own = Studio(studio.shelf, AppSettings(), Search(num_candidates=8, starts=1, steps=1))
    image = studio.sample(Spot(run=NAME, seed=2, label=14), 1).images[0]
    found = own.project(Spot(run=NAME, seed=0, label=14), Image.fromarray(image))
    assert np.array_equal(found.images[0], image) and found.labels is not None and found.labels.tolist() == [14]
    generator = studio.shelf.generator(NAME)
    assert np.array_equal(found.reconstructions, generator.images(found.latents, torch.tensor([14])))
    assert Studio(studio.shelf, AppSettings()).search.steps > 1


# --- nearest training images -------------------------------------------------------------------------------

HOSTILE = "<img src=x onerror=alert(1)>"
RANDOM_FEATURES = EvaluationOptions(extractor=RandomConv())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, hardly trained on small images of two classes, in a folder of its own beside its data."""
    home = tmp_path_factory.mktemp("trained")
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    np.savez(home / "data.npz", images=images, labels=np.arange(60) % 2)
    overrides = {"batch_size": 4, "model.width": 4, "tracking": "none", "samples.at_start": False}
    return train(home / "data.npz", run=home / "small", length="2 steps", overrides=overrides).path


def test_the_nearest_training_images_are_those_of_the_run(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(Shelf([str(trained)]), AppSettings(most_images=12), evaluation=RANDOM_FEATURES)
    spot = Spot(run="small", seed=5, label=1, truncation=0.7)
    assert not studio.knows_training_images("small")
    found = studio.nearest(spot, 2, 3)
    samples = studio.sample(spot, 2)
    expected = find_run_neighbours(studio.shelf.open("small"), samples, 3, RANDOM_FEATURES)
    assert np.array_equal(found.samples.images, samples.images) and found.samples.seeds == (5, 6)
    assert np.array_equal(found.images, expected.images) and np.array_equal(found.numbers, expected.numbers)
    assert np.array_equal(found.distances, expected.distances) and found.typical == expected.typical
    assert np.array_equal(found.differences, expected.differences) and len(set(found.numbers[0].tolist())) == 3
    assert Studio(Shelf([str(trained)]), AppSettings()).nearest(spot, 1, 1).extractor == "efficientnet-lite1"
    page = show_neighbours(found)
    for images in (samples.images, found.images[0], found.images[1]):
        assert all(data_address(png_bytes(image), "image/png") in page for image in images)
    assert all(f"distance {number(float(each))}" in page for each in found.distances.flat)
    assert page.count("<img") == 2 * 4 and page.count(": no copy") == 2
    assert "seed 5, class 1: no copy" in page and re.search(r"distance [\d.]+, class [01]</figcaption>", page)
    monkeypatch.setattr("gansmith.deploy.app.training_images.open_neighbourhood", None)
    assert studio.knows_training_images("small"), "so features are computed once"
    assert np.array_equal(studio.nearest(replace(spot, seed=6), 1, 3).samples.images[0], samples.images[1])
    with pytest.raises(ConfigError, match="images: 16 are out of range; expected 1 to 12"):
        studio.nearest(spot, 4, 3)
    with pytest.raises(ConfigError, match="training images: 13 is out of range; expected 1 to 12"):
        studio.nearest(spot, 1, 13)


def test_a_copy_is_called_one_and_names_are_escaped(trained: Path) -> None:
    images = find_run_neighbours(
        RunFolder(trained), Samples(images=np.zeros((1, 8, 8, 3), np.uint8)), 1, RANDOM_FEATURES
    )
    samples = Samples(images=images.images[0], labels=np.array([1]), seeds=(3,), class_names=("a", HOSTILE))
    found = find_run_neighbours(RunFolder(trained), samples, 2, RANDOM_FEATURES)
    page = show_neighbours(replace(found, class_names=(HOSTILE, HOSTILE), extractor=HOSTILE))
    assert ": a copy of a training image" in page and ": no copy" not in page and "distance 0" in page
    assert page.count("<img") == 3 and HOSTILE not in page and "&lt;img src=x onerror=alert(1)&gt;</figcaption>" in page
    assert "onerror" not in re.sub("&lt;img src=x onerror=alert.1.&gt;", "", page)
    shown = fill_template("compare", rows=[{"name": HOSTILE, "tiles": list_tiles(samples), "why": ""}])
    assert shown.count("<img") == 1 and HOSTILE not in shown


def test_training_images_that_are_away_are_one_clear_line(trained: Path, tmp_path: Path) -> None:
    shelf = Shelf([str(trained)])
    studio = Studio(shelf, AppSettings(), evaluation=RANDOM_FEATURES)
    data = trained.parent / "data.npz"
    data.rename(tmp_path / "away.npz")
    try:
        with pytest.raises(RunError) as caught:
            studio.nearest(Spot(run="small", seed=0), 1, 2)
    finally:
        (tmp_path / "away.npz").rename(data)
    said = "small: its training images are not on this machine, or have changed; the log of the page says why"
    assert str(caught.value) == said == clean_text(shelf, said)


def test_a_visitor_causes_no_download(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))
    monkeypatch.setattr("gansmith.download.urlopen", None)
    shutil.copytree(trained, tmp_path / "small")
    facts = json.loads((tmp_path / "small" / "config.json").read_text("utf-8"))
    write_json(tmp_path / "small" / "config.json", {**facts, "data": {"name": "mnist", "root": None}})
    with pytest.raises(RunError, match="small: its training images are not on this machine"):
        NeighbourFinder(Shelf([str(tmp_path / "small")])).find(
            "small", Samples(images=np.zeros((1, 8, 8, 3), np.uint8)), 1
        )


# --- runs --------------------------------------------------------------------------------------------------


def test_runs_of_a_folder_come_and_go(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf([str(tmp_path)])
    assert shelf.lists_folders and shelf.names() == []
    monkeypatch.setattr("gansmith.deploy.app.shelf.RESCAN_SECONDS", 0.0)
    shutil.copytree(run, tmp_path / "deep" / "one")
    assert shelf.names() == ["deep/one"]
    ((name, summary),) = shelf.summaries()
    assert (name, summary.state, summary.data) == ("deep/one", "finished", "signs")
    shutil.rmtree(tmp_path / "deep")
    assert shelf.names() == []
    with pytest.raises(ConfigError, match="run: this run does not exist any more"):
        shelf.generator("deep/one")


def test_names_of_runs_are_short_and_different(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "others" / "signs run"
    shutil.copytree(run, other)
    shelf = Shelf([str(run), str(other), "zoo:signs-32"])
    assert shelf.names() == ["signs run", "others/signs run", "zoo:signs-32"]
    assert shelf.path("others/signs run") == other and not shelf.lists_folders
    assert shelf.generator("zoo:signs-32").spec.num_classes == 43
    with pytest.raises(RunError, match="no such run or folder; name a run, or the folder with your runs"):
        Shelf([str(tmp_path / "nothing")])


def test_a_new_checkpoint_is_read_and_few_are_kept(run: Path, tmp_path: Path) -> None:
    homes = []
    for i in range(MOST_GENERATORS + 1):
        homes.append(tmp_path / f"run{i}")
        shutil.copytree(run, homes[-1])
    shelf = Shelf([str(home) for home in homes])
    first = shelf.generator("run0")
    assert shelf.generator("run0") is first
    shutil.copytree(homes[0] / "best", homes[0] / "new")
    shutil.rmtree(homes[0] / "best")
    (homes[0] / "new").rename(homes[0] / "best")
    assert shelf.generator("run0") is not first
    again = shelf.generator("run0")
    for i in range(1, MOST_GENERATORS + 1):
        shelf.generator(f"run{i}")
    assert shelf.generator("run0") is not again


def test_visitors_see_names_instead_of_paths(studio: Studio, run: Path) -> None:
    shelf = studio.shelf
    assert clean_text(shelf, f"{run}: no checkpoint yet") == "signs run: no checkpoint yet"
    assert clean_text(shelf, f"{run}/best/state.json: damaged") == "signs run/best/state.json: damaged"
    assert clean_text(shelf, "/home/my name/a.npz: not found; put it back") == "a.npz: not found; put it back"
    assert clean_text(shelf, "cannot read 'C:\\Users\\me\\a.png'") == "cannot read 'a.png'"
    assert clean_text(shelf, "expected 30 img/s\nor more") == "expected 30 img/s or more"


def test_pictures_keep_their_pixels(studio: Studio) -> None:
    import base64
    import io
    import re

    from gansmith.deploy.app.markup import list_tiles, show_player

    samples = studio.sample(Spot(run=NAME, seed=1), 2)
    for tile, image in zip(list_tiles(samples), samples.images, strict=True):
        kind, _, data = tile.src.partition(",")
        assert kind == "data:image/png;base64"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), image)
    frames = studio.walk(Spot(run=NAME, seed=1), [1, 2], 19, loop=True)
    shown = show_player(frames, [1, 2], loop=True)
    (data,) = re.findall(r'class="frames" src="data:image/png;base64,([^"]*)"', shown)
    stacked = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert stacked.shape == (3 * 32, 16 * 32, 3) and 'data-frames="38" data-columns="16"' in shown
    assert np.array_equal(stacked[32:64, 64:96], frames.images[18])
    (gif,) = re.findall(r'href="data:image/gif;base64,([^"]*)"', shown)
    assert Image.open(io.BytesIO(base64.b64decode(gif))).n_frames == 38  # type: ignore[attr-defined]
