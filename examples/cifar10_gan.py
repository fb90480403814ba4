"""python examples/cifar10_gan.py

A GAN on CIFAR-10: a sheet of samples per epoch, and a GIF of the progress.

The script writes to /kaggle/working if this folder exists, otherwise to the current folder. In a notebook it displays
the sheets. For a training that can be interrupted: ``gansmith train cifar10 --preset dcgan-cifar10``.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import torch
import tyro
from torch import Tensor

from gansmith.component import override
from gansmith.console import show
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
from gansmith.training import loop
from gansmith.training.config import Config
from gansmith.training.presets import preset
from gansmith.training.sample_sheets import find_pictures, read_frame
from gansmith.training.state import TrainState
from gansmith.types import Batch, Images, ImageSpec, Latents, Logits

EPOCHS = 1000
BATCH_SIZE = 128
IMAGES = ImageSpec(height=32, width=32, channels=3)
PICTURE = "image_at_epoch_{epoch:04}.png"

loss = Sigmoid()  # cross-entropy from logits
generator_optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
discriminator_optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))

kaggle = Path("/kaggle/working")
output_folder = kaggle if kaggle.is_dir() else Path()


def config() -> Config:
    """Return the preset ``dcgan-cifar10`` with the settings above, trained on every image."""
    changes = {
        "batch_size": BATCH_SIZE,
        "loss": loss,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
        "held_out": 0.0,  # trained on every image
    }
    return override(preset("dcgan-cifar10"), changes)


def load_dataset(root: Path | None = None) -> Batches:
    """Return endless batches of CIFAR-10's training images; ``root`` is a local copy."""
    store = prepare(resolve("cifar10", root), config().preparation)
    return Batches(store=store, batch_size=BATCH_SIZE, seed=config().seed)


def display_sample_images(train_dataset: Batches) -> Path:
    """Display a 5x5 grid of real images and write it to sample_images.png."""
    picture = save_png(grid(train_dataset.store.images[:25], columns=5), output_folder / "sample_images.png")
    show(picture)
    return picture


def make_generator_model() -> GeneratorNetwork:
    """Return the generator: noise [n 100] to images [n 3 32 32] in [-1, 1]."""
    return config().model.generator(IMAGES)


def make_discriminator_model() -> DiscriminatorNetwork:
    """Return the discriminator: images [n 3 32 32] to logits [n]; higher means "real"."""
    return config().model.discriminator(IMAGES)


def generator_loss(fake_output: Logits) -> Tensor:
    """Return the generator's loss: low if the discriminator classifies fakes as real."""
    return loss.generator(fake_output.new_empty(0), fake_output).mean()


def discriminator_loss(real_output: Logits, fake_output: Logits) -> Tensor:
    """Return the discriminator's loss: low if it separates real images from fakes."""
    return loss.discriminator(real_output, fake_output).mean()


@functools.cache
def state() -> TrainState:
    """Return both networks and their optimizers, created at the first call."""
    return TrainState.create(
        config(),
        IMAGES,
        choose_compute("auto", "auto"),
        epoch_size=1,  # train() counts the epochs itself
        networks=lambda: {"generator": make_generator_model(), "discriminator": make_discriminator_model()},
    )


def train_step(images: Images) -> None:
    """Make one training step: one noise batch, both losses, one update of each network.

    Args:
        images: real images, float32 [n 3 32 32] in [-1, 1]; n is ``BATCH_SIZE``.
    """
    batch = Batch(to_uint8(images), None)
    loop.train_step(state(), lambda *place: batch)


def train(train_dataset: Batches, epochs: int = EPOCHS) -> None:
    """Train for ``epochs`` epochs; write a sheet of the same 25 noise vectors after each."""
    trained = state()
    trained.epoch_size = len(train_dataset)
    seed = trained.config.model.draw_latents(25, torch.Generator().manual_seed(0))
    for epoch in range(int(trained.progress.epoch) + 1, epochs + 1):
        while trained.progress.epoch < epoch:
            train_step(to_float(train_dataset.batch(trained.nimg).images))
        means = trained.statistics.last_means()
        print(f"epoch {epoch}: G {means['loss/generator']:.4f} D {means['loss/discriminator']:.4f}", flush=True)
        show(generate_and_save_images(trained.generator, epoch, seed))


def generate_and_save_images(model: GeneratorNetwork, epoch: int, test_input: Latents) -> Path:
    """Write the images of ``test_input`` as one sheet, five per row: image_at_epoch_0001.png."""
    device = next(model.parameters()).device
    with torch.no_grad():
        images = model.eval()(test_input.to(device), None)
    model.train()
    return save_png(grid(to_array(to_uint8(images)), columns=5), output_folder / PICTURE.format(epoch=epoch))


def create_gif_from_images(num_epochs: int = 10) -> Path:
    """Write progress.gif: the sheets of the first ``num_epochs`` epochs; the last frame stays longer."""
    pictures = find_pictures(PICTURE, output_folder)[:num_epochs]
    return write_animation(map(read_frame, pictures), output_folder / "progress.gif")


def main(epochs: int = EPOCHS, gif_epochs: int = 10, root: Path | None = None) -> None:
    """Train a GAN on CIFAR-10.

    Args:
        epochs: passes over the data.
        gif_epochs: number of epochs in the GIF, from the first one.
        root: local copy of CIFAR-10; default: downloaded.
    """
    train_dataset = load_dataset(root)
    display_sample_images(train_dataset)
    train(train_dataset, epochs)
    show(create_gif_from_images(gif_epochs))


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except GansmithError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(
            "interrupted; the pictures so far are in the output folder; "
            "to be able to continue: gansmith train cifar10 --preset dcgan-cifar10"
        )
