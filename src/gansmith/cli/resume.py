"""gansmith resume RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, Rate, RunPath, Text, parse_with_overrides

__all__ = ["main"]


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a run where it stopped, exactly as if it never had.

    A field of the configuration changes only if it is named: --generator_optimizer.lr 1e-4.
    """

    run: RunPath
    """the run's folder"""
    length: Text = None
    """another length of the whole training, as --length "20 min" or --length "100 epochs" """
    minutes: Rate = None
    """--minutes 20 is --length "20 min" """
    epochs: Rate = None
    """passes over the data: --epochs 100 is --length "100 epochs" """
    steps: Count = None
    """updates of the generator: --steps 3000 is --length "3000 steps" """
    kimg: Rate = None
    """thousands of real images: --kimg 500 is --length "500 kimg" """
    lr: Rate = None
    """another learning rate of both networks"""


def main(arguments: Sequence[str]) -> None:
    """Go on with a run."""
    options, overrides = parse_with_overrides(ResumeOptions, "resume", arguments)
    from gansmith import api
    from gansmith.training.keywords import expand_short_names

    names = ("length", "minutes", "epochs", "steps", "kimg", "lr")
    short = expand_short_names(**{name: getattr(options, name) for name in names}, prefix="--")
    api.resume(options.run, overrides=short | overrides)
