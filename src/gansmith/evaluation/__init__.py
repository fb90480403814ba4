"""Measure generated images of a run or in files, with what is needed to trust and compare each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from gansmith import dist
from gansmith.devices import choose_compute, require_bytes
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.inputs import collect_inputs, load_extractor, measure, require_memory
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import open_other_images, open_own_images
from gansmith.evaluation.samples import describe_samples, match_classes, open_samples, read_samples, sample_features
from gansmith.images.pixels import save_png
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.image_sequence import run_on_main
from gansmith.metrics.measurement import Measurement
from gansmith.metrics.memorisation import draw_closest_pairs
from gansmith.metrics.metric import Metric
from gansmith.runs import RunFolder
from gansmith.threads import share_cores
from gansmith.training.config import load_config
from gansmith.training.snapshots import find_snapshot, load_generator
from gansmith.types import ImageSpec
from gansmith.zoo.places import describe_run, entry_name, find_run

__all__ = ["EvaluationOptions", "evaluate", "evaluate_files", "evaluate_path", "evaluate_run"]


def evaluate(
    what: str | Path,
    against: str | Path | None = None,
    *,
    root: str | Path | None = None,
    metrics: str | Sequence[str | Metric] | None = None,
    extractor: str | Extractor | None = None,
    num: int = 10_000,
    held_out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure the images that a run generates, or images in a folder, a zip or an .npz.

    The measurement of a run is appended to its metrics.jsonl. nearest.png in the run's folder shows the generated
    images that are closest to training images. Nothing is written for an entry of the zoo.

    Args:
        what: the run's folder or ``zoo:NAME``, or the images.
        against: the real images: a source's name or a path; default: the run's training images.
        root: the folder with a local copy of the source that ``against`` names.
        metrics: names from ``gansmith list metrics``, in a list or separated by commas; default: all.
        extractor: a name from ``gansmith list extractors``; default: the one that suits the data.
        num: number of images to generate, and largest number of real images.
        held_out: real images that the generator was not trained on; for images in files, ``against`` then counts as
            their training images.
        overrides: any field of ``EvaluationOptions`` by dotted path, as {"seed": 1, "snapshot": "last"}.

    Raises:
        GansmithError: no images, no real images to compare them with, or an argument that does not fit.
    """
    named = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    changes = {"metrics": named, "extractor": extractor, "num": num, **(overrides or {})}
    options = EvaluationOptions.of(against, root=root, held_out=held_out, overrides=changes)
    with dist.process_group(choose_compute(options.device, "float32").device):
        return evaluate_path(Path(what), options)


def evaluate_path(path: Path, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Measure a run or images in files, whichever ``path`` is.

    Raises:
        GansmithError: see ``evaluate``.
    """
    with share_cores():
        path = find_run(path)
        if (path / "config.json").is_file() or any(
            path.glob("*/config.json")
        ):  # a folder of runs: the error lists them
            return evaluate_run(RunFolder.open(path), options, console)
        return evaluate_files(path, options, console)


def evaluate_run(folder: RunFolder, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Measure the images that a run generates.

    A line is appended to metrics.jsonl and nearest.png is written, unless the run is an entry of the zoo.

    Each rank generates its share of the images. The main process computes the metrics.

    Raises:
        GansmithError: see ``evaluate``.
    """
    console = console or Console(quiet=not dist.is_main())
    snapshot = find_snapshot(folder, options.snapshot, ema=options.ema)
    generator = load_generator(folder, snapshot, device=options.device)
    _require_memory_for_pixels(options.num, generator.spec)
    if options.against is None:
        real = open_own_images(folder, options, console)
    else:
        real = open_other_images(options.against, generator.spec, options, console)
    numbers, unlabelled = match_classes(real.store, generator.class_names)
    network = load_extractor(real, options, console, load_config(folder.config).backbones)
    require_memory(network, real, options, options.num, generator.spec)
    fake = sample_features(generator, network, options, console, numbers)
    inputs = collect_inputs(real, fake, network, options, console, unlabelled)

    def measure_and_record() -> Measurement:
        generated = describe_samples(describe_run(folder.path), fake, snapshot, options.seed)
        measurement = measure(inputs, generated, real, network, options, console)
        if entry_name(folder.path) is not None:  # whose files are pinned
            return measurement
        folder.append_measurement(measurement.to_plain())
        if inputs.training is not None:
            save_png(draw_closest_pairs(inputs), folder.nearest)
        return measurement

    return run_on_main(fake.pixels, measure_and_record)


def evaluate_files(path: Path, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Measure images in a folder, a zip or an .npz; writes only to the cache.

    Raises:
        GansmithError: see ``evaluate``.
    """
    if not path.exists():
        raise RunError(f"{path}: does not exist; expected a run's folder, a folder or zip of images, or an .npz")
    if options.against is None:
        raise ConfigError(f"{path}: is not a run, so its data is unknown; name the real images with --against DATA")
    console = console or Console(quiet=not dist.is_main())
    store = open_samples(path, options, console)
    trained_on = options.held_out is not None
    real = open_other_images(options.against, store.spec, options, console, trained_on=trained_on)
    numbers, unlabelled = match_classes(real.store, store.class_names)
    network = load_extractor(real, options, console)
    require_memory(network, real, options, min(options.num, len(store)), store.spec)
    fake = read_samples(store, network, options, console, numbers)
    inputs = collect_inputs(real, fake, network, options, console, unlabelled)

    def measure_files() -> Measurement:
        return measure(inputs, describe_samples(str(path), fake), real, network, options, console)

    return run_on_main(fake.pixels, measure_files)


def _require_memory_for_pixels(num: int, spec: ImageSpec) -> None:
    """Check, before anything is loaded, that this rank can hold its share of the images twice."""
    own = -(-num // dist.world_size())
    needed = 2 * own * spec.height * spec.width * spec.channels
    require_bytes(needed, torch.device("cpu"), "evaluate.num", f"{num:,} images of {spec}")
