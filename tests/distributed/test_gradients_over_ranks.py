"""Gradients after averaging are, on both of two processes, the plain means of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

PROGRAM = """
import sys
import torch
from torch import nn
from gansmith import dist

torch.manual_seed(0)
both = [[torch.randn(shape, dtype=dtype) for shape, dtype in
         (((3, 2), torch.float32), ((5,), torch.float64), ((1,), torch.float32), ((40,), torch.float32))]
        for _ in range(2)]
dist.BUCKET_BYTES = 100
with dist.process_group(torch.device("cpu")):
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in both[0]]
    for parameter, gradient in zip(parameters, both[dist.rank()]):
        parameter.grad = gradient.clone()
    dist.average_gradients([nn.Parameter(torch.zeros(2)), *parameters])
    torch.save({"mine": [p.grad for p in parameters], "both": both}, f"{sys.argv[1]}/{dist.rank()}.pt")
"""


def test_both_processes_have_the_plain_means(in_two_processes: Callable[[str], None], tmp_path: Path) -> None:
    in_two_processes(PROGRAM)
    for rank in range(2):
        saved = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for mine, one, other in zip(saved["mine"], *saved["both"], strict=True):
            assert torch.equal(mine, (one + other) / 2) and not torch.equal(one, other)
