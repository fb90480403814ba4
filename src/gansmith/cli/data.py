"""gansmith data check|prepare DATA"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from gansmith.cli.options import DataName, OnlyJson, OptionalPath, Text, parse_with_overrides, print_json, quiet_if
from gansmith.errors import DataError

__all__ = ["main"]

SHOWN = 10  # skipped files that are named


@dataclass(frozen=True)
class DataOptions:
    """Look at a data set ("check", which may be left out), or build the store that training reads ("prepare").

    Fields of the source and of the preparation can be given too: --data.roi true, --preparation.fit pad.
    """

    action: tyro.conf.Positional[Literal["check", "prepare"]]
    """what to do"""
    data: DataName
    """a data set's name, or a path: a folder, a zip, an .npz"""
    root: OptionalPath = None
    """where a local copy of a named data set lies"""
    size: Text = None
    """of the images: 64, or 48x64 for width x height"""
    json: OnlyJson = False
    """print what was found or made as JSON, for another program to read"""


def main(arguments: Sequence[str]) -> None:
    """Check or prepare."""
    words = list(arguments)
    if words and words[0] not in ("check", "prepare", "-h", "--help"):
        words.insert(0, "check")
    options, overrides = parse_with_overrides(DataOptions, "data", words)
    from gansmith.training.keywords import expand_short_names
    from gansmith.training.presets import configure

    overrides = expand_short_names(size=options.size, prefix="--") | overrides
    config = configure(options.data, root=options.root, overrides=overrides)
    if options.action == "check":
        _check(config, only_json=options.json)
    else:
        _prepare(config, only_json=options.json)


def _check(config: Any, *, only_json: bool) -> None:
    from gansmith.console import work_progress
    from gansmith.data.check import check

    with quiet_if(only_json), work_progress("preparing images") as progress:
        findings = check(config.data, config.preparation, progress=progress)
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
    """The findings, without "mirror" among the proposed augmentations if these images have a left and a right."""
    from gansmith.console import work_progress
    from gansmith.data.batches import split
    from gansmith.data.store import prepare
    from gansmith.metrics.mirror_asymmetry import choose_operations, measure_mirror_asymmetry

    def measure() -> Any:
        try:
            store = prepare(config.data, config.preparation)
        except DataError:  # too little can be read, as the findings say
            return None
        with work_progress("looking for left and right") as progress:
            return measure_mirror_asymmetry(store, split(store, config.held_out)[0], progress)

    if findings.spec is None:
        return findings
    names, remark = choose_operations(config.data.kind, findings.spec.channels, measure)
    notes = (*findings.notes, remark) if remark else findings.notes
    return dataclasses.replace(findings, augmentations=names, notes=notes)


def _prepare(config: Any, *, only_json: bool) -> None:
    from gansmith.console import work_progress
    from gansmith.data.store import prepare

    with quiet_if(only_json), work_progress("preparing images") as progress:
        store = prepare(config.data, config.preparation, progress=progress)
    if only_json:
        print_json({"path": str(store.path), "num_images": len(store), "notes": store.notes, "skipped": store.skipped})
        return
    print(f"{len(store):,} images, {store.spec}: {store.path}")
    for note in store.notes:
        print(note)
    for name, reason in store.skipped[:SHOWN]:
        print(f"skipped {name}: {reason}")
    if len(store.skipped) > SHOWN:
        print(f"and {len(store.skipped) - SHOWN:,} more; all are in {store.path / 'store.json'}")
