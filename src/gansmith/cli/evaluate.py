"""gansmith evaluate RUN|FOLDER|FILE.npz ..."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gansmith.cli.options import (
    Averaged,
    Flag,
    OptionalPath,
    Text,
    Whole,
    parse_with_overrides,
    print_json,
    quiet_if,
)
from gansmith.errors import ConfigError
from gansmith.zoo.manifest import PREFIX

if TYPE_CHECKING:
    from gansmith.metrics.measurement import Measurement

__all__ = ["main"]


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure the images that a run generates, or images in a folder, a zip or an .npz.

    A run is compared with its training images, or with those of --against. The values are appended to the run's
    metrics.jsonl, and nearest.png shows the generated images that are closest to training images. A generator of the
    zoo is named zoo:NAME; its values are only printed.

    Images in files are compared with those of --against, which is required. The values are printed, and written only
    with --out. Images of --against are resized to the size of the generated images, which are never resized.
    The metric memorisation then also needs --held-out, and takes the images of --against as the training images.

    Settings of metrics, feature extractor and real images are options too, such as --metrics.0.neighbours 5,
    --extractor.width 96, --against.roi true, --preparation.fit pad.
    """

    what: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN|FOLDER|FILE.npz ...", help_behavior_hint=""),
    ]
    """what to measure; several are shown side by side"""
    against: OptionalPath = None
    """real images to compare with: a data set's name, or a path"""
    root: OptionalPath = None
    """the folder with a local copy of the data set of --against"""
    size: Text = None
    """size of the generated images, such as 64 or 48x64; allows smaller images of --against to be enlarged to it"""
    held_out: OptionalPath = None
    """real images that the generator was not trained on; default: those that the run held out"""
    metrics: Text = None
    """names of metrics, separated by commas (gansmith list metrics); default: all"""
    extractor: Text = None
    """feature extractor (gansmith list extractors); default: efficientnet-lite1 for photographs"""
    inception: OptionalPath = None
    """use Inception-v3 from this file as the feature extractor, as published FIDs do"""
    num: Whole = 10_000
    """number of images to generate, and largest number of real images"""
    seed: Whole = 1_000_000
    """seed of the first image; the default differs from all seeds that training used to select the best generator"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    out: OptionalPath = None
    """x.json: also write the measurements to this file"""
    json: Flag = False
    """print the measurements as JSON only"""


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
        for folder in (RunFolder(Path(each.generated.path)) for each in measurements if _is_recorded(each)):
            print(f"added to {folder.metrics}")
        plain = [measurement.to_plain() for measurement in measurements]
        if out is not None:
            write_json(out, plain)
            print(f"written to {out}")
    if options.json:
        print_json(plain)


def _out(options: EvaluateOptions) -> Path | None:
    """Check and return the path of --out, before any work is done."""
    if not options.what:
        raise ConfigError("gansmith evaluate: nothing to measure; name a run, a folder of images, or an .npz")
    if options.out is None:
        return None
    path = Path(options.out)
    if path.suffix.lower() != ".json":
        raise ConfigError(f"--out {path}: measurements are written as JSON; name a file x.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _is_recorded(measurement: Measurement) -> bool:
    """Return whether it is of a run of the user's, to whose metrics.jsonl it was appended."""
    return bool(measurement.generated.snapshot) and not measurement.generated.path.startswith(PREFIX)


def _named(options: EvaluateOptions) -> dict[str, Any]:
    """Return the options by the paths of the fields that they set."""
    from gansmith.types import parse_size

    given: dict[str, Any] = {name: getattr(options, name) for name in ("num", "seed", "snapshot", "ema", "metrics")}
    given["extractor"] = options.extractor
    if options.inception is not None:
        given["extractor"] = {"name": "inception", "path": options.inception}
    if options.size is not None:
        given["preparation.size"] = list(parse_size(options.size))
    return given
