"""Running statistics: however the values came in, the same mean and deviation come out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gansmith.training.statistics import Statistics

VALUES = torch.randn(60, generator=torch.Generator().manual_seed(0)) * 3 + 5
OTHERS = VALUES.flip(0).square()


def filled(steps: list[int]) -> Statistics:
    statistics = Statistics()
    for a, b in zip(VALUES.split(steps), OTHERS.split(steps), strict=True):
        statistics.add({"loss/a": a, "loss/b": b})
    return statistics


@pytest.mark.parametrize("steps", [[60], [1] * 60, [7, 50, 3], [20, 20, 20]])
def test_means_and_deviations_are_those_of_all_values(steps: list[int]) -> None:
    record = filled(steps).collect()
    for key, values in (("loss/a", VALUES), ("loss/b", OTHERS)):
        array = values.numpy().astype(np.float64)
        assert record[key] == pytest.approx(array.mean(), rel=1e-12)
        assert record[f"{key}.std"] == pytest.approx(array.std(), rel=1e-9)
    assert set(record) == {"loss/a", "loss/a.std", "loss/b", "loss/b.std"}


def test_collecting_starts_anew() -> None:
    statistics = filled([60])
    statistics.collect()
    assert statistics.collect() == {}
    statistics.add({"loss/a": torch.tensor([1.0, 3.0])})
    assert statistics.collect() == {"loss/a": 2.0, "loss/a.std": 1.0}


def test_keys_may_come_at_different_steps() -> None:
    statistics = filled([30, 30])
    statistics.add({"penalty/r1": torch.tensor([4.0, 6.0])})
    record = statistics.collect()
    assert record["penalty/r1"] == 5.0 and record["loss/a"] == pytest.approx(float(VALUES.double().mean()))


def test_a_constant_has_no_deviation_and_never_a_negative_variance() -> None:
    statistics = Statistics()
    for _ in range(10):
        statistics.add({"loss/a": torch.full((3,), 0.1)})
    assert statistics.collect()["loss/a.std"] == pytest.approx(0.0, abs=1e-7)


def test_the_last_step_alone() -> None:
    statistics = filled([50, 10])
    assert statistics.last_means()["loss/a"] == pytest.approx(float(VALUES[50:].double().mean()))


def test_a_checkpoint_in_between_changes_nothing() -> None:
    whole, first = filled([25, 25, 10]), Statistics()
    for a, b in zip(VALUES[:50].split(25), OTHERS[:50].split(25), strict=True):
        first.add({"loss/a": a, "loss/b": b})
    second = Statistics()
    second.load_plain(json.loads(json.dumps(first.to_plain())), torch.device("cpu"))
    second.add({"loss/a": VALUES[50:], "loss/b": OTHERS[50:]})
    assert second.collect() == whole.collect()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_does_not_count(bad: float) -> None:
    statistics = Statistics()
    statistics.add({"loss/a": torch.tensor([1.0, bad]), "loss/b": torch.zeros(2)})
    statistics.add({"loss/a": torch.tensor([bad, 3.0]), "loss/b": torch.ones(2)})
    record = statistics.collect()
    assert (record["loss/a"], record["loss/a.std"], record["loss/b"]) == (2.0, 1.0, 0.5)


def test_a_key_without_any_number_is_absent() -> None:
    statistics = Statistics()
    statistics.add({"loss/a": torch.full((2,), torch.nan), "loss/b": torch.zeros(2)})
    means = statistics.last_means()
    assert np.isnan(means["loss/a"]) and means["loss/b"] == 0.0
    assert set(statistics.collect()) == {"loss/b", "loss/b.std"}


def test_no_graph_is_kept() -> None:
    statistics = Statistics()
    values = torch.ones(3, requires_grad=True)
    statistics.add({"loss/a": values * 2})
    assert statistics.collect()["loss/a"] == 2.0
