"""Moments that each process has of its own images are, taken together, those of all images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from gansmith.metrics.frechet import Moments

PROGRAM = """
import sys
import torch
from safetensors.torch import save_file
from gansmith import dist
from gansmith.metrics.frechet import Moments

with dist.process_group(torch.device("cpu")):
    rows = torch.randn(101, 5, generator=torch.Generator().manual_seed(0)) + 100
    shares = {"unequal": [rows[:70], rows[70:]], "one has none": [rows, rows[:0]]}
    for name, parts in shares.items():
        moments = Moments.of(parts[dist.rank()]).over_ranks()
        found = {"count": torch.tensor(moments.count), "mean": moments.mean, "scatter": moments.scatter}
        save_file(found, f"{sys.argv[1]}/{name}-{dist.rank()}.safetensors")
"""


def test_two_processes_have_the_moments_of_all_images(in_two_processes: Callable[[str], None], tmp_path: Path) -> None:
    in_two_processes(PROGRAM)
    whole = Moments.of(torch.randn(101, 5, generator=torch.Generator().manual_seed(0)) + 100)
    for share in ("unequal", "one has none"):
        for rank in (0, 1):
            found = load_file(tmp_path / f"{share}-{rank}.safetensors")
            assert found["count"].item() == whole.count == 101
            torch.testing.assert_close(found["mean"], whole.mean, rtol=1e-12, atol=0)
            torch.testing.assert_close(found["scatter"], whole.scatter, rtol=0, atol=1e-10)
