"""A run as a folder for the Hugging Face Hub: a smaller run folder with a card, which ``hf:user/name`` opens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from torch import Tensor

import gansmith
from gansmith.data.integrity import hash_tensors
from gansmith.deploy.card import RunCard, write_run_card, write_sheet
from gansmith.errors import DamagedCheckpoint, ExportError, RunError
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import append_line, read_json, read_lines, write_json
from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.checkpoint import AVERAGE
from gansmith.training.checkpoint_files import newest_checkpoint, open_checkpoint, write_files
from gansmith.training.config import load_config
from gansmith.training.data_facts import DataFacts
from gansmith.training.snapshots import Snapshot, Which, find_snapshot, load_generator
from gansmith.zoo.content import MOST_BYTES, choose_files
from gansmith.zoo.manifest import PREFIX, find_entry
from gansmith.zoo.places import describe_run, entry_name

__all__ = ["STALE", "HubFolder", "write_hub_folder"]

STALE = ["best/*", "images/*"]  # patterns of files that a later upload replaces
LINES = ("stats.jsonl", "events.jsonl")
NAMES = {"README.md", "LICENSE", "provenance.json", "config.json", "data.json", "environment.json", "status.json"} | {
    *("metrics.jsonl", "best", "images", *LINES)
}
PATH_KEYS = ("path", "root", "run", "init")  # fields whose text may be a path of this machine
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """A folder that has been written.

    Args:
        path: the folder.
        size_bytes: of all its files.
        license: of the weights, as the Hub writes it; "unknown" if none was given.
        label: a class for an example; None without classes.
    """

    path: Path
    size_bytes: int
    license: str
    label: str | None


def write_hub_folder(
    folder: RunFolder,
    out: Path,
    *,
    title: str | None = None,
    license_id: str | None = None,
    snapshot: Which = "best",
    ema: bool = True,
    repository: str | None = None,
) -> HubFolder:
    """Write the folder of a run for the Hub; an earlier one there is replaced.

    It contains the generator, the newest discriminator if there is one, all settings and statistics, a sheet of
    samples, all measurements, its provenance, and a card. Paths of this machine are cut to their last part.

    Args:
        folder: the run.
        out: new, empty, or with an earlier folder of this kind.
        title: of the card; default: the run's name.
        license_id: of the weights, such as "mit"; default: that of an entry of the zoo, else "unknown".
        snapshot: "best" or "last".
        ema: the averaged weights.
        repository: "user/name", for the card's commands.

    Raises:
        ExportError: the folder contains other files, the licence is no identifier, or the files are too large.
        RunError: the run has no checkpoint, or a damaged one.
    """
    _refuse_other_files(out)
    license_id = _choose_license(folder, license_id)
    found = find_snapshot(folder, snapshot, ema=ema)
    generator = load_generator(folder, found)
    shutil.rmtree(out / "best", ignore_errors=True)
    shutil.rmtree(out / "images", ignore_errors=True)
    (out / "best").mkdir(parents=True)
    write_json(out / "provenance.json", _describe_provenance(folder, found, generator))  # marks the folder as ours
    _write_weights(folder, found, out / "best")
    name = title or entry_name(folder.path) or folder.path.resolve().name
    measurements = _write_records(folder, out, found, name)
    sheet = write_sheet(generator, out / "images", found.nimg)
    facts = DataFacts.read(folder.data)
    card = RunCard(
        name=name,
        repository=repository or "USER/NAME",
        license_id=license_id,
        sheet=f"images/{sheet.name}",
        generator=generator,
        facts=facts,
        snapshot=found,
        machine=_read_object(out / "environment.json"),
        preset=str(_read_object(out / "config.json").get("preset", "")),
    )
    (out / "README.md").write_text(write_run_card(card, measurements), encoding="utf-8")
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    sizes = {name: path.stat().st_size for name, path in files.items() if not name.startswith(".")}
    try:
        choose_files(str(out), sizes)
    except RunError as error:  # hf: would refuse it
        raise ExportError(f"{error}; {MOST_BYTES:,} bytes are the limit of all files") from error
    label = generator.class_names[-1] if generator.class_names else None
    return HubFolder(path=out, size_bytes=sum(sizes.values()), license=license_id, label=label)


def _refuse_other_files(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out}: is a file; choose another folder with --out")
    found = (
        {path.name for path in out.iterdir() if path.name not in (".git", ".gitattributes")} if out.exists() else set()
    )
    others = sorted(found - NAMES)
    if others or (found and "provenance.json" not in found):
        name = others[0] if others else "files that are not of gansmith export hub"
        raise ExportError(f"{out}: contains {name}; choose an empty folder with --out")


def _choose_license(folder: RunFolder, given: str | None) -> str:
    if given is None:
        described = describe_run(folder.path)
        if described.startswith(PREFIX):
            return find_entry(described.removeprefix(PREFIX)).license.lower()
        return "unknown"
    if not LICENSE.fullmatch(given):
        raise ExportError(f"--license: {given[:80]!r} is no identifier; expected one such as mit, cc-by-4.0 or other")
    return given.lower()


# --- files -------------------------------------------------------------------------------------------------


def _write_weights(folder: RunFolder, found: Snapshot, best: Path) -> None:
    files: dict[str, Mapping[str, Tensor]] = {
        name + (AVERAGE if found.ema else ""): tensors for name, tensors in found.tensors.items()
    }
    discriminator = _find_discriminator(folder, found)
    if discriminator is not None:
        files["discriminator"] = discriminator
    counts = {"nimg": found.nimg, "step": found.step, "seconds": found.seconds, "tracking_seconds": 0, "num_tracked": 0}
    write_files(best, files, counts)


def _find_discriminator(folder: RunFolder, found: Snapshot) -> Mapping[str, Tensor] | None:
    """Return the newest discriminator, which a later training can start from; None if there is none."""
    beside = open_checkpoint(found.folder, ["discriminator"]).tensors
    if "discriminator" in beside:
        return beside["discriminator"]
    try:
        newest, _ = newest_checkpoint(folder, ["discriminator"])
    except (RunError, DamagedCheckpoint):
        return None
    return newest.tensors.get("discriminator")


def _write_records(folder: RunFolder, out: Path, found: Snapshot, name: str) -> Sequence[Measurement]:
    """Copy settings and statistics without paths of this machine; return the measurements of this generator."""
    config = _read_object(folder.config)
    load_config(folder.config)  # it must be readable before it is passed on
    write_json(out / "config.json", _hide_paths(config))
    write_json(out / "data.json", read_json(folder.data))
    machine = {key: value for key, value in _read_object(folder.environment).items() if key != "command"}
    write_json(out / "environment.json", {**machine, "command": ["gansmith", "export", "hub"]})
    status = _read_object(folder.status)
    write_json(
        out / "status.json", {key: status[key] for key in ("state", "step", "nimg", "rollbacks") if key in status}
    )
    for each in LINES:
        if (folder.path / each).is_file():
            shutil.copyfile(folder.path / each, out / each)
    (out / "metrics.jsonl").unlink(missing_ok=True)
    for line in read_lines(folder.metrics, dict):
        generated = {**line["generated"], "path": name} if isinstance(line.get("generated"), dict) else {"path": name}
        append_line(out / "metrics.jsonl", {**line, "generated": generated})
    return _choose_measurements(read_lines(out / "metrics.jsonl", Measurement.from_plain), found)


def _choose_measurements(measurements: Any, found: Snapshot) -> Sequence[Measurement]:
    """Return the last evaluation of this generator for each feature extractor; what training tracked if none was."""
    own = [
        each
        for each in measurements
        if each.generated.nimg == found.nimg and each.values and each.generated.ema in (None, found.ema)
    ]
    chosen = {each.extractor.name: each for each in own if each.kind == "evaluation"}
    return list((chosen or {each.extractor.name: each for each in own}).values())


def _describe_provenance(folder: RunFolder, found: Snapshot, generator: TrainedGenerator) -> dict[str, Any]:
    facts = DataFacts.read(folder.data)
    machine = _read_object(folder.environment)
    return {
        "gansmith": gansmith.__version__,
        "trained_with": {key: machine.get(key) for key in ("gansmith", "torch", "processor", "device_name")},
        "run": entry_name(folder.path) or folder.path.resolve().name,
        "snapshot": found.which,
        "averaged_weights": found.ema,
        "nimg": found.nimg,
        "step": found.step,
        "seconds": found.seconds,
        "weights_sha256": hash_tensors(generator.network.state_dict()),
        "data": {"title": facts.title, "num_images": facts.num_images, "digest": facts.digest},
    }


def _hide_paths(value: Any, key: str = "") -> Any:
    """Return JSON whose paths are cut to their last part."""
    if isinstance(value, dict):
        return {name: _hide_paths(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_hide_paths(each, key) for each in value]
    if not isinstance(value, str) or value.startswith((PREFIX, "hf:")):
        return value
    is_path = key in PATH_KEYS or PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
    return re.split(r"[/\\]", value.rstrip("/\\"))[-1] if is_path or value.startswith("~") else value


def _read_object(path: Path) -> dict[str, Any]:
    try:
        plain = read_json(path)
    except (OSError, ValueError):
        return {}
    return plain if isinstance(plain, dict) else {}
