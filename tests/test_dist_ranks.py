"""What ranks exchange, against plain sums, means and lists: a rank is a thread, and the collectives are plain Python.

That the real ones, of Gloo, do the same is tested in ``tests/distributed``.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gansmith import dist
from gansmith.errors import ConfigError
from thread_ranks import Ranks


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """Three of them."""
    made = Ranks(3)
    monkeypatch.setattr(dist, "torch_dist", made)
    return made


def test_each_rank_knows_its_number_and_the_first_is_the_main_one(ranks: Ranks) -> None:
    found = ranks.run(lambda _: (dist.rank(), dist.world_size(), dist.is_main(), dist.local_share(9)))
    assert found == [
        (0, 3, True, slice(0, 3)), (1, 3, False, slice(3, 6)), (2, 3, False, slice(6, 9)),
    ]  # fmt: skip


def test_a_batch_that_does_not_divide_is_refused(ranks: Ranks) -> None:
    for error in ranks.run(lambda _: dist.local_share(10)):
        assert isinstance(error, ConfigError)
        assert str(error) == "config.batch_size: 10 is not a multiple of the 3 processes"


def test_sums_are_the_same_everywhere_and_leave_their_terms(ranks: Ranks) -> None:
    terms = [torch.tensor([1.0, -2.0]), torch.tensor([10.0, 5.0]), torch.tensor([0.5, 0.25])]
    for total in ranks.run(lambda rank: dist.sum_over_ranks(terms[rank])):
        assert total.tolist() == [11.5, 3.25]
    assert terms[0].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("lengths", [(2, 0, 3), (1, 1, 1), (0, 0, 0), (4, 1, 2)])
def test_rows_are_gathered_in_the_order_of_the_ranks(ranks: Ranks, lengths: tuple[int, ...]) -> None:
    parts = [torch.arange(2 * length).view(length, 2) + 100 * rank for rank, length in enumerate(lengths)]
    for rows in ranks.run(lambda rank: dist.gather_rows(parts[rank])):
        assert torch.equal(rows, torch.cat(parts)) and rows.dtype == torch.int64


def test_ranks_go_by_the_main_ones_clock_and_stop_if_any_wants_to(ranks: Ranks) -> None:
    for stops in ((False, False, False), (True, False, False), (False, False, True), (True, True, True)):
        found = ranks.run(lambda rank, stops=stops: dist.agree(12.3456789012 + rank, stops[rank]))
        assert found == [(12.3456789012, any(stops))] * 3


def test_the_main_one_goes_first(ranks: Ranks) -> None:
    order: list[int] = []

    def go(rank: int) -> None:
        with dist.main_first():
            order.append(rank)

    ranks.run(go)
    assert order[0] == 0 and sorted(order) == [0, 1, 2]


def test_nobody_waits_for_a_main_one_that_has_failed(ranks: Ranks) -> None:
    def go(rank: int) -> str:
        with dist.main_first():
            if rank == 0:
                raise KeyError("missing")
            return "through"

    failed, *others = ranks.run(go)
    assert isinstance(failed, KeyError) and others == ["through", "through"]


def test_what_the_main_one_makes_is_on_every_rank_and_made_once(ranks: Ranks) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(dist.rank())
        return "made"

    assert ranks.run(lambda _: dist.from_main(make)) == ["made"] * 3 and made == [0]


def test_the_main_ones_mistake_is_everybodys(ranks: Ranks) -> None:
    def make() -> str:
        raise ConfigError("wrong")

    for error in ranks.run(lambda _: dist.from_main(make)):
        assert isinstance(error, ConfigError) and str(error) == "wrong"


def test_two_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, order = Ranks(2), list[int]()
    monkeypatch.setattr(dist, "torch_dist", ranks)

    def go(rank: int) -> tuple[Any, ...]:
        with dist.main_first():
            order.append(rank)
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = torch.tensor([1.0, 3.0 * rank])
        dist.average_gradients([weight])
        summed, rows = dist.sum_over_ranks(torch.tensor(rank + 1)), dist.gather_rows(torch.tensor([rank]))
        made, agreed = dist.from_main(lambda: rank + 5), dist.agree(2.5 + rank, rank == 1)
        return weight.grad.tolist(), summed.item(), rows.tolist(), made, agreed

    assert ranks.run(go) == [([1.0, 1.5], 3, [0, 1], 5, (2.5, True))] * 2
    assert order == [0, 1]


@pytest.mark.parametrize("size", [2, 3])
def test_a_barrier_is_passed_together(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, meetings = Ranks(size), list[None]()
    monkeypatch.setattr(dist, "torch_dist", ranks)
    monkeypatch.setattr(ranks, "barrier", lambda: meetings.append(None))
    ranks.run(lambda _: dist.barrier())
    assert len(meetings) == size


def test_without_a_gradient_nothing_is_sent(ranks: Ranks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "all_reduce", lambda _: pytest.fail("sent"))
    frozen = nn.Parameter(torch.zeros(2))
    assert ranks.run(lambda _: dist.average_gradients([frozen])) == [None] * 3 and frozen.grad is None
    assert list(dist._buckets([])) == []


def test_one_process_exchanges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("nobody is there")

    for name in ("all_reduce", "all_gather", "broadcast_object_list", "barrier"):
        monkeypatch.setattr(dist.torch_dist, name, refuse)
    assert (dist.rank(), dist.world_size(), dist.is_main()) == (0, 1, True)
    rows, made = torch.arange(6).view(3, 2), []
    assert dist.gather_rows(rows) is rows
    assert dist.sum_over_ranks(rows) is not rows and torch.equal(dist.sum_over_ranks(rows), rows)
    assert dist.agree(1.5, True) == (1.5, True) and dist.local_share(5) == slice(0, 5)
    with dist.main_first():
        made.append(dist.from_main(lambda: "made"))
    dist.barrier()
    assert made == ["made"]


class Launcher:
    """Stands in for ``torch.distributed`` where processes are joined."""

    def __init__(self, joined: bool) -> None:
        self.joined, self.events = joined, list[str]()

    def is_initialized(self) -> bool:
        return self.joined

    def init_process_group(self, backend: str) -> None:
        self.joined = True
        self.events.append(backend)

    def destroy_process_group(self) -> None:
        self.events.append("left")

    def collect(self) -> None:
        self.events.append("collected")


CASES = [
    (None, "cpu", False, []), ("1", "cpu", False, []), ("2", "cpu", True, []),
    ("2", "cpu", False, ["gloo", "left", "collected"]),
    ("3", "cuda", False, ["cpu:gloo,cuda:nccl", "left", "collected"]),
]  # fmt: skip


@pytest.mark.parametrize(("size", "device", "joined", "events"), CASES)
@pytest.mark.parametrize("fails", [False, True])
def test_processes_are_joined_for_as_long_as_the_block_lasts(
    monkeypatch: pytest.MonkeyPatch, size: str | None, device: str, joined: bool, events: list[str], fails: bool
) -> None:
    launcher = Launcher(joined)
    monkeypatch.setattr(dist, "torch_dist", launcher)
    monkeypatch.setattr(dist, "gc", launcher)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    seen: list[str] = []
    try:
        with dist.process_group(torch.device(device)):
            seen = list(launcher.events)
            if fails:
                raise KeyError("inside")
    except KeyError:
        assert fails
    assert seen == events[:1] and launcher.events == events
