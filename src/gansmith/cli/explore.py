"""gansmith explore RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Flag, OptionalPath, RunPath, Whole, parse, print_json, quiet_if

__all__ = ["main"]


@dataclass(frozen=True)
class ExploreOptions:
    """Write an HTML page about a generator's latent space: how diverse and how realistic are its samples?

    The page answers in sentences, each from a value with its interval beside what real images reach. It shows samples,
    classes, walks, truncation, directions, projections and nearest training images. The training images are needed.
    """

    run: RunPath
    """the run's folder, or zoo:NAME (gansmith list zoo)"""
    num: Whole = 1000
    """samples, and real images on each side"""
    num_projected: Whole = 8
    """held-out images that are projected, and as many training images"""
    seed: Whole = 1_000_000
    """seed of the first sample"""
    quick: Flag = False
    """half the samples, three projections each and fewer steps"""
    out: OptionalPath = None
    """the file to write; default: explore.html in the run's folder; NAME-explore.html for zoo:NAME"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Write the page."""
    options = parse(ExploreOptions, "explore", arguments)
    from pathlib import Path

    from gansmith.console import make_console
    from gansmith.evaluation.exploration import choose_options
    from gansmith.report import write_exploration
    from gansmith.threads import share_cores

    chosen = choose_options(options.num, options.num_projected, options.seed, quick=options.quick)
    with quiet_if(options.json), share_cores():
        out = Path(options.out) if options.out else None
        path = write_exploration(Path(options.run), out, chosen, make_console())
    if options.json:
        print_json({"path": str(path)})
    else:
        print(path)
