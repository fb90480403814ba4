"""How good generated images are, made by a run or found in files, with all that is needed to trust each figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from gansmith import dist
from gansmith.devices import choose_compute, require_bytes
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.judge import Judge, list_metrics, list_quantities
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import open_other_images, open_own_images
from gansmith.evaluation.samples import hash_images, made, match_classes, opened, read
from gansmith.images.pixels import save_png
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.measurement import Generated, Measurement
from gansmith.metrics.memorisation import draw_closest_pairs
from gansmith.metrics.metric import Metric
from gansmith.runs import RunFolder
from gansmith.training.snapshots import find_snapshot, load_generator

__all__ = [
    "EvaluationOptions",
    "evaluate",
    "evaluate_files",
    "evaluate_path",
    "evaluate_run",
    "list_metrics",
    "list_quantities",
]


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
    """Judge the images that a run makes, or that lie in a folder, a zip or an .npz.

    The measurement of a run is added to its metrics.jsonl, and its images that are closest to real ones are shown in
    its nearest.png.

    Args:
        what: the run's folder, or the images.
        against: real images: a source's name or a path; what the run was trained on if not given.
        root: where a local copy lies of the source that ``against`` names.
        metrics: names as of ``gansmith list metrics``, in a list or separated by commas; all if not given.
        extractor: a name as of ``gansmith list extractors``; the one that suits the data if not given.
        num: images to make, and real ones at most.
        held_out: real images that the generator never saw; those of ``against`` then count as what images in files
            were learned from.
        overrides: any field of ``EvaluationOptions`` by dotted path, as {"seed": 1, "snapshot": "last"}.

    Raises:
        GansmithError: nothing to judge, nothing to judge it by, or an argument that does not fit.
    """
    named = metrics if metrics is None or isinstance(metrics, str) else list(metrics)
    changes = {"metrics": named, "extractor": extractor, "num": num, **(overrides or {})}
    options = EvaluationOptions.of(against, root=root, held_out=held_out, overrides=changes)
    with dist.process_group(choose_compute(options.device, "float32").device):
        return evaluate_path(Path(what), options)


def evaluate_path(path: Path, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Judge what is there: a run, or images in files.

    Raises:
        GansmithError: as of ``evaluate``.
    """
    if (path / "config.json").is_file() or any(path.glob("*/config.json")):  # of runs, it says which are meant
        return evaluate_run(RunFolder.open(path), options, console)
    return evaluate_files(path, options, console)


def evaluate_run(folder: RunFolder, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Judge the images that a run makes; writes a line of metrics.jsonl, and nearest.png.

    Each rank makes its share of the images; the main one measures.

    Raises:
        GansmithError: as of ``evaluate``.
    """
    console = console or Console(quiet=not dist.is_main())
    snapshot = find_snapshot(folder, options.snapshot, ema=options.ema)
    generator = load_generator(folder, snapshot, device=options.device)
    pixels = generator.spec.height * generator.spec.width * generator.spec.channels
    what = f"{options.num:,} images of {generator.spec}"
    require_bytes(2 * options.num * pixels, torch.device("cpu"), "evaluate.num", what)
    if options.against is None:
        real = open_own_images(folder, options, console)
    else:
        real = open_other_images(options.against, generator.spec, options, console)
    numbers, unlabelled = match_classes(real.store, generator.class_names)
    judge = Judge.of(real, options, console)
    judge.require_memory(options.num, generator.spec)
    fake = made(generator, judge, numbers)
    generated = Generated(
        path=str(folder.path),
        num=len(fake),
        snapshot=snapshot.which,
        ema=snapshot.ema,
        seed=options.seed,
        nimg=snapshot.nimg,
        step=snapshot.step,
        seconds=snapshot.seconds,
        digest=hash_images(fake),
    )
    comparison = judge.compare(fake, unlabelled)
    measurement = judge.judge(comparison, generated)
    if dist.is_main():
        folder.append_measurement(measurement.to_plain())
        if comparison.training is not None:
            save_png(draw_closest_pairs(comparison), folder.nearest)
    return measurement


def evaluate_files(path: Path, options: EvaluationOptions, console: Console | None = None) -> Measurement:
    """Judge images in a folder, a zip or an .npz; writes nothing but the cache.

    Raises:
        GansmithError: as of ``evaluate``.
    """
    if not path.exists():
        raise RunError(f"{path}: nothing is there; expected a run's folder, a folder or zip of images, or an .npz")
    if options.against is None:
        raise ConfigError(f"{path}: is no run that knows its data; name the real images with --against DATA")
    console = console or Console(quiet=not dist.is_main())
    store = opened(path, options, console)
    known = options.held_out is not None
    real = open_other_images(options.against, store.spec, options, console, trained_on=known)
    numbers, unlabelled = match_classes(real.store, store.class_names)
    judge = Judge.of(real, options, console)
    judge.require_memory(min(options.num, len(store)), store.spec)
    fake = read(store, judge, numbers)
    generated = Generated(path=str(path), num=len(fake), digest=hash_images(fake))
    return judge.judge(judge.compare(fake, unlabelled), generated)
