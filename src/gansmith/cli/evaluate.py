"""gansmith evaluate RUN|FOLDER|FILE.npz ..."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gansmith.cli.options import (
    Averaged,
    OnlyJson,
    OptionalPath,
    Text,
    Whole,
    parse_with_overrides,
    print_json,
    quiet_if,
)
from gansmith.errors import ConfigError

__all__ = ["main"]


@dataclass(frozen=True)
class EvaluateOptions:
    """Judge the images that a run makes, or images in a folder, a zip or an .npz, by any number of figures.

    A run is measured against what it was trained on, unless --against names other images; the figures are added to
    its metrics.jsonl, and its images that are closest to real ones are shown in nearest.png. For images in files,
    --against is needed, and nothing is written without --out. Images of --against are brought to the samples' size;
    the samples are never resized. Where several are judged, each has a column.

    Fields of the metrics, of the feature network and of the real images can be given too: --metrics.0.neighbours 5,
    --extractor.width 96, --against.roi true, --preparation.fit pad.
    """

    what: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN|FOLDER|FILE.npz ...", help_behavior_hint=""),
    ]
    """one or several"""
    against: OptionalPath = None
    """real images: a data set's name, or a path"""
    root: OptionalPath = None
    """where a local copy lies of the data set named by --against"""
    size: Text = None
    """of the images of --against, to enlarge them on purpose: 64, or 48x64 for width x height"""
    held_out: OptionalPath = None
    """real images that the generator never saw, if not those that the run held out; for images in files, it makes
    those of --against the training images"""
    metrics: Text = None
    """names separated by commas (gansmith list metrics); all if not given"""
    extractor: Text = None
    """the feature network (gansmith list extractors); the one that suits the data if not given"""
    inception: OptionalPath = None
    """the file of the network that published figures use, which is then the feature network"""
    num: Whole = 10_000
    """images to make, and real ones at most"""
    seed: Whole = 1_000_000
    """the first image's; training selects its best generator by images of smaller seeds"""
    snapshot: Literal["best", "last"] = "best"
    """the best generator that training kept, or that of the newest checkpoint"""
    ema: Averaged = True
    """with the averaged weights"""
    out: OptionalPath = None
    """x.json: also write all figures there, with where they come from"""
    json: OnlyJson = False
    """print them as JSON, for another program to read"""


def main(arguments: Sequence[str]) -> None:
    """Evaluate."""
    options, overrides = parse_with_overrides(EvaluateOptions, "evaluate", arguments)
    out = _out(options)
    from rich.console import Console

    from gansmith import dist
    from gansmith.devices import choose_compute
    from gansmith.evaluation import EvaluationOptions, evaluate_path
    from gansmith.evaluation.table import show_measurements
    from gansmith.runs import RunFolder, write_json

    given = _named(options) | overrides
    evaluation = EvaluationOptions.of(options.against, root=options.root, held_out=options.held_out, overrides=given)
    with dist.process_group(choose_compute(evaluation.device, "float32").device), quiet_if(options.json):
        began = time.perf_counter()
        measurements = [evaluate_path(Path(what), evaluation) for what in options.what]
        if not dist.is_main():
            return
        show_measurements(measurements, evaluation.chosen_metrics, Console(), f"in {time.perf_counter() - began:.0f} s")
        for folder in (RunFolder(Path(each.generated.path)) for each in measurements if each.generated.snapshot):
            print(f"added to {folder.metrics}")
        plain = [measurement.to_plain() for measurement in measurements]
        if out is not None:
            write_json(out, plain)
            print(f"written to {out}")
    if options.json:
        print_json(plain)


def _out(options: EvaluateOptions) -> Path | None:
    """Where to write, settled before any work is done."""
    if not options.what:
        raise ConfigError("gansmith evaluate: nothing to judge; name a run, a folder of images, or an .npz")
    if options.out is None:
        return None
    path = Path(options.out)
    if path.suffix.lower() != ".json":
        raise ConfigError(f"{path}: figures are written as JSON; name a file x.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _named(options: EvaluateOptions) -> dict[str, Any]:
    """The options under the paths of the fields that they set."""
    from gansmith.types import parse_size

    given: dict[str, Any] = {name: getattr(options, name) for name in ("num", "seed", "snapshot", "ema", "metrics")}
    given["extractor"] = options.extractor
    if options.inception is not None:
        given["extractor"] = {"name": "inception", "path": options.inception}
    if options.size is not None:
        given["preparation.size"] = list(parse_size(options.size))
    return given
