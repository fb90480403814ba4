"""python examples/cifar10_gan.py

A GAN on CIFAR-10: pictures of each epoch, and a GIF of the progress.

Everything is written to /kaggle/working where there is such a folder, else to the current one. In a notebook the
pictures show themselves. For a training that can be interrupted: ``gansmith train cifar10 --preset dcgan-cifar10``.
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
from gansmith.training.sample_sheets import read_frame, written
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
    """Batches of CIFAR-10's training images without end; ``root`` is where a local copy lies."""
    store = prepare(resolve("cifar10", root), config().preparation)
    return Batches(store=store, batch_size=BATCH_SIZE, seed=config().seed)


def display_sample_images(train_dataset: Batches) -> Path:
    """Show a 5x5 grid of real images, and write it to sample_images.png."""
    picture = save_png(grid(train_dataset.store.images[:25], columns=5), output_folder / "sample_images.png")
    show(picture)
    return picture


def make_generator_model() -> GeneratorNetwork:
    """Noise [n 100] to images [n 3 32 32] in [-1, 1]."""
    return config().model.generator(IMAGES)


def make_discriminator_model() -> DiscriminatorNetwork:
    """Images [n 3 32 32] to logits [n]; higher means "real"."""
    return config().model.discriminator(IMAGES)


def generator_loss(fake_output: Logits) -> Tensor:
    """How far the discriminator is from taking fakes for real."""
    return loss.generator(fake_output.new_empty(0), fake_output).mean()


def discriminator_loss(real_output: Logits, fake_output: Logits) -> Tensor:
    """How far it is from telling real images from fakes."""
    return loss.discriminator(real_output, fake_output).mean()


@functools.cache
def state() -> TrainState:
    """Both networks and their optimizers, made when first asked for."""
    return TrainState.create(
        config(),
        IMAGES,
        choose_compute("auto", "auto"),
        epoch_size=1,  # train() knows better
        networks=lambda: (make_generator_model(), make_discriminator_model()),
    )


def train_step(images: Images) -> None:
    """One noise batch, both losses, one update of each network.

    Args:
        images: real ones, float32 [n 3 32 32] in [-1, 1]; n is ``BATCH_SIZE``.
    """
    batch = Batch(to_uint8(images), None)
    loop.train_step(state(), lambda *place: batch)


def train(train_dataset: Batches, epochs: int = EPOCHS) -> None:
    """Train until so many epochs have passed; each leaves a picture of the same 25 noise vectors."""
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
    """Write the images of some noise as one sheet, five a row: image_at_epoch_0001.png."""
    device = next(model.parameters()).device
    with torch.no_grad():
        images = model.eval()(test_input.to(device), None)
    model.train()
    return save_png(grid(to_array(to_uint8(images)), columns=5), output_folder / PICTURE.format(epoch=epoch))


def create_gif_from_images(num_epochs: int = 10) -> Path:
    """The pictures of the first so many epochs as progress.gif, one frame each, the last one held."""
    pictures = written(PICTURE, output_folder)[:num_epochs]
    return write_animation(map(read_frame, pictures), output_folder / "progress.gif")


def main(epochs: int = EPOCHS, gif_epochs: int = 10, root: Path | None = None) -> None:
    """Train a GAN on CIFAR-10.

    Args:
        epochs: passes over the data.
        gif_epochs: how many of the first ones the GIF shows.
        root: where a local copy of CIFAR-10 lies; downloaded if not given.
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
