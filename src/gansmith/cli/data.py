"""gansmith data [check|prepare] DATA"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro

from gansmith.cli.options import Flag, OptionalPath, Text, parse_with_overrides, print_json, quiet_if
from gansmith.errors import ConfigError, DataError, did_you_mean

__all__ = ["main"]

SHOWN = 10  # skipped files that are printed


@dataclass(frozen=True)
class DataOptions:
    """Count the images, sizes and classes of a data set, and find unreadable files and duplicates.

    The action prepare converts the images to the size for training and saves them; training does this by itself.

    Settings of the data set and of its preparation are options too, such as --data.roi true, --preparation.fit pad.
    """

    words: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[check|prepare] DATA", help_behavior_hint="(default action: check)"),
    ]
    """action; then a data set's name (gansmith list data), or a path: a folder, a zip, an .npz"""
    root: OptionalPath = None
    """the folder with a local copy of a named data set"""
    size: Text = None
    """size of the images: 64, or 48x64 for width x height; default: chosen from the data"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Check or prepare."""
    options, overrides = parse_with_overrides(DataOptions, "data", arguments)
    action, data = _action(options.words)
    from gansmith.training.keywords import expand_short_names
    from gansmith.training.presets import configure

    overrides = expand_short_names(size=options.size, prefix="--") | overrides
    config = configure(data, root=options.root, overrides=overrides)
    if action == "check":
        _check(config, only_json=options.json)
    else:
        _prepare(config, only_json=options.json)


def _action(words: Sequence[str]) -> tuple[str, str]:
    """What to do with which data set; a single word is a data set, even one that is called "check"."""
    match words:
        case [data]:
            return "check", data
        case ["check" | "prepare" as action, data]:
            return action, data
        case []:
            raise ConfigError("gansmith data: no data set; name one, or a path: gansmith data path/to/photos")
        case [word, _]:
            raise ConfigError(f"gansmith data {word}: no such action; {did_you_mean(word, ('check', 'prepare'))}")
        case _:
            raise ConfigError(f"gansmith data: one data set at a time, got {' '.join(words)}")


def _check(config: Any, *, only_json: bool) -> None:
    from gansmith.console import work_progress
    from gansmith.data.check import check

    with quiet_if(only_json), work_progress("preparing images") as progress:
        findings = check(config.source, config.preparation, progress=progress)
    with quiet_if(only_json):
        findings = _without_harmful_mirror(findings, config)
    if only_json:
        print_json(_plain(findings))
    else:
        print("\n".join(findings.lines()), flush=True)
    if findings.spec is None:
        name, reason = findings.unreadable[0]
        raise DataError(f"{findings.title}: none of {findings.num_images:,} images can be read, first {name}: {reason}")


def _plain(findings: Any) -> dict[str, Any]:
    sizes = {f"{width}x{height}": num for (height, width), num in findings.sizes.items()}
    return {**dataclasses.asdict(findings), "sizes": sizes}


def _without_harmful_mirror(findings: Any, config: Any) -> Any:
    """Remove "mirror" from the proposed augmentations if the images are not symmetric."""
    from gansmith.console import work_progress
    from gansmith.data.batches import split
    from gansmith.data.store import prepare
    from gansmith.metrics.mirror_asymmetry import choose_operations, measure_mirror_asymmetry

    def measure() -> Any:
        try:
            store = prepare(config.source, config.preparation)
        except DataError:  # too few images can be read; the findings say so
            return None
        with work_progress("measuring mirror asymmetry") as progress:
            return measure_mirror_asymmetry(store, split(store, config.held_out)[0], progress)

    if findings.spec is None:
        return findings
    names, remark = choose_operations(config.source.kind, findings.spec.channels, measure)
    notes = (*findings.notes, remark) if remark else findings.notes
    return dataclasses.replace(findings, augmentations=names, notes=notes)


def _prepare(config: Any, *, only_json: bool) -> None:
    import numpy as np

    from gansmith.console import work_progress
    from gansmith.data.class_names import describe_classes
    from gansmith.data.store import prepare

    with quiet_if(only_json), work_progress("preparing images") as progress:
        store = prepare(config.source, config.preparation, progress=progress)
    if only_json:
        print_json({"path": str(store.path), "num_images": len(store), "notes": store.notes, "skipped": store.skipped})
        return
    classes = ""
    if store.labels is not None:
        classes = f", {describe_classes(np.bincount(store.labels, minlength=len(store.class_names)).tolist())}"
    print(f"{len(store):,} images, {replace(store.spec, num_classes=0)}{classes}: {store.path}")
    for note in store.notes:
        print(note)
    for name, reason in store.skipped[:SHOWN]:
        print(f"skipped {name}: {reason}")
    if len(store.skipped) > SHOWN:
        print(f"and {len(store.skipped) - SHOWN:,} more; all are in {store.path / 'store.json'}")
