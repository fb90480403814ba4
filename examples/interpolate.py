"""python examples/interpolate.py runs/sndcgan

Images between two random points of a trained generator's latent space. Seeds, methods, GIF and MP4 to choose:
``gansmith interpolate``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tyro

import gansmith
from train import interpolate_and_generate


def main(run: tyro.conf.Positional[Path], steps: int = 8, out: Path = Path("interpolation")) -> None:
    """Interpolate.

    Args:
        run: a folder that train.py or gansmith train has made.
        steps: how many images, both ends included.
        out: the folder to write them to.
    """
    interpolate_and_generate(gansmith.open_run(run).generator(), out, steps)


if __name__ == "__main__":
    try:
        tyro.cli(main)
    except gansmith.GansmithError as error:
        sys.exit(f"error: {error}")
