"""The script for a GPU: what it does without one, what does not fit, and that results are written as it goes."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from forks import run_forked
from gansmith.component import override
from gansmith.data.npz import Npz
from gansmith.models.dcgan import DCGAN
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import draw_latents, train_step
from gansmith.types import Batch, ImageSpec
from pretend_gpu import PRETEND_GPU, pretend_compute, pretend_gpu

FOLDER = Path(__file__).parents[1] / "benchmarks"
SPEC = ImageSpec(height=16, width=16, channels=3, num_classes=3)
CONFIG = override(
    Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6, dropout=0.5), batch_size=8, seed=3),
    {"penalties": [{"name": "r1", "every": 2}], "augment": None},
)


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks import each other as scripts do."""
    monkeypatch.syspath_prepend(FOLDER / "peers")
    monkeypatch.syspath_prepend(FOLDER)
    yield


SAVES = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('saved'))); time.sleep(600)"


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


def make_batch(device: str = "cpu") -> Batch:
    images = torch.zeros(8, 16, 16, 3, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    return Batch(images, torch.zeros(8, dtype=torch.int64, device=device))


def rehearse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[dict[str, Any]]:
    monkeypatch.setattr(module("record"), "find_commit", lambda: "abc1234")
    monkeypatch.setattr(module("record"), "RESULTS", tmp_path)  # restored after the script has set it
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--out", str(tmp_path), "--seconds", "0.01", *words])
    module("gpu").main()
    (found,) = tmp_path.glob("*-gpu-rehearsal.json")
    results: list[dict[str, Any]] = json.loads(found.read_text())["results"]
    assert found.with_suffix(".md").read_text().startswith("Rehearsal of benchmarks/gpu.py without a GPU")
    return results


def test_a_rehearsal_measures_what_needs_no_gpu_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = rehearse(tmp_path, monkeypatch, "--limit", "300", "--only", "tests,data,auto,compile")
    outcomes = {(each["part"], each["name"]): each["outcome"] for each in results}
    assert outcomes.pop(("tests", "pytest -m gpu")) == "left out: needs CUDA"
    assert outcomes.pop(("compile", "dcgan-r1")) == "left out: needs CUDA"
    assert [outcomes.pop(("auto", name)) for name in ("cifar10", "gtsrb")] == [
        "left out: no --cifar10",
        "left out: no --gtsrb",
    ]
    assert len(outcomes) == 4 and set(outcomes.values()) == {"done"}
    speeds = [each["values"]["images_per_second"] for each in results if each["part"] == "data"]
    assert all(low <= median <= high for median, low, high in speeds)


def test_nothing_is_begun_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = rehearse(tmp_path, monkeypatch, "--limit", "10", "--cifar10", "nowhere.npz")
    assert results and all(each["outcome"].startswith("left out: ") for each in results)
    assert next(each["outcome"] for each in results if each["name"] == "cifar10") == (
        "left out: needs 18 s, 0 s were left"
    )


def test_each_part_is_written_before_the_next_begins_and_ends_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = module("gpu")
    monkeypatch.setattr(gpu, "GRACE", 0.5)
    written: list[dict[str, Any]] = []
    mark = tmp_path / "mark"

    def part(name: str, code: str, most: float = 60) -> Any:
        def read(printed: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
            yield name, {"printed": printed.strip(), "before": len(written)}

        return gpu.Part(name=("data", name), least=0, most=most, command=(sys.executable, "-c", code), read=read)

    parts = [
        part("good", f"print(1); open({str(mark)!r}, 'w')"),
        part("wrong", "import sys; print('no such kernel', file=sys.stderr); sys.exit(3)"),
        part("deaf", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)", most=1),
        part("saves", SAVES, most=3),
        dataclasses.replace(part("long", "print(2)"), least=1000),
        part("after", "print(3)"),
    ]
    began = time.monotonic()
    gpu.run_parts(parts, began + 400, written.append)
    stopped = ["stopped after 1 s", "stopped after 3 s"]
    assert [each["outcome"] for each in written[:4]] == ["done", "failed with code 3: no such kernel", *stopped]
    assert written[4]["outcome"].startswith("left out: needs 1000 s, 3")
    assert mark.exists() and [each["values"]["before"] for each in (*written[:4], written[5])] == [0, 1, 2, 3, 5]
    assert [written[i]["values"]["printed"] for i in (0, 3, 5)] == ["1", "saved", "3"]


def test_a_part_that_fails_before_it_has_measured_is_written_beside_what_it_left_out() -> None:
    gpu, written = module("gpu"), list[dict[str, Any]]()
    said = [("a: graph", {"outcome": "left out: needs CUDA"})]
    part = gpu.Part(
        name=("speed", "a"),
        least=0,
        most=60,
        command=(sys.executable, "-c", "raise SystemExit(4)"),
        read=lambda _: iter(said),
    )
    gpu.run_parts([part], time.monotonic() + 400, written.append)
    assert [(each["name"], each["outcome"]) for each in written] == [
        ("a: graph", "left out: needs CUDA"),
        ("a", "failed with code 4: "),
    ]


def test_the_tests_that_failed_are_named(tmp_path: Path) -> None:
    report = tmp_path / "tests.xml"
    cases = '<testcase name="a"/><testcase name="b"><failure message="x"/></testcase>'
    report.write_text(
        f'<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0">{cases}</testsuite></testsuites>'
    )
    counts = {"tests": 2, "failures": 1, "errors": 0, "skipped": 0, "failed": ["b"]}
    assert list(module("gpu").read_tests(report)) == [("pytest -m gpu", counts)]
    assert list(module("gpu").read_tests(tmp_path / "nothing.xml")) == []


# --- steps in a graph, and compiled ------------------------------------------------------------------------


def test_a_step_that_is_captured_sends_and_reads_nothing() -> None:
    """So that a CUDA graph of it can be replayed."""
    state = TrainState.create(CONFIG, SPEC, pretend_compute("bfloat16"), epoch_size=8)
    batch, latents = make_batch("meta"), draw_latents(state, salt=0)
    with pretend_gpu() as gpu, module("gpu_parts").same_inputs(latents):
        for _ in range(2):
            train_step(state, lambda *_: batch)
    assert (gpu.sent, gpu.read) == ([], []) and latents.device == PRETEND_GPU


COMPILED = """
import json, sys
from pathlib import Path
import torch
from forks import run_forked
from gansmith.component import override
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.models.dcgan import DCGAN
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec
from gpu_parts import compile_networks

config = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), batch_size=8)
config = override(config, {"penalties": [{"name": "r1", "every": 2}]})
spec, compute = ImageSpec(height=16, width=16, channels=3), Compute(device=torch.device("cpu"), precision="float32")
batch = Batch(torch.arange(8 * 768).remainder(256).to(torch.uint8).view(8, 16, 16, 3).permute(0, 3, 1, 2), None)
for compiled in (False, True):
    state = TrainState.create(config, spec, compute, epoch_size=8)
    if compiled:
        compile_networks(state, backend="eager")
    for _ in range(2):
        train_step(state, lambda *_: batch)
    print(json.dumps(state.statistics.collect()))
print(json.dumps({"traced": torch._dynamo.utils.counters["stats"]["unique_graphs"]}))
"""


def test_compiled_networks_make_the_same_steps_and_leave_penalties_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced, but not compiled: that needs a compiler and its time. Alone, for checks of shapes cannot be traced."""
    program = tmp_path / "compiled.py"
    program.write_text(COMPILED, encoding="utf-8")
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.syspath_prepend(FOLDER / "peers")
    ran = run_forked([str(program)], tmp_path / "compiled.log")
    plain, traced, counted = map(json.loads, (line for line in ran.stdout.splitlines() if line.startswith("{")))
    assert traced == pytest.approx(plain, rel=1e-4, abs=1e-6) and "penalty/r1" in plain
    assert counted["traced"] > 0
