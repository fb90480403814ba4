"""python examples/train_model.py

Traffic signs, or handwritten digits, from the 28-pixel DCGAN of TensorFlow's tutorial (Radford et al. 2016).

The script trains on GTSRB if Kaggle's folder /content/Train exists, otherwise on MNIST. ``--data gtsrb``,
``--data mnist`` or ``--data FOLDER`` choose. It writes a sheet per epoch to images/, checkpoints to
training_checkpoints/, and the progress as dcgan.gif. The next call continues from the newest checkpoint. For labels,
faster networks and statistics: ``gansmith train mnist``.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import torch
import tyro
from torch import Tensor

from gansmith.component import override
from gansmith.console import show, stop_on_signal, work_progress
from gansmith.data import resolve
from gansmith.data.batches import Batches
from gansmith.data.store import prepare
from gansmith.devices import choose_compute
from gansmith.errors import GansmithError
from gansmith.images.pixels import save_png, to_array, to_float, to_uint8
from gansmith.images.sheets import grid
from gansmith.images.video import write_animation
from gansmith.losses import Sigmoid
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork
from gansmith.optimizers import Adam
from gansmith.runs import RunFolder
from gansmith.training import loop
from gansmith.training.checkpoint import load_state, save_state
from gansmith.training.config import Config
from gansmith.training.presets import preset
from gansmith.training.sample_sheets import find_pictures, read_frame
from gansmith.training.state import TrainState
from gansmith.trust import trust_user_input
from gansmith.types import Batch, Images, ImageSpec, Latents, Logits

DATA_PATH = Path("/content/Train")  # Train/<class>/*.png, after download and unzipping
EPOCHS = 50
BATCH_SIZE = 256
CHECKPOINT_EVERY = 15  # epochs
PICTURE = "image_at_epoch_{epoch:04}.png"

loss = Sigmoid()  # cross-entropy from logits
generator_optimizer = Adam(lr=1e-4, betas=(0.9, 0.999), eps=1e-7)
discriminator_optimizer = Adam(lr=1e-4, betas=(0.9, 0.999), eps=1e-7)

project = RunFolder(Path())  # knows images/ and training_checkpoints/


def config() -> Config:
    """Return the preset ``dcgan-mnist`` with the settings above, trained on every image."""
    changes = {
        "batch_size": BATCH_SIZE,
        "loss": loss,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "held_out": 0.0,  # trained on every image, as in the tutorial
    }
    return override(preset("dcgan-mnist"), changes)


def load_dataset(data: str = "", root: Path | None = None) -> Batches:
    """Return endless batches of 28x28 images, gray or colour like the data.

    Args:
        data: name of a data set, or a folder; if empty, gtsrb if ``DATA_PATH`` exists, otherwise mnist.
        root: local copy of the named data set; default for gtsrb: ``DATA_PATH``.
    """
    data = data or ("gtsrb" if DATA_PATH.is_dir() else "mnist")
    if data == "gtsrb" and DATA_PATH.is_dir():
        root = root or DATA_PATH
    with work_progress("preparing images") as progress:
        with trust_user_input():  # your own source, "package.module:Class"
            source = resolve(data, root)
        store = prepare(source, config().preparation, progress=progress)
    return Batches(store=store, batch_size=BATCH_SIZE, seed=config().seed)


def make_generator_model(channels: int = 1) -> GeneratorNetwork:
    """Return the generator: noise [n 100] to images [n channels 28 28] in [-1, 1], by transposed convolutions."""
    return config().model.generator(ImageSpec(height=28, width=28, channels=channels))


def make_discriminator_model(channels: int = 1) -> DiscriminatorNetwork:
    """Return the discriminator: images [n channels 28 28] to logits [n]; convolutions, leaky ReLU, dropout."""
    return config().model.discriminator(ImageSpec(height=28, width=28, channels=channels))


def generator_loss(fake_output: Logits) -> Tensor:
    """Return the generator's loss: low if the discriminator classifies fakes as real."""
    return loss.generator(fake_output.new_empty(0), fake_output).mean()


