"""The command line: one file per verb, imported only when it is called, so that help answers at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from gansmith import __version__
from gansmith.cli.failures import one_line, output_may_close
from gansmith.errors import GansmithError, did_you_mean

__all__ = ["COMMANDS", "main"]

# verb: (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "gansmith.cli.demo",
        "train a GAN on drawn traffic signs for three minutes, judge it, and put it on one page",
    ),
    "data": ("gansmith.cli.data", "check or prepare a data set"),
    "train": ("gansmith.cli.train", "train a GAN on a named data set or your own images"),
    "resume": ("gansmith.cli.resume", "go on with a run where it stopped"),
    "runs": ("gansmith.cli.runs", "list the runs below a folder: state, length, best metric"),
    "sample": ("gansmith.cli.sample", "make images with a trained generator"),
    "interpolate": ("gansmith.cli.interpolate", "walk between two of its images"),
    "evaluate": ("gansmith.cli.evaluate", "judge a run's images, or a folder's, against real ones"),
    "study": ("gansmith.cli.study", "compare variants over several seeds, and say what can be concluded"),
    "report": ("gansmith.cli.report", "write one page about a run or a study: pictures, curves, figures"),
    "list": ("gansmith.cli.listing", "name presets, data sets, models, losses, ..."),
    "doctor": ("gansmith.cli.doctor", "say what this machine has and what will be used"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 2 for what the user can mend, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with output_may_close():
            _run(*words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = one_line(error, words[0])
        if line is None:  # a mistake of ours: all of it helps to find it
            raise
        print(f"error: {line}", file=sys.stderr)
        return 2
    return 0


def _run(verb: str, *rest: str) -> None:
    if verb in ("--help", "-h", "help"):
        print(_help())
        return
    if verb in ("--version", "-V"):
        print(f"gansmith {__version__}")
        return
    if verb not in COMMANDS:
        raise GansmithError(f"gansmith {verb}: no such command; {did_you_mean(verb, COMMANDS)}")
    importlib.import_module(COMMANDS[verb][0]).main(rest)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {verb:{width}}  {summary}" for verb, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "gansmith: train, judge, compare, explore and ship GANs",
            "",
            "usage: gansmith COMMAND ...        gansmith COMMAND --help",
            "",
            *lines,
            "",
            "start with:  gansmith demo        or, with your own pictures:  gansmith train path/to/photos",
        ]
    )
