"""python examples/folder_gan.py path/to/your/images

A GAN on any folder of images, at 128x128 and in [0, 1].

Every 100 epochs it writes 32 files next to this script, generated_image_epoch_XXX_Y.png. All images are held in memory
(200 kB each at this size). For larger data sets, classes, checkpoints and a GIF:
``gansmith train path/to/your/images``.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from gansmith.component import override
from gansmith.console import work_progress
from gansmith.data.folder import Folder
from gansmith.data.store import prepare
from gansmith.devices import choose_compute
from gansmith.errors import GansmithError
from gansmith.images.pixels import UNIT, save_png, to_uint8
from gansmith.models.model import DiscriminatorNetwork, GeneratorNetwork
from gansmith.optimizers import Adam
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training import loop
from gansmith.training.config import Config
from gansmith.training.presets import preset
from gansmith.training.state import TrainState
from gansmith.types import Batch, ImageSpec

data_path = "C:\\GANs\\images1"  # or '/path/to/your/images', or as the command's argument
input_shape = (128, 128, 3)  # height, width, channels: 3 for colour, 1 for grayscale, 4 with transparency
latent_dim = 100
batch_size = 32  # a larger batch needs more memory and may train more stably
epochs = 1000
generator_optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
discriminator_optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
output_folder = Path(__file__).parent


def config() -> Config:
    """Return the preset ``dcgan-folder-128`` with the settings above."""
    changes = {
        "preparation.size": input_shape[:2],
        "preparation.channels": {1: "gray", 3: "rgb", 4: "rgba"}[input_shape[2]],
        "model.z_dim": latent_dim,
        "batch_size": batch_size,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
    }
    return override(preset("dcgan-folder-128"), changes)


def load_data(data_path: str | Path) -> NDArray[np.float32]:
    """Return all images of a folder, cropped and resized to ``input_shape``: float32 [n h w c] in [0, 1]."""
    source = Folder(path=Path(data_path).expanduser(), labels="none")
    with work_progress("preparing images") as progress:
        store = prepare(source, config().preparation, progress=progress)
    for name, reason in store.skipped:
        print(f"skipped {name}: {reason}")
    images: NDArray[np.float32] = np.divide(store.images, 255, dtype=np.float32)
    return images


def image_spec() -> ImageSpec:
    """Return ``input_shape`` as an ``ImageSpec``."""
    height, width, channels = input_shape
    return ImageSpec(height=height, width=width, channels=channels)


def build_generator() -> GeneratorNetwork:
    """Return the generator: noise [n z] to images [n c h w] in [0, 1] by transposed convolutions.

    To change the layers, change the model's fields: ``dataclasses.replace(config().model, width=64, depth=4,
    generator_activation="silu")``, or return your own network.
    """
    return config().model.generator(image_spec())


def build_discriminator() -> DiscriminatorNetwork:
    """Return the discriminator: images [n c h w] in [0, 1] to logits [n] by strided convolutions.

    Fields to change: ``dropout``, ``stride``, ``kernel``, ``discriminator_norm``, ``spectral_norm``, ...
    """
    return config().model.discriminator(image_spec())


@functools.cache
def state() -> TrainState:
    """Return both networks and their optimizers, created at the first call."""
    return TrainState.create(
        config(),
        image_spec(),
        choose_compute("auto", "auto"),
        epoch_size=1,  # train() counts the epochs itself
        networks=lambda: {"generator": build_generator(), "discriminator": build_discriminator()},
    )


def train_step(images: NDArray[np.float32]) -> None:
    """Make one update of each network: binary cross-entropy from logits, Adam.

    Args:
        images: real images, float32 [n h w c] in [0, 1]; n is ``batch_size``.
    """
    batch = Batch(to_uint8(torch.from_numpy(images).permute(0, 3, 1, 2), UNIT), None)
    loop.train_step(state(), lambda *place: batch)


def train(images: NDArray[np.float32], epochs: int = epochs) -> None:
    """Loop over epochs and batches; write generated images every 100 epochs and at the end."""
    trained = state()
    trained.epoch_size = len(images)
    for epoch in range(1, epochs + 1):
        order = np.random.default_rng([trained.config.seed, epoch]).permutation(len(images))
        order = np.resize(order, max(len(order), batch_size))  # fewer images than a batch are repeated
        for start in range(0, len(order) - batch_size + 1, batch_size):
            train_step(images[order[start : start + batch_size]])
        means = trained.statistics.last_means()
        print(f"epoch {epoch}: G {means['loss/generator']:.4f} D {means['loss/discriminator']:.4f}", flush=True)
        if epoch % 100 == 0 or epoch == epochs:
            save_images(epoch)


def save_images(epoch: int, num: int = 32) -> list[Path]:
    """Write images of the same seeds each time, one file per image: generated_image_epoch_XXX_Y.png."""
    trained = state()
    sampler = TrainedGenerator(network=trained.generator, model=trained.config.model, spec=trained.spec)
    paths = [output_folder / f"generated_image_epoch_{epoch:03}_{i}.png" for i in range(num)]
    return [save_png(image, path) for image, path in zip(sampler.sample(num).images, paths, strict=True)]


def main(data_path: tyro.conf.Positional[str] = data_path, epochs: int = epochs) -> None:
    """Train a GAN on a folder of images.

    Args:
        data_path: the folder, or a zip.
        epochs: passes over the images.
    """
    train(load_data(data_path), epochs)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except GansmithError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(
            "interrupted; the pictures so far are beside this script; "
            "to be able to continue: gansmith train FOLDER --preset dcgan-folder-128"
        )
