"""The trained classifiers of a utility test, one small file each, so that an interrupted test continues.

A cell is one classifier: an arm, an amount of real images, a seed. Its file holds the class that it gives each test
image. It is used again only if its key, a digest of everything that decides its content, is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.plain_json import read_json, write_json
from gansmith.utility.arms import ARMS, NO_REAL, Amount

__all__ = ["CellFolder", "UtilityCell", "list_utility_cells", "name_amount"]


def name_amount(amount: Amount) -> str:
    """Return an amount of real images as options and files name it: "all", "10", or "none"."""
    return "all" if amount is None else "none" if amount == NO_REAL else str(amount)


@dataclass(frozen=True)
class UtilityCell:
    """One classifier.

    Args:
        arm: a name in ``ARMS``.
        amount: real images of each class; None for all, 0 for the arms without real images.
        seed: of the classifier.
    """

    arm: str
    amount: Amount
    seed: int

    @property
    def name(self) -> str:
        """The name of its file, without the suffix."""
        return f"{self.arm}-{name_amount(self.amount)}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class CellFolder:
    """The files of all cells.

    Args:
        path: the folder.
        digest: of what all cells share: images, settings, network.
    """

    path: Path
    digest: str
    _read: dict[UtilityCell, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, path: Path, shared: Mapping[str, Any]) -> CellFolder:
        """Return the folder of cells that share some plain values."""
        digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()
        return cls(path=path, digest=digest)

    def read(self, cell: UtilityCell, num_test: int, num_classes: int) -> NDArray[np.int64] | None:
        """Return the predicted classes, int64 [n]; None if the cell is not done, damaged, or of other settings."""
        if cell in self._read:
            return self._read[cell]
        try:
            plain = read_json(self._file(cell))
            found = np.array(plain["predicted"])
            usable = plain["key"] == self._key(cell) and found.shape == (num_test,) and found.dtype == np.int64
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        if not usable or not 0 <= found.min() <= found.max() < num_classes:
            return None
        self._read[cell] = found
        return found

    def write(self, cell: UtilityCell, predicted: NDArray[np.int64], facts: Mapping[str, Any]) -> None:
        """Write the predicted classes of a cell, all or nothing."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self._file(cell), {"key": self._key(cell), **facts, "predicted": predicted.tolist()})
        self._read[cell] = predicted

    def _file(self, cell: UtilityCell) -> Path:
        return self.path / f"{cell.name}.json"

    def _key(self, cell: UtilityCell) -> str:
        return hashlib.sha256(f"{self.digest} {cell.name}".encode()).hexdigest()


def list_utility_cells(arms: list[str], amounts: list[Amount], seeds: int) -> list[UtilityCell]:
    """Return all cells in the order in which they are trained: seed by seed, so that each seed completes a table.

    Args:
        arms: names in ``ARMS``. Those without real images have one cell for each seed.
        amounts: of the other arms.
        seeds: how many.
    """
    kinds = [(arm, amount) for amount in amounts for arm in arms if ARMS[arm].real]
    kinds += [(arm, NO_REAL) for arm in arms if not ARMS[arm].real]
    return [UtilityCell(arm, amount, seed) for seed in range(seeds) for arm, amount in kinds]
