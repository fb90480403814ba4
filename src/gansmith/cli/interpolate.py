"""gansmith interpolate RUN"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gansmith.cli.options import (
    Count,
    Flag,
    Number,
    OptionalPath,
    Output,
    RunPath,
    Text,
    Whole,
    parse,
    print_json,
    split_numbers,
    split_words,
)
from gansmith.errors import ConfigError

if TYPE_CHECKING:
    from gansmith.api import Run

__all__ = ["main"]

STEPS, RANDOM_STEPS, RANDOM_FRAMES = 8, 16, 96  # of a leg, of a random walk on a sheet, in an animation


@dataclass(frozen=True)
class InterpolateOptions:
    """Walk between generated images: from seed to seed, from class to class, through several of both, or at random.

    A seed that you omit is chosen at random and printed.
    """

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    from_seed: Count = None
    """seed of the first image; default: random"""
    to_seed: Count = None
    """seed of the last image; default: random"""
    seeds: Text = None
    """seeds to visit one after the other, such as 1,2,5,9, instead of --from-seed and --to-seed"""
    latents: OptionalPath = None
    """x.npz of gansmith project: visits its latents and classes, one after the other, instead of seeds"""
    labels: Text = None
    """classes of these seeds, such as stop,yield,stop; the shorter list starts again; default: each seed's own class"""
    walk: Literal["seeds", "random"] = "seeds"
    """random: a smooth random walk that begins at --from-seed and returns to it"""
    steps: Count = None
    """images from one seed to the next, both included (default: 8); or of the random walk (default: 16, animated 96)"""
    method: Literal["slerp", "lerp"] = "slerp"
    """spherical or linear interpolation"""
    loop: Flag = False
    """return to the first image"""
    num: Whole = 1
    """number of walks, each with other seeds: rows of a sheet, or side by side in an animation"""
    label: Text = None
    """number or name of the class of all images; default: the class of the first seed"""
    truncation: Number = 1.0
    """factor on the latents, at most 1; smaller: more typical and less varied images"""
    out: Output = "interpolation.png"
    """x.png (one row per walk), x.gif or x.mp4 (forwards and backwards, or a loop), or a folder of PNGs"""
    fps: Number = 10.0
    """frames per second of a GIF or MP4"""
    scale: Count = None
    """whole factor of enlargement; default: images of about 256 pixels, or as far as a screen allows"""
    smooth: Flag = False
    """enlarge smoothly instead of repeating pixels"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Interpolate."""
    before = ("", *arguments)
    # "RUN random" means no seeds, "--walk random" a random walk
    words = [word for word, last in zip(arguments, before, strict=False) if word != "random" or last == "--walk"]
    options = parse(InterpolateOptions, "interpolate", words)
    _refuse_contradictions(options)
    from gansmith import api

    run = api.open_run(options.run)
    if options.latents is not None:
        _walk_latents(run, options)
    elif options.walk == "random" or _names_walks(options):
        _walk(run, options)
    else:
        _interpolate(run, options)


def _refuse_contradictions(options: InterpolateOptions) -> None:
    ends = options.from_seed is not None or options.to_seed is not None
    if options.latents is not None and (ends or options.seeds is not None or options.walk == "random"):
        raise ConfigError("--latents: gives all places to visit; omit --seeds, --from-seed, --to-seed and --walk")
    if options.latents is not None and options.num != 1:
        raise ConfigError("--num: other walks have other seeds, and latents of a file have none; omit it")
    if options.seeds is not None and ends:
        raise ConfigError("--seeds: gives all seeds; omit --from-seed and --to-seed")
    if options.labels is not None and options.label is not None:
        raise ConfigError("--labels: gives the class of each seed; omit --label, which gives that of all")
    if options.walk == "random" and (options.seeds is not None or options.to_seed is not None):
        raise ConfigError("--walk random: begins at --from-seed and chooses its way; omit --seeds and --to-seed")


def _names_walks(options: InterpolateOptions) -> bool:
    """Return whether an option is given that a walk between two seeds of one class does not have."""
    several = options.seeds is not None or options.labels is not None or options.num != 1 or options.loop
    return several or options.truncation != 1 or options.scale is not None or options.smooth