def discriminator_loss(real_output: Logits, fake_output: Logits) -> Tensor:
    """Return the discriminator's loss: low if it separates real images from fakes."""
    return loss.discriminator(real_output, fake_output).mean()


@functools.cache
def state(channels: int, /) -> TrainState:
    """Return both networks and their optimizers, created at the first call for this number of channels."""
    return TrainState.create(
        config(),
        ImageSpec(height=28, width=28, channels=channels),
        choose_compute("auto", "auto"),
        epoch_size=1,  # train() counts the epochs itself
        networks=lambda: {
            "generator": make_generator_model(channels),
            "discriminator": make_discriminator_model(channels),
        },
    )


def train_step(images: Images) -> None:
    """Make one training step: fakes from noise, both losses, one update of each network.

    Args:
        images: real images, float32 [n c 28 28] in [-1, 1]; n is ``BATCH_SIZE``.
    """
    batch = Batch(to_uint8(images), None)
    loop.train_step(state(images.shape[1]), lambda *place: batch)


def train(dataset: Batches, epochs: int) -> bool:
    """Train until ``epochs`` epochs have passed, including those before a restored checkpoint.

    Ctrl-C, or a signal to terminate, saves a checkpoint and stops.

    Returns:
        Whether all epochs have passed.
    """
    trained = state(dataset.store.spec.channels)
    trained.epoch_size = len(dataset)
    seed = trained.config.model.draw_latents(16, torch.Generator().manual_seed(0))
    with stop_on_signal() as stop_asked:
        for epoch in range(int(trained.progress.epoch) + 1, epochs + 1):
            while trained.progress.epoch < epoch:
                if stop_asked():
                    print(f"stopped in epoch {epoch}; the same command continues from {save_checkpoint(trained)}")
                    return False
                train_step(to_float(dataset.batch(trained.nimg).images))
            means = trained.statistics.last_means()
            print(f"epoch {epoch}: G {means['loss/generator']:.4f} D {means['loss/discriminator']:.4f}", flush=True)
            generate_and_save_images(trained.generator, epoch, seed)
            if epoch % CHECKPOINT_EVERY == 0 or epoch == epochs:
                save_checkpoint(trained)
    return True


def generate_and_save_images(model: GeneratorNetwork, epoch: int, test_input: Latents) -> Path:
    """Write the images of ``test_input`` as one sheet, four per row: images/image_at_epoch_0001.png."""
    device = next(model.parameters()).device
    with torch.no_grad():
        images = model.eval()(test_input.to(device), None)
    model.train()
    return save_png(grid(to_array(to_uint8(images)), columns=4), project.images / PICTURE.format(epoch=epoch))


def save_checkpoint(trained: TrainState) -> Path:
    """Write both networks, both optimizers and all counts to training_checkpoints/."""
    statistics = trained.statistics.to_plain()
    return project.add_checkpoint(trained.step, lambda folder: save_state(trained, folder, statistics), keep=2)


def restore_latest_checkpoint(channels: int = 1) -> TrainState:
    """Return the newest checkpoint of training_checkpoints/, or new networks if there is none."""
    if project.checkpoints():
        print(f"continuing from {project.latest_checkpoint()}", flush=True)
        load_state(state(channels), project.latest_checkpoint())
    return state(channels)


def create_gif(path: Path = Path("dcgan.gif")) -> Path:
    """Write all sheets of images/ as a GIF; the last frame stays longer."""
    return write_animation(map(read_frame, find_pictures(PICTURE, project.images)), path)


def main(data: str = "", root: Path | None = None, epochs: int = EPOCHS) -> None:
    """Train a DCGAN at 28 pixels, or continue a training.

    Args:
        data: mnist, gtsrb, another data set, or a folder of images; default: /content/Train if it exists, else mnist.
        root: local copy of the named data set.
        epochs: passes over the data, including earlier calls.
    """
    dataset = load_dataset(data, root)
    restore_latest_checkpoint(dataset.store.spec.channels)
    if train(dataset, epochs):
        show(create_gif())


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except GansmithError as error:
        sys.exit(f"error: {error}")
