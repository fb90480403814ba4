"""python examples/interpolate.py runs/sndcgan

Generate images between two random points of a trained generator's latent space. For a choice of seeds, methods, GIF
and MP4: ``gansmith interpolate``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

import gansmith
from train import interpolate_and_generate


def main(run: tyro.conf.Positional[Path], steps: int = 8, out: Path = Path("interpolation")) -> None:
    """Write the images of a walk.

    Args:
        run: run folder of train.py or gansmith train.
        steps: number of images, including both ends.
        out: folder for the images.
    """
    interpolate_and_generate(gansmith.open_run(run).generator(), out, steps)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
