"""gansmith sample RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from gansmith.cli.options import (
    Averaged,
    Count,
    Flag,
    Number,
    OptionalPath,
    Output,
    RunPath,
    Text,
    parse,
    print_json,
    split_words,
)
from gansmith.errors import ConfigError

if TYPE_CHECKING:
    from gansmith.sampling.generator import Samples, TrainedGenerator

__all__ = ["main"]

Sweep: TypeAlias = Annotated[
    Literal["classes", "truncation", "layers"] | None,
    tyro.conf.arg(metavar="{classes,truncation,layers}", help_behavior_hint=""),
]


@dataclass(frozen=True)
class SampleOptions:
    """Generate images with a trained generator.

    Each seed gives one image: --seed 5 --num 3 generates those of the seeds 5, 6 and 7. With --sweep, a table shows
    how the class, the truncation or the layers of another sample change the image of a seed.
    """

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    num: Count = None
    """number of images (default: 64), or of seeds in a sweep (default: 4)"""
    seed: Count = None
    """seed of the first image (default: 0)"""
    latents: OptionalPath = None
    """x.npz of gansmith project: its latents and classes instead of those of seeds"""
    label: Text = None
    """number or name of a class; default: classes drawn in the data's proportions"""
    truncation: Number = 1.0
    """factor on the latents, at most 1; smaller: more typical and less varied images"""
    sweep: Sweep = None
    """vary one thing: all classes, several truncations, or how many layers belong to the sample of seed + num"""
    labels: Text = None
    """classes of a sweep, such as stop,yield; default: all. For layers: the two that are mixed; default: the seeds'"""
    scale: Count = None
    """whole factor by which a sweep enlarges images; default: as far as a screen allows, at most about 256 pixels"""
    smooth: Flag = False
    """enlarge a sweep smoothly instead of repeating pixels"""
    out: Output = "samples.png"
    """x.png (one grid of images), x.npz (arrays), or a folder (one PNG per image)"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Generate images."""
    options = parse(SampleOptions, "sample", arguments)
    _refuse_contradictions(options)
    from pathlib import Path

    from gansmith.runs import RunFolder
    from gansmith.training.snapshots import find_snapshot, load_generator  # not api, which takes a second to import

    folder = RunFolder.open(Path(options.run))
    generator = load_generator(folder, find_snapshot(folder, options.snapshot, ema=options.ema))
    if options.sweep is not None:
        _sweep(generator, options)
        return
    samples = _sample(generator, options)
    name, path = samples.class_name(), samples.save(options.out)
    if options.json:
        came = {"seed": options.seed or 0} if options.latents is None else {"latents": options.latents}
        print_json({"path": str(path), "num_images": len(samples), **came, "class_name": name})
    else:
        print(f"{len(samples)} images{'' if name is None else f' of class {name}'}: {path}")


def _sample(generator: TrainedGenerator, options: SampleOptions) -> Samples:
    if options.latents is not None:
        from gansmith.sampling.latent_files import read_latents, sample_latents

        labels = () if options.label is None else (options.label,)
        return sample_latents(
            generator, *read_latents(options.latents, generator, labels), truncation=options.truncation
        )
    num = 64 if options.num is None else options.num
    return generator.sample(num, seed=options.seed or 0, label=options.label, truncation=options.truncation)


def _refuse_contradictions(options: SampleOptions) -> None:
    if options.latents is not None:
        beside = {"--num": options.num, "--seed": options.seed, "--sweep": options.sweep}
        for flag in (flag for flag, value in beside.items() if value is not None):
            raise ConfigError(f"--latents: gives one image for each latent of the file; omit {flag}")
    if options.sweep is None:
        given = {"--labels": options.labels, "--scale": options.scale, "--smooth": options.smooth or None}
        for flag in (flag for flag, value in given.items() if value is not None):
            raise ConfigError(f"{flag}: belongs to a sweep; add --sweep classes, --sweep truncation or --sweep layers")
    elif options.label is not None and options.sweep != "truncation":
        raise ConfigError(f"--label: --sweep {options.sweep} has several classes; use --labels, such as --labels 0,1")
    elif options.sweep == "truncation" and (options.labels is not None or options.truncation != 1):
        raise ConfigError("--sweep truncation: has one class and all truncations; omit --labels and --truncation")


def _sweep(generator: TrainedGenerator, options: SampleOptions) -> None:
    from gansmith.sampling import sweeps

    labels = () if options.labels is None else split_words(options.labels, "--labels")
    num, seed = 4 if options.num is None else options.num, options.seed or 0
    if options.sweep == "truncation":
        table = sweeps.sweep_truncation(generator, num=num, seed=seed, label=options.label)
    else:
        sweep = sweeps.sweep_classes if options.sweep == "classes" else sweeps.mix_layers
        table = sweep(generator, labels, num=num, seed=seed, truncation=options.truncation)
    path = table.save(options.out, scale=options.scale, smooth=options.smooth)
    rows, columns = table.images.shape[:2]
    if options.json:
        facts = {"path": str(path), "sweep": options.sweep, "num_images": rows * columns, "seed": seed}
        print_json({**facts, "rows": list(table.row_names), "columns": list(table.column_names)})
    else:
        print(f"{rows} x {columns} images, {options.sweep} swept: {path}")
