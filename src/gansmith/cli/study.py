"""gansmith study FILE"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Count, FilePath, Flag, OptionalPath, Text, parse, print_json, quiet_if

__all__ = ["main"]


@dataclass(frozen=True)
class StudyOptions:
    """Train variants from several seeds, evaluate every run, and test which differences are significant.

    Finished runs are kept: after an interruption, the same command continues the study.
    """

    file: FilePath
    """TOML file of a study (examples: studies/), or the folder of a started study, which is then continued"""
    out: OptionalPath = None
    """the folder to write; default: runs/NAME-OF-THE-FILE"""
    workers: Count = None
    """number of runs at the same time; default: one, or one for each of --devices"""
    devices: Text = None
    """devices to distribute the runs over, such as cuda:0,cuda:1; default: the best device"""
    root: OptionalPath = None
    """the folder with local copies of the named data sets"""
    length: Text = None
    """length of each training, to shorten the study: --length "20 kimg" """
    seeds: Count = None
    """number of seeds to use, to shorten the study"""
    json: Flag = False
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
