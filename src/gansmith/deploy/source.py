"""The generator that is exported, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gansmith.runs import RunFolder
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.snapshots import Which, find_snapshot, load_generator

__all__ = ["ExportSource", "open_source"]


@dataclass(frozen=True, kw_only=True)
class ExportSource:
    """A generator and its provenance.

    Args:
        generator: the generator, on the CPU.
        provenance: texts for files: "run", "snapshot", "nimg" (real images seen in training) and "averaged_weights".
    """

    generator: TrainedGenerator
    provenance: Mapping[str, str]


def open_source(folder: RunFolder, *, snapshot: Which = "best", ema: bool = True) -> ExportSource:
    """Read a run's generator; the arguments are those of ``training.snapshots.find_snapshot``.

    Raises:
        RunError: the run has no checkpoint, or a damaged one.
    """
    found = find_snapshot(folder, snapshot, ema=ema)
    provenance = {
        "run": folder.path.resolve().name,
        "snapshot": found.which,
        "nimg": str(found.nimg),
        "averaged_weights": str(found.ema).lower(),
    }
    return ExportSource(generator=load_generator(folder, found), provenance=provenance)
