"""python examples/train.py

DCGAN on German traffic signs at 64 pixels, twice: as published (Radford et al. 2016), and with spectral
normalisation in the discriminator (Miyato et al. 2018).

Both are trained for the same length and compared. Each generates images between two random points of its latent space.
If WANDB_API_KEY is set in the environment, the trainings log to Weights & Biases (pip install 'gansmith[wandb]'). The
key is read only from there. A later call continues an earlier one.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any, ClassVar

import tyro
from torch import nn

import gansmith
from gansmith.data.batches import ENOUGH_HELD_OUT, split
from gansmith.data.store import prepare
from gansmith.devices import choose_compute
from gansmith.errors import RunError
from gansmith.sampling import walks
from gansmith.sampling.generator import Samples, TrainedGenerator
from gansmith.training.checkpoint import load_state, save_state
from gansmith.training.presets import preset
from gansmith.training.state import TrainState
from gansmith.types import Images, ImageSpec, Latents, Logits

IMAGES = ImageSpec(height=64, width=64, channels=3)


class Generator(nn.Module):
    """Noise [n 100] to images [n 3 64 64] in [-1, 1]; transposed convolutions, batch normalisation, ReLU, tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.network = preset("dcgan-64").model.generator(IMAGES)

    def forward(self, z: Latents) -> Images:
        """Return one image per latent."""
        images: Images = self.network(z, None)
        return images


class Discriminator(nn.Module):
    """The discriminator: images [n 3 64 64] to logits [n]; strided convolutions, batch normalisation, leaky ReLU."""

    preset_name: ClassVar[str] = "dcgan-64"

    def __init__(self) -> None:
        super().__init__()
        self.network = preset(self.preset_name).model.discriminator(IMAGES)

    def forward(self, images: Images) -> Logits:
        """Return one logit per image; higher means "real"."""
        logits: Logits = self.network(images, None)
        return logits


class Discriminator_SN(Discriminator):  # noqa: N801
    """The discriminator with spectral normalisation instead of batch normalisation."""

    preset_name: ClassVar[str] = "sndcgan-64"


class Trainer:
    """Trains the generator against one of the discriminators: updates, logging, checkpoints, evaluation.

    Args:
        discriminator: the discriminator's class.
        run: folder for pictures, statistics and checkpoints; an existing run is continued.
        data: name of a data set, or a folder of images.
        root: local copy of the named data set.
        fields: fields of the configuration by dotted path, for example {"batch_size": 32}. A continued run accepts
            them too, unless they need other networks or other images.
    """

    def __init__(
        self,
        discriminator: type[Discriminator],
        run: Path,
        data: str = "gtsrb",
        root: Path | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        logs = {"loggers": "wandb"} if os.environ.get("WANDB_API_KEY") else {}
        self.run, self.fields = run, {**logs, **(fields or {})}
        self.config = gansmith.configure(data, root=root, preset=discriminator.preset_name, overrides=self.fields)

    def train(self, length: str = "200 epochs") -> gansmith.Run:
        """Train, or continue, until this length is reached."""
        if (self.run / "config.json").exists():
            self._refuse_another_model_or_data()
            return gansmith.resume(self.run, length=length, overrides=self.fields)
        return gansmith.train(self.config, length=length, run=self.run)

    def _refuse_another_model_or_data(self) -> None:
        trained = gansmith.open_run(self.run).config
        for field in ("model", "data", "preparation"):
            before, now = getattr(trained, field), getattr(self.config, field)
            if before != now:
                raise RunError(
                    f"{self.run}: was trained with {field} {before}, not {now}; choose another folder for this Trainer"
                )

    def evaluate(self, num: int = 10_000) -> dict[str, float]:
        """Return the metrics of the best generator (FID, precision, recall, ...) against its training images."""
        values = gansmith.open_run(self.run).evaluate(num=num).values
        return {name: estimate.value for name, estimate in values.items()}


def load_checkpoint(run: Path) -> TrainState:
    """Return both networks, both optimizers and all counts of a run's newest checkpoint."""
    trained = gansmith.open_run(run)
    config = trained.config
    training, _ = split(prepare(config.source, config.preparation), config.held_out, least=ENOUGH_HELD_OUT)
    state = TrainState.create(config, IMAGES, choose_compute(config.device, config.precision), len(training))
    load_state(state, trained.folder.latest_checkpoint())
    return state


def save_checkpoint(state: TrainState, run: Path) -> Path:
    """Write both networks, both optimizers and all counts as the run's newest checkpoint, completely or not at all."""
    statistics, keep = state.statistics.to_plain(), state.config.keep_checkpoints
    folder = gansmith.open_run(run).folder
    return folder.add_checkpoint(state.step, lambda unfinished: save_state(state, unfinished, statistics), keep)


def interpolate_and_generate(generator: TrainedGenerator, folder: Path, steps: int = 8) -> Samples:
    """Write images between two random points of the latent space to a folder; print the seeds."""
    start, end = secrets.randbelow(2**31), secrets.randbelow(2**31)
    samples = walks.interpolate(generator, start, end, steps=steps)
    print(f"{steps} images from seed {start} to seed {end}: {walks.save_walk(samples, folder)}")
    return samples


def main(
    epochs: int = 200, data: str = "gtsrb", root: Path | None = None, runs: Path = Path("runs"), num: int = 10_000
) -> None:
    """Train both models, compare them, interpolate. evaluate.py prints the metrics with their intervals.

    Args:
        epochs: passes over the data for each model, including earlier calls.
        data: name of a data set, or a folder of images.
        root: local copy of the named data set.
        runs: folder for both run folders.
        num: number of generated images for the metrics.
    """
    trainers = {
        name: Trainer(discriminator, runs / name, data, root)
        for name, discriminator in {"dcgan": Discriminator, "sndcgan": Discriminator_SN}.items()
    }
    for name, trainer in trainers.items():
        run = trainer.train(f"{epochs} epochs")
        if run.status()["state"] != "finished":
            return  # the run has printed how to continue
        interpolate_and_generate(run.generator(), runs / name / "interpolation")
    for name, trainer in trainers.items():
        print(name, *(f"{key} {value:.4g}" for key, value in trainer.evaluate(num).items()), sep="\n  ")


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
