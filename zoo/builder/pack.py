"""Make an entry of the zoo from a measured run: its files without paths of this machine, its card, its digests."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.card import CardFacts, write_card
from builder.measure import Rounding
from builder.train import Recipe
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import append_line, read_json, read_lines, write_json
from gansmith.training.checkpoint_files import open_checkpoint
from gansmith.zoo import manifest
from gansmith.zoo.archive import write_archive

__all__ = ["LARGEST_BYTES", "ZOO", "differing_weights", "entry_folder", "pack_entry"]

ZOO = Path(__file__).parents[1]
HOMES = {"gansmith": manifest.MANIFEST.parent / "entries", "gansmith-zoo": ZOO / "gansmith_zoo" / "entries"}
LARGEST_BYTES = 10_000_000


def entry_folder(name: str, place: str) -> Path:
    """Return the folder of an entry in the repository."""
    return HOMES[place] / name


def pack_entry(
    name: str,
    half: Path,
    measurements: Sequence[Measurement],
    rounding: Rounding,
    commit: str,
    target: Path | None = None,
) -> Path:
    """Write an entry and its line in the manifest.

    Args:
        name: of the entry.
        half: the run in half precision, with its measurements.
        measurements: of the run, the first extractor's first.
        rounding: what half precision changes.
        commit: that the run was trained with.
        target: the folder to write, without a line in the manifest; None for that of the distribution.

    Returns:
        The folder of the entry.
    """
    recipe = Recipe.read(name)
    out = target or entry_folder(name, recipe.place)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(half, out)
    _hide_machine(name, recipe, out)
    facts = _gather(name, out, commit)
    (out / "README.md").write_text(write_card(recipe, facts, measurements, rounding), encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    if size > LARGEST_BYTES:
        raise SystemExit(f"{out}: {size:,} bytes, expected at most {LARGEST_BYTES:,}; choose a narrower model")
    if target is None:
        _pin(name, recipe, out, facts, measurements)
    return out


def _hide_machine(name: str, recipe: Recipe, out: Path) -> None:
    """Replace what only this machine knows: paths, the process, the command. Remove what shows real images."""
    (out / "nearest.png").unlink(missing_ok=True)
    config, environment, status = (read_json(out / f"{stem}.json") for stem in ("config", "environment", "status"))
    own = {"path": recipe.data} if "path" in config["data"] else {"root": None} if "root" in config["data"] else {}
    write_json(out / "config.json", {**config, "data": {**config["data"], **own}})
    write_json(out / "environment.json", {**environment, "command": ["zoo/build.py", name]})
    write_json(out / "status.json", {key: value for key, value in status.items() if key != "pid"})
    lines = list(read_lines(out / "metrics.jsonl", dict))
    (out / "metrics.jsonl").unlink()
    for line in lines:
        append_line(out / "metrics.jsonl", {**line, "generated": {**line["generated"], "path": f"zoo:{name}"}})


def _gather(name: str, out: Path, commit: str) -> CardFacts:
    config, data = read_json(out / "config.json"), read_json(out / "data.json")
    best = open_checkpoint(out / "best")
    generator = next(tensors for stem, tensors in best.tensors.items() if stem.startswith("generator"))
    (sheet,) = (out / "images").iterdir()
    return CardFacts(
        name=name,
        sheet=f"images/{sheet.name}",
        class_names=data["class_names"] if config["use_labels"] else (),
        num_images=data["num_images"],
        kimg=best.state["nimg"] / 1000,
        commit=commit,
        environment=read_json(out / "environment.json"),
        num_weights=sum(tensor.numel() for tensor in generator.values()),
    )


def _pin(name: str, recipe: Recipe, out: Path, facts: CardFacts, measurements: Sequence[Measurement]) -> None:
    """Write the entry's line in the manifest; the entries keep the order of the recipes' names."""
    data = read_json(out / "data.json")
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    names = [path.relative_to(out).as_posix() for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / f"{name}.zip"
        write_archive(out, names, archive)
        pinned = _digest(archive)
    line = {
        "size": f"{data['width']}x{data['height']}",
        "num_classes": len(facts.class_names),
        "data": recipe.described,
        "license": recipe.license,
        "place": recipe.place,
        "kimg": facts.kimg,
        "fid": {each.extractor.name: round(each.values["fid"].value, 3) for each in measurements},
        "files": {text: _digest(path) for text, path in zip(names, paths, strict=True)},
        "archive": pinned,
    }
    write_json(manifest.MANIFEST, dict(sorted({**read_json(manifest.MANIFEST), name: line}.items())))


def _digest(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def differing_weights(old: Path, new: Path) -> list[str]:
    """Return the names of the files of weights that differ between two entries."""
    before, after = (read_json(folder / "best" / "state.json")["files"] for folder in (old, new))
    return [name for name in before if before[name] != after.get(name)]
