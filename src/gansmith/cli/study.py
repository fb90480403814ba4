"""gansmith study FILE"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, FilePath, OnlyJson, OptionalPath, Text, parse, print_json, quiet_if

__all__ = ["main"]


@dataclass(frozen=True)
class StudyOptions:
    """Train variants from several seeds, evaluate every run, and test which differences are significant.

    Finished runs are kept: after an interruption, the same command continues the study.
    """

    file: FilePath
    """a study's TOML file (see studies/), or the folder of a started study, to continue it unchanged"""
    out: OptionalPath = None
    """the folder to write; default: runs/NAME-OF-THE-FILE"""
    workers: Count = None
    """number of parallel runs, each in its own process; default: one per device"""
    devices: Text = None
    """devices that runs take in turn: --devices cuda:0,cuda:1"""
    root: OptionalPath = None
    """the folder with local copies of the named data sets"""
    length: Text = None
    """length of each training, to shorten the study: --length "20 kimg" """
    seeds: Count = None
    """number of seeds to use, to shorten the study"""
    json: OnlyJson = False
    """print the results as JSON, as in results.json; progress goes to standard error"""


def main(arguments: Sequence[str]) -> None:
    """Run a study."""
    options = parse(StudyOptions, "study", arguments)
    from gansmith.component import to_plain
    from gansmith.study.run import run_study

    with quiet_if(options.json):
        results = run_study(
            options.file,
            out=options.out,
            workers=options.workers,
            devices=options.devices.split(",") if options.devices else (),
            root=options.root,
            length=options.length,
            seeds=options.seeds,
        )
    if options.json:
        print_json(to_plain(results))
