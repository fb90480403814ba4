"""python examples/basic_gan.py train
python examples/basic_gan.py generate

The basic GAN: two networks of dense layers that generate 28x28 digits from noise (Goodfellow et al. 2014).

The generator is 100 -> 256 -> 784, the discriminator 784 -> 256 -> 1; both minimise sigmoid cross-entropy with Adam.
An "epoch" is one update of both. Every 2,000 epochs the script prints the losses:
``Epoch: 2000, Generator Loss: 1.2345, Discriminator Loss: 0.6789``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

import gansmith

RUN = Path("runs/basic-gan")


def train(
    epochs: int = 100_000, data: str = "mnist", root: Path | None = None, run: Path = RUN, tracking: bool = True
) -> gansmith.Run:
    """Train the GAN, or continue an earlier call; then write generated.png.

    Args:
        epochs: updates of both networks, including earlier calls.
        data: name of a data set, or a folder of images.
        root: local copy of the named data set.
        run: folder for pictures, statistics and checkpoints.
        tracking: track a metric during training and keep the best generator. This first trains a classifier of the
            data, which takes minutes on a slow CPU. --no-tracking starts at once and keeps the last generator.
    """
    print(f"training a basic GAN on {data} until epoch {epochs:,}, in {run}", flush=True)
    length, overrides = f"{epochs} steps", {} if tracking else {"tracking": None}
    if (run / "config.json").exists():
        trained = gansmith.resume(run, length=length, overrides=overrides)
    else:
        trained = gansmith.train(data, root=root, preset="dense-mnist", length=length, run=run, overrides=overrides)
    generate(run=run, out=run / "generated.png")
    return trained


def generate(num: int = 36, seed: int = 0, run: Path = RUN, out: Path = Path("generated.png")) -> Path:
    """Generate images with the trained GAN.

    Args:
        num: number of images.
        seed: seed of the first image; the next images have the next seeds.
        run: the run folder.
        out: one sheet (x.png), arrays (x.npz), or a folder for one PNG each.
    """
    path = gansmith.open_run(run).generator().sample(num, seed=seed).save(out)
    print(f"{num} images: {path}")
    return path


if __name__ == "__main__":
    try:
        tyro.extras.subcommand_cli_from_dict({"train": train, "generate": generate})
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
