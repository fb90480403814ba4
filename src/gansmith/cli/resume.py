"""gansmith resume RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import RunPath, Text, parse_with_overrides

__all__ = ["main"]


@dataclass(frozen=True)
class ResumeOptions:
    """Go on with a run where it stopped, exactly as if it never had.

    A field of the configuration changes only if it is named: --generator_optimizer.lr 1e-4.
    """

    run: RunPath
    """the run's folder"""
    length: Text = None
    """the whole length from now on, if another one: "20 min", "100 epochs\""""


def main(arguments: Sequence[str]) -> None:
    """Go on with a run."""
    options, overrides = parse_with_overrides(ResumeOptions, "resume", arguments)
    from gansmith import api

    api.resume(options.run, length=options.length, overrides=overrides)
