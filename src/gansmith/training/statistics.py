"""Running statistics that stay on the device: count, sum and sum of squares, reduced once per interval."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gansmith import dist

__all__ = ["Statistics"]


class Statistics:
    """Means and deviations of per-sample values since the last interval; NaN and infinity are left out.

    Adding costs a stack and a few sums, and never waits for the device. Over ranks, the three numbers are summed.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}  # float64 [keys, 3]: count, sum, sum of squares
        self._last: dict[tuple[str, ...], Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's values.

        Args:
            values: float [n] each, under the keys of stats.jsonl.
        """
        keys = tuple(values)
        stacked = torch.stack([value.detach() for value in values.values()])
        stacked = stacked.to(torch.float32 if stacked.device.type == "mps" else torch.float64)  # MPS has no float64
        finite = torch.isfinite(stacked)
        counted = stacked.where(finite, 0.0)
        step = torch.stack([finite.sum(1, dtype=stacked.dtype), counted.sum(1), counted.square().sum(1)], dim=1)
        self._last[keys] = step
        self._sums[keys] = self._sums[keys] + step if keys in self._sums else step

    def last_means(self) -> dict[str, float]:
        """Return the means of the last step, on this rank; NaN for a key without a finite value."""
        return {
            key: total / count if count else math.nan
            for keys, step in self._last.items()
            for key, (count, total, _) in zip(keys, step.tolist(), strict=True)
        }

    def collect(self) -> dict[str, float]:
        """Means under each key and deviations under "key.std", over all ranks; then starts anew.

        A key without a finite value is absent.
        """
        record: dict[str, float] = {}
        for keys in sorted(self._sums):
            for key, (count, total, squares) in zip(keys, dist.sum_over_ranks(self._sums[keys]).tolist(), strict=True):
                if not count:
                    continue
                mean = total / count
                record[key] = mean
                record[f"{key}.std"] = max(0.0, squares / count - mean**2) ** 0.5
        self._sums.clear()
        return record

    def to_plain(self) -> list[dict[str, object]]:
        """For a checkpoint: what was added since the last interval, over all ranks."""
        return [
            {"keys": list(keys), "sums": dist.sum_over_ranks(self._sums[keys]).tolist()} for keys in sorted(self._sums)
        ]

    def load_plain(self, plain: list[dict[str, list[object]]], device: torch.device) -> None:
        """Go on from a checkpoint. The main rank carries all of it, so that the sum over ranks is right."""
        self._sums = {}
        if dist.is_main():
            for group in plain:
                keys = tuple(str(key) for key in group["keys"])
                dtype = torch.float32 if device.type == "mps" else torch.float64
                self._sums[keys] = torch.tensor(group["sums"], dtype=dtype, device=device)
