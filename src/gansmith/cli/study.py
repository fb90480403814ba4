"""gansmith study FILE"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, FilePath, OptionalPath, Text, parse

__all__ = ["main"]


@dataclass(frozen=True)
class StudyOptions:
    """Train variants from several seeds, judge every run, and say what can be concluded.

    What has been done already is not done again: after an interruption, the same command goes on.
    """

    file: FilePath
    """a study's TOML file (see studies/), or the folder of one that was begun, to go on with it as it was"""
    out: OptionalPath = None
    """the folder to write; runs/NAME-OF-THE-FILE if not given"""
    workers: Count = None
    """runs at once, each in a process of its own; one a device if not given"""
    devices: Text = None
    """"cuda:0,cuda:1": handed out in turn"""
    root: OptionalPath = None
    """where local copies of the named data sets lie"""
    length: Text = None
    """of each training, to shorten the study: "20 kimg\""""
    seeds: Count = None
    """how many of the study's seeds, to shorten it"""


def main(arguments: Sequence[str]) -> None:
    """Run a study."""
    options = parse(StudyOptions, "study", arguments)
    from gansmith.study.run import run_study

    run_study(
        options.file,
        out=options.out,
        workers=options.workers,
        devices=options.devices.split(",") if options.devices else (),
        root=options.root,
        length=options.length,
        seeds=options.seeds,
    )
