"""Walks through several samples, and random walks: ends are samples bit for bit, ways are those of plain formulas."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gansmith.errors import ConfigError
from gansmith.images.sheets import enlarge, grid
from gansmith.models.model import GeneratorNetwork
from gansmith.sampling.frames import WalkFrames
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.paths import walk_through
from gansmith.sampling.walks import chain, random_walk
from gansmith.types import Images, Labels, Latents


@pytest.fixture
def three_classes(class_generator: TrainedGenerator) -> TrainedGenerator:
    return dataclasses.replace(class_generator, class_counts=(1, 3, 2))


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Shoemake 1985, by the part of b that is orthogonal to a."""
    length = np.linalg.norm(a), np.linalg.norm(b)
    angle = np.arccos(a @ b / length[0] / length[1])
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


@pytest.mark.parametrize("loop", [False, True])
def test_a_chain_of_seeds_and_labels_passes_their_samples(three_classes: TrainedGenerator, loop: bool) -> None:
    seeds, labels, steps = [1, 2, 5, 9], ["stop", "yield", "go"], 4
    way = chain(three_classes, seeds, labels, steps=steps, loop=loop, num=3)
    legs = 4 if loop else 3
    assert way.z.shape == (3, legs * 3 + (not loop), 8) and way.loop == loop
    images = way.draw(three_classes).images
    for row in range(3):
        for i, seed in enumerate(seeds):
            own = three_classes.sample(1, seed=seed + 9 * row, label=labels[i % 3])
            (z,), _ = three_classes.draw([seed + 9 * row])
            assert torch.equal(way.z[row, 3 * i], z)
            assert np.array_equal(images[row, 3 * i], own.images[0])


def test_between_samples_latents_turn_and_classes_are_mixed(three_classes: TrainedGenerator) -> None:
    way = chain(three_classes, [3, 7], ["go", "stop"], steps=5, loop=True)
    (a, b), _ = three_classes.draw([3, 7])
    wanted = [slerp(a.double().numpy(), b.double().numpy(), t) for t in (0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25)]
    np.testing.assert_allclose(way.z[0].numpy(), wanted, atol=1e-6)
    assert way.labels is not None
    shares = np.array([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(way.labels[0].numpy(), np.stack([shares, 0 * shares, 1 - shares], axis=1), atol=1e-7)
    (made,) = way.draw(three_classes).images
    assert np.array_equal(made[2], three_classes.images(way.z[0, 2:3], torch.tensor([[0.5, 0, 0.5]]))[0])


def test_lerp_and_truncation_of_a_chain(small_generator: TrainedGenerator) -> None:
    way = chain(small_generator, [3, 7, 4], steps=3, method="lerp", truncation=0.5)
    z, _ = small_generator.draw([3, 7, 4])
    wanted = torch.stack([z[0], (z[0] + z[1]) / 2, z[1], (z[1] + z[2]) / 2, z[2]]) / 2
    torch.testing.assert_close(way.z[0], wanted)
    assert way.labels is None
    own = small_generator.sample(1, seed=7, truncation=0.5)
    assert np.array_equal(way.draw(small_generator).images[0, 2], own.images[0])


def test_without_labels_each_seed_has_its_own_class(class_generator: TrainedGenerator) -> None:
    own = class_generator.sample(20).labels
    assert own is not None
    seeds = [own.tolist().index(0), own.tolist().index(1)]
    mixed = chain(class_generator, seeds, steps=3)
    assert mixed.labels is not None
    assert mixed.labels[0].tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0]]
    images = mixed.draw(class_generator).images[0]
    for image, seed in ((images[0], seeds[0]), (images[2], seeds[1])):
        assert np.array_equal(image, class_generator.sample(1, seed=seed).images[0])
    one_class = chain(class_generator, seeds, ["yield"], steps=3)
    assert one_class.labels is not None and one_class.labels.tolist() == [[1, 1, 1]]


def test_one_seed_may_pass_several_classes(three_classes: TrainedGenerator) -> None:
    way = chain(three_classes, [4], ["stop", "go"], steps=3, num=2)
    (first, second), _ = three_classes.draw([4, 5])
    assert torch.equal(way.z, torch.stack([first.expand(3, -1), second.expand(3, -1)]))


