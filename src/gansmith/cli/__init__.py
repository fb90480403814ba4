"""The command line: one file per verb, imported only when it is called, so that help needs no torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from gansmith import __version__
from gansmith.cli.failures import allow_closed_output, format_failure
from gansmith.errors import GansmithError, did_you_mean

__all__ = ["COMMANDS", "main"]

# verb: (module, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "gansmith.cli.demo",
        "train a GAN on synthetic traffic signs for three minutes, evaluate it and write a report",
    ),
    "data": ("gansmith.cli.data", "check a data set, or prepare it for training"),
    "train": ("gansmith.cli.train", "train a GAN on a named data set or your own images"),
    "resume": ("gansmith.cli.resume", "continue a stopped run"),
    "runs": ("gansmith.cli.runs", "list the runs below a folder: state, length, best metric"),
    "sample": ("gansmith.cli.sample", "generate images with a trained generator"),
    "interpolate": ("gansmith.cli.interpolate", "walk between generated images, from seed to seed or class to class"),
    "directions": ("gansmith.cli.directions", "find the directions of the latent space that change images most"),
    "project": ("gansmith.cli.project", "find the latents of given images"),
    "evaluate": ("gansmith.cli.evaluate", "measure generated images of a run, a folder or a file against real ones"),
    "utility": ("gansmith.cli.utility", "measure whether generated images help to train a classifier"),
    "study": ("gansmith.cli.study", "compare variants over several seeds"),
    "report": ("gansmith.cli.report", "write an HTML report of a run or a study: images, curves, metrics"),
    "explore": ("gansmith.cli.explore", "write a page on a generator's latent space: diversity, realism, pictures"),
    "export": (
        "gansmith.cli.export",
        "write a generator as a file or page, or its images as a labelled data set",
    ),
    "serve": ("gansmith.cli.serve", "serve generated images by HTTP"),
    "app": ("gansmith.cli.app", "show runs on a local page: samples, directions, walks, trainings as they run"),
    "publish": ("gansmith.cli.publish", "write a page of a trained generator, ready for a static host"),
    "list": ("gansmith.cli.listing", "list presets, data sets, models, losses, ..."),
    "agent-docs": (
        "gansmith.cli.agent_docs",
        "print the pages that a coding agent needs, or the configuration's JSON schema",
    ),
    "doctor": ("gansmith.cli.doctor", "show the hardware, the versions and what training will use"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, 2 for an error that the user can correct, 130 if interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        with allow_closed_output():
            _run(*words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = format_failure(error, words[0])
        if line is None:  # a bug: show the whole traceback
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
            "gansmith: train, evaluate, compare and explore GANs",
            "",
            "usage: gansmith COMMAND ...        gansmith COMMAND --help",
            "",
            *lines,
            "",
            "start with:  gansmith demo        or, with your own images:  gansmith train path/to/photos",
        ]
    )
