"""Put the weights of a run into half precision, and measure what that changes and how good the generator is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansmith import api, evaluate
from gansmith.deploy.card import write_sheet
from gansmith.metrics.measurement import Measurement
from gansmith.plain_json import read_json, write_json
from gansmith.runs import RunFolder
from gansmith.training.checkpoint import AVERAGE
from gansmith.training.checkpoint_files import newest_checkpoint, write_files
from gansmith.training.snapshots import find_snapshot

__all__ = ["SPACES", "Rounding", "halve_run", "measure_entry", "measure_rounding"]

# The feature extractors of the cards: one that is learnt from the data, and one that is the same everywhere.
SPACES: Mapping[str, Mapping[str, Any]] = {
    "classifier": {"name": "classifier", "width": 32, "kimg": 40.0, "light": True},
    "efficientnet-lite1": {"name": "efficientnet-lite1"},
}
METRICS: Mapping[str, str] = {  # memorisation needs the features of all training images
    "classifier": "fid,kid,precision-recall,memorisation",
    "efficientnet-lite1": "fid,kid,precision-recall",
}
KEPT = ("config.json", "data.json", "environment.json", "status.json", "stats.jsonl", "events.jsonl")
NUM_COMPARED = 1000  # images of which each pixel is compared


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """What half precision changes.

    Args:
        most: largest difference of a pixel value, of 0 to 255.
        mean: mean difference of all pixel values.
        fid: FID of the weights in float32, in the first of ``SPACES``.
        fid_half: the same in float16.
    """

    most: int
    mean: float
    fid: float
    fid_half: float


def halve_run(run: Path, out: Path) -> Path:
    """Write a run folder with the best generator and the newest discriminator in float16; return it.

    A folder that has been made of the same weights before is kept, with its measurements.
    """
    made_of = out.with_name(f"{out.name}.json")
    source = {"weights": read_json(find_snapshot(RunFolder.open(run)).folder / "state.json")["files"]}
    if made_of.exists() and read_json(made_of) == source:
        return out
    shutil.rmtree(out, ignore_errors=True)
    _rounding_file(out).unlink(missing_ok=True)
    out.mkdir(parents=True)
    for name in KEPT:
        if (run / name).exists():
            shutil.copyfile(run / name, out / name)
    folder = RunFolder.open(run)
    best, (newest, _) = find_snapshot(folder), newest_checkpoint(folder, ["discriminator"])
    files = {name + AVERAGE: _halve(tensors) for name, tensors in best.tensors.items()}
    files["discriminator"] = _halve(newest.tensors["discriminator"])
    counts = {"nimg": best.nimg, "step": best.step, "seconds": best.seconds, "tracking_seconds": 0, "num_tracked": 0}
    (out / "best").mkdir()
    write_files(out / "best", files, counts)
    write_sheet(api.open_run(out).generator(), out / "images", best.nimg)
    write_json(made_of, source)
    return out


def _rounding_file(half: Path) -> Path:
    return half.with_name(f"{half.name}-rounding.json")


def _halve(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    halved = {name: each.half() if each.dtype == torch.float32 else each for name, each in tensors.items()}
    for name, each in halved.items():
        if not each.isfinite().all():
            raise SystemExit(f"{name}: a weight is too large for float16; keep this entry in float32")
    return halved


def measure_entry(half: Path, spaces: Sequence[str], num: int) -> list[Measurement]:
    """Measure a run in several feature spaces; the values are written to its metrics.jsonl, and are measured once."""
    known = {each.extractor.name: each for each in api.open_run(half).measurements() if each.generated.num == num}
    return [
        known.get(space) or evaluate(half, metrics=METRICS[space], num=num, overrides={"extractor": SPACES[space]})
        for space in spaces
    ]


def measure_rounding(run: Path, half: Path, measured: Measurement, num: int) -> Rounding:
    """Compare the generators of a run and of its copy in half precision on the same seeds.

    Args:
        run: with weights in float32.
        half: with weights in float16.
        measured: the copy, in the first of ``SPACES``.
        num: images of an FID.

    Returns:
        What was measured before, if these weights have been.
    """
    path = _rounding_file(half)
    if path.exists():
        return Rounding(**read_json(path))
    ours, rounded = (api.open_run(folder).generator().sample(NUM_COMPARED).images for folder in (run, half))
    difference = np.abs(ours.astype(int) - rounded.astype(int))
    space = SPACES[measured.extractor.name]
    full = evaluate(run, metrics="fid", num=num, overrides={"extractor": space})
    fid, fid_half = (each.values["fid"].value for each in (full, measured))
    rounding = Rounding(most=int(difference.max()), mean=float(difference.mean()), fid=fid, fid_half=fid_half)
    write_json(path, dataclasses.asdict(rounding))
    return rounding
