"""Averages of gradients: plain means over ranks, whatever the buckets are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gansmith import dist
from gansmith.errors import RunError


def parameters(seed: int) -> list[nn.Parameter]:
    """Of several shapes, memory formats and types; one without a gradient."""
    stream = torch.Generator().manual_seed(seed)
    dtypes = (torch.float32, torch.float32, torch.float64, torch.float32, torch.float32)
    made = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape, dtype in zip(SHAPES, dtypes, strict=True)]
    for parameter in made[:-1]:
        parameter.grad = torch.randn(parameter.shape, generator=stream).to(parameter.dtype)
    grad = made[1].grad
    assert grad is not None
    made[1].grad = grad.to(memory_format=torch.channels_last)
    return made


SHAPES = ((3,), (2, 3, 4, 5), (4, 1), (), (7,))


@pytest.mark.parametrize(("bucket_bytes", "num_buckets"), [(1, 4), (10**9, 3), (12, 4), (13, 3)])
def test_gradients_are_averaged_in_few_buckets(
    monkeypatch: pytest.MonkeyPatch, bucket_bytes: int, num_buckets: int
) -> None:
    """Three ranks in one process: what the others bring is added by the faked sum."""
    ranks = [parameters(seed) for seed in range(3)]
    wanted = [
        torch.stack([each.grad for each in rows if each.grad is not None]).mean(0) for rows in zip(*ranks, strict=True)
        if rows[0].grad is not None
    ]  # fmt: skip
    others = [torch.stack([r.grad.clone() for r in rows if r.grad is not None]).sum(0)
              for rows in zip(*ranks[1:], strict=True) if rows[0].grad is not None]  # fmt: skip
    sent: list[torch.Tensor] = []

    def all_reduce(flat: torch.Tensor) -> None:
        assert flat.dim() == 1
        flat += torch.cat([others.pop(0).flatten() for _ in range(_num_in(flat, others))])
        sent.append(flat)

    monkeypatch.setattr(dist, "world_size", lambda: 3)
    monkeypatch.setattr(dist.torch_dist, "all_reduce", all_reduce)
    monkeypatch.setattr(dist, "BUCKET_BYTES", bucket_bytes)
    places = [each.grad.data_ptr() for each in ranks[0] if each.grad is not None]
    dist.average_gradients(ranks[0])
    found = [each.grad for each in ranks[0] if each.grad is not None]
    assert len(sent) == num_buckets and [each.data_ptr() for each in found] == places
    assert ranks[0][-1].grad is None
    for mine, mean in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, mean)


def _num_in(flat: torch.Tensor, waiting: list[torch.Tensor]) -> int:
    sizes = torch.tensor([each.numel() for each in waiting]).cumsum(0).tolist()
    return sizes.index(flat.numel()) + 1


def test_one_process_leaves_gradients_alone() -> None:
    mine, same = parameters(0), parameters(0)
    dist.average_gradients(mine)
    for one, other in zip(mine, same, strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_shares_lie_in_a_row(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(dist, "world_size", lambda: 3)
    monkeypatch.setattr(dist, "rank", lambda: rank)
    assert dist.local_share(12) == slice(4 * rank, 4 * rank + 4)


def test_buckets_hold_32_mib() -> None:
    assert dist.BUCKET_BYTES == 32 * 1024 * 1024


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RunError("taken")])
def test_an_error_of_the_main_process_reaches_all(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(dist, "world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.broadcast_object_list", sent.extend)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        dist.from_main(fail)
    assert sent == [None, error]
