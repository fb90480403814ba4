"""The pretended GPU notices whatever a real one would wait for, or refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gansmith.images.pixels import to_array
from gansmith.types import send
from pretend_gpu import PRETEND_GPU, Waited, pretend_compute, pretend_gpu

X = torch.ones(4, 3, device=PRETEND_GPU)
CPU = torch.ones(4, 3)


class _Peeks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * gradient.sum().item()


OFFENCES: dict[str, Callable[[], object]] = {
    "item": lambda: X.sum().item(),
    "float": lambda: float(X.sum()),
    "bool": lambda: bool((X > 0).all()),
    "if": lambda: 1 if X[0, 0] > 0 else 2,
    "cpu": lambda: X.cpu(),
    "to": lambda: X.to("cpu", torch.float64),
    "tolist": lambda: X.tolist(),
    "copy to the CPU": lambda: torch.empty(4, 3).copy_(X),
    "copy from the CPU": lambda: CPU.to(PRETEND_GPU),
    "expanded": lambda: send(torch.ones(1).expand(3), PRETEND_GPU),
    "copy into": lambda: torch.empty_like(X).copy_(CPU),
    "tensor": lambda: torch.tensor([1.0, 2.0], device=PRETEND_GPU),
    "mixture": lambda: X + CPU,
    "mixture with one number": lambda: X * torch.tensor(2.0),
    "labels left behind": lambda: F.embedding(torch.zeros(2, dtype=torch.int64), X),
    "index left behind": lambda: X[torch.tensor([0, 1])],
    "mask": lambda: X[X > 0],
    "assignment by mask": lambda: X.clone().__setitem__(X > 0, X[:, 0].repeat(3)),
    "nonzero": lambda: X.nonzero(),
    "masked select": lambda: X.masked_select(X > 0),
    "unique": lambda: X.unique(),
    "equal": lambda: torch.equal(X, X),
    "backward": lambda: _Peeks.apply(X.clone().requires_grad_()).sum().backward(),
    "double backward": lambda: torch.autograd.grad(_Peeks.apply(Y := X.clone().requires_grad_()).sum(), Y),
}


@pytest.mark.parametrize("offence", OFFENCES)
def test_what_a_gpu_would_wait_for_is_noticed(offence: str) -> None:
    with pretend_gpu(), pytest.raises(Waited):
        OFFENCES[offence]()


def test_numbers_made_there_and_what_is_sent_are_no_offence() -> None:
    with pretend_gpu() as gpu:
        sent = send(CPU, PRETEND_GPU)
        found = (sent + torch.ones((), device=PRETEND_GPU)) * 2.0 + torch.arange(3, device=PRETEND_GPU)
        found[:, 0] = 1.0
        torch.where(found > 0, found, 0.0).sum()
    assert gpu.sent == [(4, 3)] and gpu.read == [] and found.device == PRETEND_GPU


def test_who_may_read_is_noted_and_nobody_else_may() -> None:
    pixels = torch.zeros(2, 3, 4, 5, dtype=torch.uint8, device=PRETEND_GPU)
    with pretend_gpu("images.pixels:to_array") as gpu:
        assert to_array(pixels).shape == (2, 4, 5, 3)
        with pytest.raises(Waited, match="a copy to the CPU is waited for by a test"):
            pixels.cpu()
    assert gpu.read == ["images.pixels:to_array"]
    with pretend_gpu(), pytest.raises(Waited, match=r"waited for by images\.pixels:to_array"):
        to_array(pixels)


def test_its_mixed_precision_is_that_of_cuda() -> None:
    weight = torch.ones(2, 3, device=PRETEND_GPU)
    with pretend_gpu():
        with pretend_compute("bfloat16").autocast():
            assert F.linear(X, weight).dtype == (X @ weight.T).dtype == torch.bfloat16
            assert F.softplus(F.linear(X, weight)).dtype == torch.float32
            assert (X + 1).dtype == torch.float32
            with torch.autocast("meta", enabled=False):
                assert F.linear(X, weight).dtype == torch.float32
        with pretend_compute("float32").autocast():
            assert F.linear(X, weight).dtype == torch.float32
        assert F.linear(X, weight).dtype == torch.float32


@pytest.mark.parametrize(("here", "device", "calls"), [
    ("cpu", "cuda", ["pin_memory", "to cuda without waiting"]),
    ("cuda", "cuda", ["to cuda"]),
    ("cpu", "mps", ["to mps"]),
    ("cpu", "cpu", ["to cpu"]),
])  # fmt: skip
def test_a_copy_to_a_gpu_goes_through_pinned_memory(here: str, device: str, calls: list[str]) -> None:
    """From other memory, the program waits for the copy, and the copy for all work that was given to the GPU."""
    made = []

    class Spy:
        device = torch.device(here)

        def pin_memory(self) -> Spy:
            made.append("pin_memory")
            return self

        def to(self, device: torch.device, non_blocking: bool = False) -> Spy:
            made.append(f"to {device}" + " without waiting" * non_blocking)
            return self

    send(Spy(), torch.device(device))  # type: ignore[arg-type]
    assert made == calls