def _interpolate(run: Run, options: InterpolateOptions) -> None:
    from gansmith.sampling import walks

    steps = STEPS if options.steps is None else options.steps
    start, end = (_choose(seed) for seed in (options.from_seed, options.to_seed))
    samples = run.interpolate(start, end, steps=steps, method=options.method, label=options.label)
    name, path = samples.class_name(), walks.save_walk(samples, options.out, options.fps)
    if options.json:
        facts = {"path": str(path), "num_images": steps, "from_seed": start, "to_seed": end}
        print_json({**facts, "class_name": name})
        return
    of_class = "" if name is None else f" of class {name}"
    print(f"{steps} images{of_class} from seed {start} to seed {end}: {path}")


def _walk(run: Run, options: InterpolateOptions) -> None:
    """Walk through several seeds and classes, or at random."""
    labels = _labels(options)
    shared: dict[str, Any] = {"num": options.num, "truncation": options.truncation}
    if options.walk == "random":
        seeds: tuple[int, ...] = (_choose(options.from_seed),)
        frames = run.random_walk(seeds[0], labels, steps=_random_steps(options), **shared)
    else:
        seeds = _seeds(options, len(labels))
        steps = STEPS if options.steps is None else options.steps
        keep = options.seeds is None and not labels
        shared |= {"method": options.method, "loop": options.loop, "keep_class": keep}
        frames = run.chain(seeds, labels, steps=steps, **shared)
    path = frames.save(options.out, fps=options.fps, scale=options.scale, smooth=options.smooth)
    rows, steps = frames.images.shape[:2]
    if options.json:
        facts = {"path": str(path), "num_walks": rows, "num_images": rows * steps, "walk": options.walk}
        print_json({**facts, "seeds": list(seeds), "labels": list(labels), "loop": frames.loop})
        return
    number = f"{steps} images" if rows == 1 else f"{rows} walks of {steps} images"
    way = "at random from seed" if options.walk == "random" else f"through seed{'s' * (len(seeds) > 1)}"
    print(f"{number} {way} {', '.join(map(str, seeds))}{_name_classes(labels)}{' and back' * frames.loop}: {path}")


def _walk_latents(run: Run, options: InterpolateOptions) -> None:
    """Walk through the latents of a file."""
    from gansmith.sampling import latent_files, walks

    generator, labels = run.generator(), _labels(options)
    z, numbers = latent_files.read_latents(str(options.latents), generator, labels)
    steps = STEPS if options.steps is None else options.steps
    ways: dict[str, Any] = {
        "steps": steps,
        "method": options.method,
        "loop": options.loop,
        "truncation": options.truncation,
    }
    frames = walks.chain_latents(generator, z, numbers, **ways).draw(generator)
    path = frames.save(options.out, fps=options.fps, scale=options.scale, smooth=options.smooth)
    num = frames.images.shape[1]
    if options.json:
        facts = {"path": str(path), "num_walks": 1, "num_images": num, "walk": "latents", "latents": options.latents}
        print_json({**facts, "labels": list(labels), "loop": frames.loop})
        return
    stops = f"{len(z)} latent{'s' * (len(z) > 1)} of {options.latents}"
    print(f"{num} images through {stops}{_name_classes(labels)}{' and back' * frames.loop}: {path}")


def _labels(options: InterpolateOptions) -> tuple[str, ...]:
    if options.labels is not None:
        return split_words(options.labels, "--labels")
    return () if options.label is None else (options.label,)


def _name_classes(labels: Sequence[str]) -> str:
    return f" and class{'es' * (len(labels) > 1)} {', '.join(labels)}" if labels else ""


def _seeds(options: InterpolateOptions, num_labels: int) -> tuple[int, ...]:
    if options.seeds is not None:
        return split_numbers(options.seeds, "--seeds")
    if num_labels > 1 and options.to_seed is None:
        return (_choose(options.from_seed),)  # only the class changes
    return _choose(options.from_seed), _choose(options.to_seed)


def _random_steps(options: InterpolateOptions) -> int:
    if options.steps is not None:
        return options.steps
    return RANDOM_FRAMES if options.out.lower().endswith((".gif", ".mp4")) else RANDOM_STEPS


def _choose(seed: int | None) -> int:
    return secrets.randbelow(2**31) if seed is None else seed