def test_the_way_back_is_not_repeated() -> None:
    ends = torch.eye(3)
    way = walk_through(ends, 3, "lerp", loop=True)
    torch.testing.assert_close(way[1::2], torch.tensor([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]]))
    assert torch.equal(way[::2], ends)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": [1]}, "seeds: got 1 seeds and 0 labels; expected at least two seeds or two labels"),
        ({"seeds": [], "labels": ["go", "stop"]}, "seeds: got 0 seeds and 2 labels; expected at least two seeds or"),
        ({"labels": ["stopp"]}, "label: no class is called 'stopp'; did you mean 'stop'?"),
        ({"num": 0}, "num: 0 is out of range; expected 1 to 1,000 walks"),
        ({"truncation": 0.0}, "truncation: 0.0 is out of range; expected more than 0 and at most 1"),
        ({"seeds": [1, 2**63 - 1], "num": 2}, "seeds: 9223372036854775808 is out of range"),
        ({"steps": 1}, "steps: 1 is out of range; expected 2"),
    ],
)
def test_what_no_chain_can_be_is_one_line(
    three_classes: TrainedGenerator, changed: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {"seeds": [1, 2], **changed}
    with pytest.raises(ConfigError) as caught:
        chain(three_classes, **arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


class Wired(GeneratorNetwork):
    """Reads the class number itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 3 * 12 * 16)

    def forward(self, z: Latents, labels: Labels | None = None) -> Images:
        assert labels is not None
        return torch.tanh(self.layer(z) * (1 + labels[:, None])).view(-1, 3, 12, 16)


def test_a_network_that_cannot_mix_says_so_and_keeps_one_class(three_classes: TrainedGenerator) -> None:
    wired = dataclasses.replace(three_classes, network=Wired())
    with pytest.raises(ConfigError) as caught:
        chain(wired, [1, 2], ["stop", "go"])
    assert str(caught.value) == (
        "labels: Wired does not read the class through embeddings only, so there is nothing between two classes; "
        "give one label for all images"
    )
    way = chain(wired, [1, 2], ["go"], steps=3)
    assert np.array_equal(way.draw(wired).images[0, 2], wired.sample(1, seed=2, label="go").images[0])


# --- random walks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_a_random_walk_is_smooth_closed_and_begins_at_its_seed(small_generator: TrainedGenerator, latent: str) -> None:
    model = dataclasses.replace(small_generator.model, latent=latent)
    generator = dataclasses.replace(small_generator, model=model)
    way, again = (random_walk(generator, 5, steps=200, num=2) for _ in range(2))
    assert torch.equal(way.z, again.z) and way.loop
    assert torch.equal(way.z[1], random_walk(generator, 6, steps=200).z[0])
    z, _ = generator.draw([5, 6])
    assert torch.equal(way.z[:, 0], z)
    closed = torch.cat([way.z, way.z[:, :1]], dim=1).double()
    paces = closed.diff(dim=1).norm(dim=2)
    assert paces.min() > 0.02 and paces.max() < 5 * paces.mean()
    turns = closed.diff(n=2, dim=1).norm(dim=2)
    assert turns.max() < 0.4 * paces.max()  # a corner of chained seeds turns by as much as the pace
    if latent == "uniform":
        assert way.z.abs().max() <= 1


@pytest.mark.parametrize(("steps", "num_harmonics"), [(40, 1), (200, 4)])
def test_a_random_walk_consists_of_few_harmonics(
    small_generator: TrainedGenerator, steps: int, num_harmonics: int
) -> None:
    spectrum = np.abs(np.fft.rfft(random_walk(small_generator, 3, steps=steps).z[0].double().numpy(), axis=0))
    assert spectrum[1 : num_harmonics + 1].min(axis=0).max() > 0.1
    assert max(spectrum[0].max(), spectrum[num_harmonics + 1 :].max()) < 1e-4 * steps


@pytest.mark.parametrize(("latent", "variance"), [("normal", 1.0), ("uniform", 1 / 3)])
def test_its_latents_are_distributed_as_those_of_seeds(
    small_generator: TrainedGenerator, latent: str, variance: float
) -> None:
    model = dataclasses.replace(small_generator.model, latent=latent)
    z = random_walk(dataclasses.replace(small_generator, model=model), 0, steps=100, num=400).z
    moments = z.double().square().mean(dim=(0, 2))  # of 3,200 numbers each
    assert (moments / variance - 1).abs().max() < 0.12


def test_a_random_walk_may_pass_classes(three_classes: TrainedGenerator) -> None:
    way = random_walk(three_classes, 1, ["go", "stop"], steps=8)
    assert way.labels is not None
    shares = np.array([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(way.labels[0].numpy(), np.stack([shares, 0 * shares, 1 - shares], axis=1), atol=1e-7)
    plain = random_walk(three_classes, 1, steps=8, num=2)
    own = three_classes.sample(2, seed=1).labels
    assert plain.labels is not None and own is not None and plain.labels[:, 3].tolist() == own.tolist()
    for way_to, seed in ((way, 1), (plain, 1)):
        label = "go" if way_to is way else None
        first = way_to.draw(three_classes).images[0, 0]
        assert np.array_equal(first, three_classes.sample(1, seed=seed, label=label).images[0])


# --- files -------------------------------------------------------------------------------------------------

TWO = WalkFrames(images=np.random.default_rng(0).integers(0, 256, (2, 3, 8, 10, 3), np.uint8))


def shown(path: Path) -> list[np.ndarray]:
    with Image.open(path) as read:
        frames = []
        for i in range(getattr(read, "n_frames", 1)):
            read.seek(i)
            frames.append(np.asarray(read.convert("RGB")))
    return frames


def test_a_sheet_has_a_row_per_walk_enlarged_to_be_seen(tmp_path: Path) -> None:
    (sheet,) = shown(TWO.save(tmp_path / "x.png"))
    assert np.array_equal(sheet, grid(enlarge(TWO.images.reshape(6, 8, 10, 3), 29), 3, scale=1))
    (scaled,) = shown(TWO.save(tmp_path / "y.png", scale=3))
    assert scaled.shape == (24 * 2 + 2, 30 * 3 + 4, 3)
    (smooth,) = shown(TWO.save(tmp_path / "z.png", scale=3, smooth=True))
    wanted = np.asarray(Image.fromarray(TWO.images[1, 2]).resize((30, 24), Image.Resampling.BICUBIC))
    assert np.array_equal(smooth[26:, 64:], wanted)


@pytest.mark.parametrize("loop", [False, True])
def test_an_animation_shows_all_walks_at_once(loop: bool, tmp_path: Path) -> None:
    walks = dataclasses.replace(TWO, loop=loop)
    path = walks.save(tmp_path / "x.gif", fps=20, scale=4)
    frames = shown(path)
    assert len(frames) == (3 if loop else 4)
    for frame, step in zip(frames, (0, 1, 2, 1), strict=False):
        wanted = grid(enlarge(walks.images[:, step], 4), 2, scale=1)
        assert frame.shape == wanted.shape and np.abs(frame.astype(int) - wanted).mean() < 40  # 256 colours a frame
    with Image.open(path) as read:
        read.seek(len(frames) - 1)
        assert read.info["duration"] == (50 if loop else 1550)


def test_arrays_and_folders_keep_the_pixels(tmp_path: Path) -> None:
    with np.load(TWO.save(tmp_path / "x.npz"), allow_pickle=False) as read:
        assert np.array_equal(read["images"], TWO.images)
    folder = TWO.save(tmp_path / "frames")
    assert len(list(folder.iterdir())) == 6
    assert np.array_equal(shown(folder / "walk001_00002.png")[0], TWO.images[1, 2])
    large = WalkFrames(images=TWO.images[:1]).save(tmp_path / "large", scale=2)
    assert np.array_equal(shown(large / "00001.png")[0], enlarge(TWO.images[0, 1], 2))
    with pytest.raises(ConfigError, match=r"cannot write \.avi files; expected x\.png, x\.gif, x\.mp4, x\.npz"):
        TWO.save(tmp_path / "x.avi")


def test_memory_for_enlarged_images_is_asked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr("gansmith.sampling.frames.require_bytes", lambda *given: asked.append(given))
    TWO.save(tmp_path / "x.gif", scale=5)
    size = 42 * 52 * 4
    assert asked == [(4 * 3 * 3 * size, torch.device("cpu"), "scale", f"3 frames of {size:,} pixels")]


@pytest.mark.parametrize("scale", [0, -1, 65])
def test_a_scale_out_of_range_is_one_line(scale: int, tmp_path: Path) -> None:
    for name in ("x.png", "x.gif", "folder"):
        with pytest.raises(ConfigError, match=rf"^scale: {scale} is out of range; expected 1 to 64$"):
            TWO.save(tmp_path / name, scale=scale)


def test_a_notebook_shows_the_rows() -> None:
    assert TWO._repr_png_().startswith(b"\x89PNG") and repr(TWO) == "<WalkFrames: 2 x 3 images, 10x8 (width x height)>"
