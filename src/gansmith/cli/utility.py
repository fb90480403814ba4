"""gansmith utility RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import tyro

from gansmith.cli.options import (
    Averaged,
    Flag,
    Number,
    OptionalPath,
    RunPath,
    Whole,
    parse_with_overrides,
    print_json,
    quiet_if,
)
from gansmith.errors import ConfigError

__all__ = ["main"]

Names: TypeAlias = Annotated[str, tyro.conf.arg(metavar="TEXT")]


@dataclass(frozen=True)
class UtilityTestOptions:
    """Measure whether generated images help to train a classifier of real ones.

    One classifier is trained on real images, on augmented ones, on real and generated or drawn ones, on synthetic ones
    only, and on real images whose rare classes are filled up. Each is tested on real images that the run has not seen:
    the official test set of GTSRB if --root has it, else those that the run held out.

    After an interruption, the same command continues. Settings of --against and --test are options too, such as
    --against.roi true.
    """

    run: RunPath
    """the run's folder, or zoo:NAME"""
    against: OptionalPath = None
    """real images: a data set's name, or a path; default: the run's training data"""
    root: OptionalPath = None
    """the folder with a local copy of the data set of --against"""
    test: OptionalPath = None
    """real images to test on, instead of those held out"""
    arms: Names = "real,augmented,gan,drawn,gan-only,drawn-only,rare"
    """what to train classifiers on"""
    per_class: Names = "all,50,10"
    """real images of each class"""
    seeds: Whole = 5
    """number of classifiers of each arm"""
    steps: Whole = 2000
    """batches of 32 images that each classifier is trained on"""
    synthetic: Whole = 300
    """generated images of each class, and drawn ones"""
    held_out: Number = 0.2
    """the share of --against to test on, if the run was trained on other data"""
    difficulty: Number = 0.5
    """of the drawn signs: 0 clean to 1 hard"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    out: OptionalPath = None
    """the folder to write; default: utility in the run's folder"""
    json: Flag = False
    """print the results as JSON, as in utility.json; progress goes to standard error"""


def main(arguments: Sequence[str]) -> None:
    """Run a utility test."""
    options, overrides = parse_with_overrides(UtilityTestOptions, "utility", arguments)
    from pathlib import Path

    from gansmith.component import override, to_plain
    from gansmith.runs import RunFolder
    from gansmith.utility.options import UtilityOptions, name_sources, read_amounts, read_arms
    from gansmith.utility.run import measure_utility

    if options.root is not None and options.against is None:
        raise ConfigError("--root: says where the data set of --against lies; name that too")
    sources = name_sources(options.against, options.root, options.test, overrides)
    lists = {"arms": read_arms(options.arms), "amounts": read_amounts(options.per_class)}
    names = ("seeds", "steps", "synthetic", "held_out", "difficulty", "snapshot", "ema")
    chosen = override(
        UtilityOptions(), {**sources, **lists, **{name: getattr(options, name) for name in names}}, "utility"
    )
    out = None if options.out is None else Path(options.out)
    with quiet_if(options.json):
        results = measure_utility(RunFolder.open(Path(options.run)), chosen, out)
    if results is None:
        raise KeyboardInterrupt
    if options.json:
        print_json(to_plain(results))
