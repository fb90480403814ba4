"""The examples: what the five source documents promise, on small data."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import json
import math
import re
import runpy
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

import gansmith
from gansmith.component import override, to_plain
from gansmith.data.batches import Batches
from gansmith.data.store import prepare
from gansmith.errors import GansmithError
from gansmith.models import algorithms
from gansmith.optimizers import Adam
from gansmith.schedules import Duration
from gansmith.training import loop
from gansmith.training.callbacks import LossLine
from gansmith.training.checkpoint import load_weights
from gansmith.training.loggers import WeightsAndBiases
from gansmith.training.presets import PRESETS, preset

EXAMPLES = Path(__file__).parents[1] / "examples"

Example = Callable[[str], ModuleType]
Script = Callable[..., None]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps of a few images are quicker so, and much quicker beside other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """Imports an example afresh, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Runs an example as a person would, in an empty folder: ``python examples/NAME.py WORDS``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(name: str, *words: str) -> None:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    yield run
    sys.modules.pop("train", None)  # interpolate.py has imported it


def shrink(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Make a preset cheaper for this test."""
    small = dataclasses.replace(PRESETS[name], config=override(PRESETS[name].config, changes))
    monkeypatch.setitem(PRESETS, name, small)


def write_mnist(folder: Path) -> Path:
    """Random digits in MNIST's format."""
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), np.uint8)
    header = struct.pack(">4B3I", 0, 0, 8, 3, *images.shape)
    (folder / "train-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = struct.pack(">4BI", 0, 0, 8, 1, len(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(header + bytes(i % 10 for i in range(len(images))))
    return folder


def write_signs(folder: Path) -> Path:
    """Random traffic signs, laid out as Kaggle does: Train/<class>/<class>_<track>_<frame>.png."""
    draw = np.random.default_rng(0)
    for label in (0, 14):
        (folder / str(label)).mkdir(parents=True)
        for frame in range(4):
            image = Image.fromarray(draw.integers(0, 256, (30, 33, 3), np.uint8))
            image.save(folder / str(label) / f"{label:05}_00000_{frame:05}.png")
    return folder


def write_cifar10(folder: Path) -> Path:
    """Thirty random photographs in the binary version's format."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    rows = [bytes([i % 10]) + draw.integers(0, 256, 3072, np.uint8).tobytes() for i in range(30)]
    (folder / "data_batch_1.bin").write_bytes(b"".join(rows))
    return folder


def write_images(folder: Path) -> Path:
    """Five random images of several kinds and sizes in one folder."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i, kind in enumerate(("png", "jpg", "bmp", "webp", "gif")):
        Image.fromarray(draw.integers(0, 256, (20 + i, 31 - i, 3), np.uint8)).save(folder / f"{i}.{kind}")
    return folder


def num_frames(path: Path) -> int:
    with Image.open(path) as animation:
        return int(getattr(animation, "n_frames", 1))


def files(folder: Path, pattern: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob(pattern)}


def copies(network: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(before: list[torch.Tensor], network: torch.nn.Module) -> bool:
    return all(not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


# --- document 000: train_model.py --------------------------------------------------------------------------


@pytest.fixture
def train_model(example: Example) -> ModuleType:
    module = example("train_model")
    module.BATCH_SIZE = 4
    return module


def test_train_model_has_the_presets_networks_and_rates(example: Example) -> None:
    assert example("train_model").config() == override(preset("dcgan-mnist"), {"held_out": 0.0})


@pytest.mark.parametrize("channels", [1, 3])
def test_train_models_networks(channels: int, train_model: ModuleType) -> None:
    generator = train_model.make_generator_model(channels)
    discriminator = train_model.make_discriminator_model(channels)
    with torch.no_grad():
        images = generator(torch.randn(3, 100))  # labels are optional, as in the tutorial
        assert discriminator(images).shape == (3,)
    assert images.shape == (3, channels, 28, 28)
    assert -1 <= images.min() < -0.1 and 0.1 < images.max() <= 1


@pytest.mark.parametrize("name", ["train_model", "cifar10_gan"])
def test_the_losses_are_cross_entropies_from_logits(name: str, example: Example) -> None:
    module = example(name)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 1.0])
    wanted = entropy(real, torch.ones(2)) + entropy(fake, torch.zeros(2))
    assert module.discriminator_loss(real, fake).item() == pytest.approx(wanted.item())
    assert module.generator_loss(fake).item() == pytest.approx(entropy(fake, torch.ones(2)).item())


def test_a_train_step_moves_both_networks_and_counts(train_model: ModuleType) -> None:
    state = train_model.state(1)
    before = copies(state.generator), copies(state.networks["discriminator"])
    train_model.train_step(torch.rand(4, 1, 28, 28) * 2 - 1)
    assert moved(before[0], state.generator) and moved(before[1], state.networks["discriminator"])
    assert (state.step, state.nimg) == (1, 4)


def test_train_model_on_signs_leaves_the_stated_files(
    train_model: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_model.DATA_PATH = write_signs(tmp_path / "content" / "Train")
    train_model.main(epochs=2)
    pictures = [tmp_path / "images" / f"image_at_epoch_000{epoch}.png" for epoch in (1, 2)]
    assert sorted((tmp_path / "images").iterdir()) == pictures
    with Image.open(pictures[0]) as picture:
        assert (picture.mode, picture.size) == ("RGB", (4 * 58 - 2, 4 * 58 - 2))  # 28 pixels, twice as large
    assert [path.name for path in (tmp_path / "training_checkpoints").iterdir()] == ["000004"]
    assert num_frames(tmp_path / "dcgan.gif") == 2
    said = capsys.readouterr().out
    assert "epoch 2: G " in said
    assert said.endswith("dcgan.gif\n")


def test_train_model_equals_the_command_and_goes_on_exactly(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two epochs in one session, in two, and by ``gansmith train``: the same to the last bit.

    The command measures which algorithm computes a convolution fastest, and the script does not; here none is measured.
    """
    monkeypatch.setattr(algorithms, "LEAST_FLOPS", math.inf)
    mnist = write_mnist(tmp_path / "mnist")

    steps: list[str] = []

    def session(folder: str, epochs: int) -> dict[str, bytes]:
        (tmp_path / folder).mkdir(exist_ok=True)
        module = example("train_model")
        monkeypatch.chdir(tmp_path / folder)
        module.BATCH_SIZE = 4
        train_step = module.train_step
        monkeypatch.setattr(module, "train_step", lambda images: (steps.append(folder), train_step(images)))
        module.main("mnist", mnist, epochs)
        return files(module.project.latest_checkpoint(), "*.safetensors")

    whole = session("whole", 2)
    assert session("halved", 1) != whole
    assert session("halved", 2) == whole
    assert steps == ["whole"] * 6 + ["halved"] * 6  # 12 images, none held out, 4 a step
    assert f"continuing from {Path('training_checkpoints', '000003')}" in capsys.readouterr().out
    assert files(tmp_path / "halved" / "images", "*") == files(tmp_path / "whole" / "images", "*")
    words = {"preset": "dcgan-mnist", "length": "2 epochs", "run": tmp_path / "run"}
    run = gansmith.train("mnist", root=mnist, overrides={"batch_size": 4, "held_out": 0.0, "tracking": None}, **words)
    assert files(run.folder.latest_checkpoint(), "*.safetensors") == whole


def test_ctrl_c_in_train_model_saves_and_says_how_to_continue(
    train_model: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist = write_mnist(tmp_path / "mnist")
    train_step = train_model.train_step
    with monkeypatch.context() as interrupted:
        step = lambda images: (train_step(images), signal.raise_signal(signal.SIGINT))  # noqa: E731
        interrupted.setattr(train_model, "train_step", step)
        train_model.main("mnist", mnist, epochs=2)
    checkpoint = Path("training_checkpoints", "000001")
    said = f"stopped in epoch 1; the same command continues from {checkpoint}"
    assert capsys.readouterr().out.splitlines()[-1] == said
    assert checkpoint.is_dir() and not Path("dcgan.gif").exists()
    train_model.main("mnist", mnist, epochs=1)
    assert train_model.state(1).step == 3


@pytest.mark.parametrize("name", ["cifar10_gan", "folder_gan"])
def test_ctrl_c_in_a_script_without_checkpoints_is_one_line(
    name: str, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train_step", interrupt)
    root = ["--root", str(write_cifar10(tmp_path / "cifar10"))]
    words = root if name == "cifar10_gan" else [str(write_images(tmp_path / "images"))]
    with pytest.raises(SystemExit, match=r"^interrupted; .*gansmith train"):
        script(name, *words)


def test_train_model_says_mistakes_in_one_line(script: Script) -> None:
    with pytest.raises(SystemExit, match=r"^error: data: no data set, .* is called 'mnistt'.*did you mean 'mnist'\?$"):
        script("train_model", "--data", "mnistt", "--epochs", "1")


# --- document 001: basic_gan.py ----------------------------------------------------------------------------


def test_basic_gan_prints_the_stated_line_goes_on_and_generates(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preset("dense-mnist").callbacks == (LossLine(every=Duration(2000, "steps")),)
    shrink(monkeypatch, "dense-mnist", callbacks=[{"name": "loss-line", "every": "2 steps"}])
    words = ["train", "--root", str(write_mnist(tmp_path / "mnist")), "--run", "run"]
    script("basic_gan", *words, "--epochs", "3")
    script("basic_gan", *words, "--epochs", "4")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    for line, epoch in zip(lines, (2, 4), strict=True):
        assert re.fullmatch(rf"Epoch: {epoch}, Generator Loss: \d\.\d+, Discriminator Loss: \d\.\d+", line)
    with Image.open(tmp_path / "run" / "generated.png") as sheet:
        assert (sheet.mode, sheet.size) == ("L", (6 * 30 - 2, 6 * 30 - 2))
    script("basic_gan", "generate", "--num", "3", "--run", "run", "--out", "made.npz")
    with np.load(tmp_path / "made.npz") as made:
        assert made["images"].shape == (3, 28, 28, 1)


def test_basic_gan_says_at_once_what_it_does_and_trains_without_tracking_if_asked(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch, "dense-mnist")
    root = write_mnist(tmp_path / "mnist")
    script("basic_gan", "train", "--root", str(root), "--run", "run", "--epochs", "2", "--no-tracking")
    assert capsys.readouterr().out.startswith("training a basic GAN on mnist until epoch 2, in run\n")
    run = gansmith.open_run("run")
    assert run.config.tracking is None and run.measurements() == []


def test_basic_gan_generates_nothing_before_it_is_trained(script: Script) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*not a run"):
        script("basic_gan", "generate")


# --- document 002: train.py, interpolate.py ----------------------------------------------------------------

SMALL = {"batch_size": 4, "model.width": 2}


@pytest.fixture
def train(example: Example) -> ModuleType:
    return example("train")


@pytest.fixture
def signs(tmp_path: Path) -> Path:
    return write_signs(tmp_path / "Train")


def test_the_networks_are_those_that_the_trainer_trains(
    train: ModuleType, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("dcgan-64", "sndcgan-64"):
        shrink(monkeypatch, name, **{"model.width": 4})
    with torch.no_grad():
        images = train.Generator()(torch.randn(2, 100))
    assert images.shape == (2, 3, 64, 64)
    for discriminator in (train.Discriminator, train.Discriminator_SN):
        trainer = train.Trainer(discriminator, tmp_path / discriminator.__name__, "gtsrb", signs, {"batch_size": 2})
        checkpoint = trainer.train("1 steps").folder.latest_checkpoint()
        load_weights(train.Generator().network, checkpoint / "generator.safetensors")
        network = discriminator()
        load_weights(network.network, checkpoint / "discriminator.safetensors")
        assert network(images).shape == (2,)
        assert {"kid", "precision", "recall"} <= trainer.evaluate(num=8).keys()


def test_only_the_enhanced_discriminator_is_spectrally_normalized(train: ModuleType) -> None:
    def layers(network: torch.nn.Module, *kinds: type[torch.nn.Module]) -> list[Any]:
        return [layer for layer in network.modules() if isinstance(layer, kinds)]

    def largest_stretch(layer: Any) -> float:
        return float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))

    baseline, enhanced = train.Discriminator(), train.Discriminator_SN()
    assert layers(baseline, torch.nn.BatchNorm2d) and not layers(enhanced, torch.nn.BatchNorm2d)
    weighted = torch.nn.Conv2d, torch.nn.Linear
    assert [largest_stretch(layer) for layer in layers(enhanced, *weighted)] == pytest.approx([1] * 5, abs=0.1)
    assert not any(largest_stretch(layer) == pytest.approx(1, abs=0.1) for layer in layers(baseline, *weighted))


def test_a_loaded_checkpoint_goes_on_exactly(train: ModuleType, signs: Path, tmp_path: Path) -> None:
    def trainer(name: str) -> Any:
        return train.Trainer(train.Discriminator_SN, tmp_path / name, "gtsrb", signs, SMALL)

    whole = trainer("whole").train("3 steps")
    trainer("halved").train("2 steps")
    state = train.load_checkpoint(tmp_path / "halved")
    store = prepare(state.config.source, state.config.preparation)
    loop.train_step(state, Batches(store=store, batch_size=4, seed=state.config.seed).batch)
    saved = train.save_checkpoint(state, tmp_path / "halved")
    assert saved.name == "000003"
    assert files(saved, "*.safetensors") == files(whole.folder.latest_checkpoint(), "*.safetensors")
    assert trainer("halved").train("4 steps").status()["step"] == 4


def test_a_trainer_applies_changed_fields_to_a_run_that_it_continues(
    train: ModuleType, signs: Path, tmp_path: Path
) -> None:
    def trainer(**fields: Any) -> Any:
        return train.Trainer(train.Discriminator, tmp_path / "run", "gtsrb", signs, {**SMALL, **fields})

    trainer().train("1 steps")
    assert trainer(batch_size=6).train("2 steps").config.batch_size == 6
    with pytest.raises(GansmithError, match=r"run: was trained with model .*, not .*; choose another folder"):
        trainer(**{"model.width": 5}).train("3 steps")
    with pytest.raises(GansmithError, match=r"run: was trained with data .*, not "):
        train.Trainer(train.Discriminator, tmp_path / "run", str(tmp_path), fields=SMALL).train("3 steps")


def test_weights_and_biases_follows_only_with_a_key_in_the_environment(
    train: ModuleType, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train.Trainer(train.Discriminator, tmp_path / "run", "gtsrb", signs).config.loggers == ()
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    config = train.Trainer(train.Discriminator, tmp_path / "run", "gtsrb", signs).config
    assert config.loggers == (WeightsAndBiases(),)
    assert "0123456789" not in json.dumps(to_plain(config))


def test_a_key_set_later_starts_logging_when_a_trainer_continues_its_run(
    train: ModuleType, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trainer() -> Any:
        return train.Trainer(train.Discriminator, tmp_path / "run", "gtsrb", signs, SMALL)

    assert trainer().train("1 steps").config.loggers == ()
    fake = MagicMock()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert trainer().train("2 steps").config.loggers == (WeightsAndBiases(),)
    assert fake.init.call_args.kwargs["mode"] == "offline" and fake.init().log.called


def test_train_as_a_script_trains_both_and_interpolates(
    script: Script, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dcgan-64", "sndcgan-64"):
        shrink(monkeypatch, name, **SMALL, **{"samples.rows": 2})
    script("train", "--epochs", "1", "--root", str(signs), "--num", "8")
    for name in ("dcgan", "sndcgan"):
        run = gansmith.open_run(tmp_path / "runs" / name)
        assert run.config.preset == f"{name}-64"
        assert run.status()["nimg"] == 8
        assert len(list((run.path / "interpolation").glob("*.png"))) == 8
    assert "  kid " in capsys.readouterr().out.partition("\nsndcgan\n")[2]
    script("evaluate", "--num", "8")
    assert re.search(r"KID.* lower", capsys.readouterr().out)


def test_interpolate_writes_a_series_between_two_random_points(
    script: Script, signs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = gansmith.train("gtsrb", root=signs, preset="dcgan-64", length="1 steps", run="run", overrides=SMALL)
    capsys.readouterr()
    script("interpolate", "run", "--steps", "5")
    paths = sorted((tmp_path / "interpolation").iterdir())
    assert [path.name for path in paths] == [f"0000{i}.png" for i in range(5)]
    start, end = map(int, re.findall(r"seed (\d+)", capsys.readouterr().out))
    assert start != end
    for seed, path in ((start, paths[0]), (end, paths[-1])):
        assert np.array_equal(np.asarray(Image.open(path)), run.generator().sample(1, seed=seed).images[0])


# --- document 003: cifar10_gan.py --------------------------------------------------------------------------


@pytest.fixture
def cifar10_gan(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    shrink(monkeypatch, "dcgan-cifar10", **{"model.width": 4})
    module = example("cifar10_gan")
    module.BATCH_SIZE = 10
    module.output_folder = tmp_path / "working"
    return module


def test_cifar10_gan_has_the_presets_networks_and_rates_and_the_stated_lengths(example: Example) -> None:
    module = example("cifar10_gan")
    assert module.config() == override(preset("dcgan-cifar10"), {"held_out": 0.0})
    assert inspect.signature(module.train).parameters["epochs"].default == 1000
    assert inspect.signature(module.create_gif_from_images).parameters["num_epochs"].default == 10


def test_cifar10_gan_leaves_the_stated_files(
    cifar10_gan: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    train_step = cifar10_gan.train_step
    monkeypatch.setattr(cifar10_gan, "train_step", lambda images: (seen.append(images), train_step(images)))
    cifar10_gan.main(epochs=3, gif_epochs=2, root=write_cifar10(tmp_path / "cifar10"))
    working = tmp_path / "working"
    pictures = [working / f"image_at_epoch_000{epoch}.png" for epoch in (1, 2, 3)]
    assert sorted(working.iterdir()) == [*pictures, working / "progress.gif", working / "sample_images.png"]
    for path in (*pictures, working / "sample_images.png"):
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == ("RGB", (5 * 66 - 2, 5 * 66 - 2))  # 32 pixels, twice as large
    assert num_frames(working / "progress.gif") == 2
    assert len(seen) == 3 * 3  # epochs, batches of the 30 images, none held out
    for images in seen:
        assert images.shape == (10, 3, 32, 32)
        assert -1 <= images.min() < -0.99 and 0.99 < images.max() <= 1


def test_the_5x5_grid_shows_real_images(cifar10_gan: ModuleType, tmp_path: Path) -> None:
    dataset = cifar10_gan.load_dataset(write_cifar10(tmp_path / "cifar10"))
    sheet = np.asarray(Image.open(cifar10_gan.display_sample_images(dataset)))
    assert np.array_equal(sheet[66 * 4 :: 2, 66 * 4 :: 2], dataset.store.images[24])


def test_cifar10_gans_networks(cifar10_gan: ModuleType) -> None:
    generator, discriminator = cifar10_gan.make_generator_model(), cifar10_gan.make_discriminator_model()
    with torch.no_grad():
        images = generator(torch.randn(2, 100))
        assert discriminator(images).shape == (2,)
    assert images.shape == (2, 3, 32, 32)
    assert -1 <= images.min() < 0 < images.max() <= 1


def test_cifar10_gan_says_mistakes_in_one_line(script: Script) -> None:
    with pytest.raises(SystemExit, match=r"^error: cifar10: no cifar-10-binary.tar.gz in .*nowhere; .*--root.*$"):
        script("cifar10_gan", "--root", "nowhere", "--epochs", "1", "--gif-epochs", "1")


def test_a_second_call_of_train_goes_on(cifar10_gan: ModuleType, tmp_path: Path) -> None:
    dataset = cifar10_gan.load_dataset(write_cifar10(tmp_path / "cifar10"))
    cifar10_gan.train(dataset, epochs=1)
    cifar10_gan.train(dataset, epochs=2)
    assert cifar10_gan.state().nimg == 2 * 30


@pytest.mark.parametrize("name", ["train_model", "cifar10_gan"])
def test_in_a_notebook_pictures_show_themselves(name: str, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = pytest.importorskip("IPython")
    module = example(name)
    shown: list[Any] = []
    monkeypatch.setattr(ipython, "get_ipython", object)
    monkeypatch.setattr(ipython.display, "display", shown.append)
    Image.new("L", (3, 3)).save("picture.png")
    module.show(Path("picture.png"))
    assert [picture.data for picture in shown] == [Path("picture.png").read_bytes()]


# --- document 004: folder_gan.py ---------------------------------------------------------------------------


@pytest.fixture
def folder_gan(example: Example, tmp_path: Path) -> ModuleType:
    module = example("folder_gan")
    module.input_shape, module.batch_size, module.latent_dim = (12, 16, 3), 4, 7
    module.output_folder = tmp_path / "made"
    return module


def test_folder_gan_has_the_stated_variables(example: Example) -> None:
    module = example("folder_gan")
    assert module.data_path == "C:\\GANs\\images1"
    assert module.input_shape == (128, 128, 3)
    assert (module.latent_dim, module.batch_size, module.epochs) == (100, 32, 1000)
    assert module.config() == preset("dcgan-folder-128")
    assert module.output_folder == EXAMPLES


@pytest.mark.parametrize("channels", [1, 3])
def test_load_data_brings_any_images_to_the_shape_and_to_0_1(
    channels: int, folder_gan: ModuleType, tmp_path: Path
) -> None:
    folder_gan.input_shape = (12, 16, channels)
    images = folder_gan.load_data(write_images(tmp_path / "images"))
    assert (images.dtype, images.shape) == (np.float32, (5, 12, 16, channels))
    assert 0 <= images.min() < 0.3 and 0.7 < images.max() <= 1


def test_train_step_loses_nothing_of_the_images(folder_gan: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.resize(np.arange(256, dtype=np.uint8), (4, 12, 16, 3))
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(loop, "train_step", lambda state, batch_at: seen.append(batch_at(0, 0, 1).images))
    folder_gan.train_step(pixels.astype(np.float32) / 255)
    assert np.array_equal(seen[0].permute(0, 2, 3, 1).numpy(), pixels)


def test_the_networks_and_the_rates_follow_the_variables(folder_gan: ModuleType) -> None:
    folder_gan.discriminator_optimizer = Adam(lr=1e-5)
    with torch.no_grad():
        images = folder_gan.build_generator()(torch.randn(2, 7))
        assert folder_gan.build_discriminator()(images).shape == (2,)
    assert images.shape == (2, 3, 12, 16)
    assert images.min() >= 0 and images.max() <= 1
    folder_gan.train_step(np.zeros((4, 12, 16, 3), np.float32))
    optimizers = folder_gan.state().optimizers
    assert [optimizers[name].param_groups[0]["lr"] for name in ("generator", "discriminator")] == [2e-4, 1e-5]


def test_a_network_of_ones_own_is_the_one_that_is_trained(folder_gan: ModuleType) -> None:
    own = dataclasses.replace(folder_gan.config().model, width=3).generator(folder_gan.image_spec())
    folder_gan.build_generator = lambda: own
    before = copies(own)
    folder_gan.train_step(np.random.default_rng(0).random((4, 12, 16, 3), np.float32))
    assert moved(before, own)


def test_folder_gan_writes_32_files_every_100_epochs_and_at_the_end(folder_gan: ModuleType, tmp_path: Path) -> None:
    folder_gan.main(str(write_images(tmp_path / "images")), epochs=101)
    names = {f"generated_image_epoch_{epoch}_{i}.png" for epoch in (100, 101) for i in range(32)}
    assert {path.name for path in (tmp_path / "made").iterdir()} == names
    with Image.open(tmp_path / "made" / "generated_image_epoch_100_31.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (16, 12))
    assert folder_gan.state().step == 101  # of 5 images, one batch of 4 an epoch


def test_fewer_images_than_a_batch_take_turns(folder_gan: ModuleType) -> None:
    folder_gan.train(np.random.default_rng(0).random((3, 12, 16, 3), np.float32), epochs=2)
    assert folder_gan.state().step == 2


def test_folder_gan_without_its_folder_says_so_in_one_line(script: Script) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*C:\\GANs\\images1: no such folder or zip$"):
        script("folder_gan")


# --- docs/run-folder.md ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real_pictures")
def test_a_run_folder_is_as_documented(example: Example, tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "run-folder.md").read_text(encoding="utf-8")
    run = gansmith.train(
        "gtsrb", root=write_signs(tmp_path / "Train"), length="4 steps", run=tmp_path / "run", overrides=SMALL
    )
    names: dict[str, Any] = {"run": run.path}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert [nimg for nimg, _ in names["losses"]] == [line["progress/nimg"] for line in run.stats()]
    network = run.generator().network
    assert names["weights"].keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert np.array_equal(names["weights"][name], tensor.numpy())
    assert run.folder.animation("mp4").exists()
    for path in run.path.rglob("*"):
        if not path.name.isdigit() and path.parent.name != "images":
            assert path.name in page, f"{path.name} is not documented"
    states = ("training_checkpoints/000004/state.json", "best/state.json")
    for file in ("data.json", "environment.json", "status.json", *states):
        for key in json.loads((run.path / file).read_text()):
            assert f"`{key}`" in page, f"{file}: {key} is not documented"
    for line in run.folder.read_measurements():
        for key in [*line, *line["generated"], *line["reference"], *line["extractor"]]:
            assert f"`{key}`" in page, f"metrics.jsonl: {key} is not documented"
    for key in run.stats()[-1]:
        assert re.sub(r"penalty/\w+", "penalty/NAME", key.removesuffix(".std")) in page, f"{key} is not documented"
