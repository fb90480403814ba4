"""The choice among algorithms: measured once for each problem, kept, and used for all three operations."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansmith.models import algorithms
from gansmith.models.algorithms import AlgorithmTable, Problem
from gansmith.models.convolution import Conv2d, ConvTranspose2d
from gansmith.models.geometry import Geometry

PROBLEM = Problem("forward", "float32", 8, 3, 16, 16, 32, (4, 4), Geometry(2, 1, 1))
OPERATIONS = ("forward", "input-gradient", "weight-gradient")


def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, the gradients, and those of a penalty on the gradient of x."""
    x = x.detach().requires_grad_()
    made = layer(x)
    (of_x,) = torch.autograd.grad(made.square().sum(), x, create_graph=True)
    of_all = torch.autograd.grad(of_x.square().sum() + made.sum(), (x, *layer.parameters()))
    return [made.detach(), of_x.detach(), *of_all]


def favour(favourite: str, monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """Let one algorithm win wherever it applies; return the list of problems that are measured."""
    measured: list[Problem] = []

    def fastest(problem: Problem, compute: Any) -> str:
        measured.append(problem)
        return favourite if favourite in problem.algorithms else "direct"

    monkeypatch.setattr(algorithms, "_measure", fastest)
    return measured


@pytest.mark.parametrize("favourite", ["contiguous", "matmul", "winograd"])
@pytest.mark.parametrize("kind", [Conv2d, ConvTranspose2d])
def test_every_algorithm_gives_the_same_derivatives_of_any_order(
    favourite: str, kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = favour(favourite, monkeypatch)
    torch.manual_seed(0)
    layer = kind(3, 5, 4, stride=2, padding=1).double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    expected = gradients(layer, x)
    table = AlgorithmTable()
    with table.used():
        for mine, plain in zip(gradients(layer, x), expected, strict=True):
            torch.testing.assert_close(mine, plain)
    assert {problem.operation for problem in measured} == set(OPERATIONS)
    assert set(table.to_plain().values()) == {favourite}
    seen = len(measured)
    with table.used():
        gradients(layer, x)
    assert len(measured) == seen, "each problem is measured once"


def test_groups_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    favour("matmul", monkeypatch)
    layer, table = Conv2d(4, 4, 3, padding=1, groups=2), AlgorithmTable()
    with table.used():
        gradients(layer, torch.randn(2, 4, 6, 6))
    assert set(table.to_plain().values()) == {"direct"}


def test_the_fastest_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    cost = {"direct": 10, "contiguous": 12, "matmul": 20, "winograd": 7}
    calls: list[tuple[str, int]] = []

    def seconds(compute: Any, algorithm: str, num: int) -> float:
        calls.append((algorithm, num))
        return cost[algorithm] + 1e-6 * next(clock)

    monkeypatch.setattr(algorithms, "_seconds", seconds)
    large = PROBLEM._replace(images=20_000)
    assert algorithms._measure(large, lambda *_: None) == "winograd"
    assert sum(name == "matmul" for name, _ in calls) == 1, "what takes twice as long is not measured again"
    assert {num for _, num in calls} == {int(algorithms.MEASURED_FLOPS / large.flops_per_image)}
    cost["winograd"] = 9.9
    assert algorithms._measure(large, lambda *_: None) == "direct", "a hundredth is noise"
    calls.clear()
    assert algorithms._measure(PROBLEM._replace(images=1), lambda *_: None) == "direct"
    assert not calls, "a problem this small is not measured"


def test_a_limit_that_is_just_met_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = {"direct": algorithms.GAIN, "contiguous": algorithms.HOPELESS, "matmul": 2.0, "winograd": 1.0}
    calls: list[tuple[str, int]] = []

    def seconds(compute: Any, algorithm: str, num: int) -> float:
        calls.append((algorithm, num))
        return cost[algorithm]

    monkeypatch.setattr(algorithms, "_seconds", seconds)
    huge = PROBLEM._replace(height=10_000, width=10_000)
    assert huge.flops_per_image > algorithms.MEASURED_FLOPS
    assert algorithms._measure(huge, lambda *_: None) == "direct"
    assert calls.count(("contiguous", 1)) == 1 and calls.count(("winograd", 1)) == 1 + algorithms.ROUNDS
    assert {num for _, num in calls} == {1}, "of large images, one is measured"


def test_seconds_are_those_between_two_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((5.0, 7.5))
    monkeypatch.setattr(algorithms.time, "perf_counter", lambda: next(clock))
    assert algorithms._seconds(lambda *_: None, "direct", 1) == 2.5


def test_the_operations_of_a_layer_are_one_problem_and_are_measured_with_their_first_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[Problem, Any] = {}

    def measured(problem: Problem, attempt: Any) -> str:
        made[problem] = attempt("direct", 2)
        return "direct"

    monkeypatch.setattr(algorithms, "_measure", measured)
    geometry = Geometry(2, 1, 2)
    x, weight = torch.randn(3, 6, 8, 10).requires_grad_(), torch.randn(4, 3, 2, 3).requires_grad_()
    expected = F.conv2d(x[:2], weight, None, 2, 1, groups=2)
    gradient = torch.randn(3, *expected.shape[1:])
    of_x, of_weight = torch.autograd.grad(expected, (x, weight), gradient[:2])
    with torch.no_grad(), AlgorithmTable().used():
        algorithms.compute_convolution(x, weight, None, geometry)
        algorithms.compute_input_gradient(gradient, weight, (8, 10), geometry)
        algorithms.compute_weight_gradient(gradient, x, (4, 3, 2, 3), geometry)
    same = "float32", 3, 6, 8, 10, 4, (2, 3), geometry
    assert list(made) == [Problem(operation, *same) for operation in OPERATIONS]  # type: ignore[arg-type]
    for found, right in zip(made.values(), (expected, of_x[:2], of_weight), strict=True):
        torch.testing.assert_close(found, right.detach())


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(8, 3, 16, 16), torch.randn(32, 3, 4, 4)
    table = AlgorithmTable({str(PROBLEM): "winograd"})
    measured = favour("direct", monkeypatch)
    with table.used():
        algorithms.compute_convolution(x, weight, None, PROBLEM.geometry)
    assert not measured and table.to_plain() == {str(PROBLEM): "winograd"}


def test_other_devices_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = favour("matmul", monkeypatch)
    x, weight = torch.empty(8, 3, 16, 16, device="meta"), torch.empty(32, 3, 4, 4, device="meta")
    with AlgorithmTable().used():
        assert algorithms.compute_convolution(x, weight, None, PROBLEM.geometry).shape == (8, 32, 8, 8)
    assert not measured


def test_the_rule_knows_the_weight_s_gradient() -> None:
    """A small weight over a smaller map: products pay for its gradient alone."""
    same: Any = ((8, 8), (512, 16, 4, 4), Geometry(2, 1, 1), torch.bfloat16)
    rules = {operation: algorithms._follow_rule(operation, *same) for operation in OPERATIONS}  # type: ignore[arg-type]
    assert rules == {"forward": "direct", "input-gradient": "direct", "weight-gradient": "matmul"}


def test_operations_are_counted_as_flops() -> None:
    assert PROBLEM.flops_per_image == 2 * 8 * 8 * 32 * 3 * 4 * 4
    assert PROBLEM._replace(inputs=4, geometry=Geometry(2, 1, 2)).flops_per_image == 2 * 8 * 8 * 32 * 2 * 4 * 4


def test_real_times_are_measured() -> None:
    table = AlgorithmTable()
    layer = Conv2d(16, 32, 4, stride=2, padding=1)
    with table.used():
        gradients(layer, torch.randn(8, 16, 16, 16))
    assert len(table.to_plain()) == 3


def test_without_a_table_in_another_thread_and_after_the_block_the_rule_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = favour("matmul", monkeypatch)
    layer, x = Conv2d(3, 8, 3), torch.randn(1, 3, 8, 8)
    with AlgorithmTable().used():
        other = threading.Thread(target=lambda: layer(x))
        other.start()
        other.join()
        assert not measured
    layer(x)
    assert not measured


def test_choices_survive_as_text() -> None:
    table = AlgorithmTable({str(PROBLEM): "winograd"})
    assert Problem.parse(str(PROBLEM)) == PROBLEM
    assert AlgorithmTable(table.to_plain()).chosen == {PROBLEM: "winograd"}


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        ("nonsense", "direct"),
        (str(PROBLEM).removeprefix("forward"), "direct"),
        (str(PROBLEM).replace("stride 2", "stride 0"), "direct"),
        (str(PROBLEM).replace("16x16", "16x" + "9" * 5000), "direct"),
        (str(PROBLEM), "fastest"),
        (str(PROBLEM), ["winograd"]),
        (str(PROBLEM).replace("4x4", "5x5"), "winograd"),  # which does not apply to it
        (str(PROBLEM).replace("float32", "bfloat16"), "winograd"),
    ],
)
def test_choices_that_cannot_be_used_are_left_out(text: str, algorithm: object) -> None:
    assert AlgorithmTable({text: algorithm}).chosen == {}
