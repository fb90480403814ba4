"""The figure that training tracks, and the generator that had the best one."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gansmith import api
from gansmith.data.batches import split
from gansmith.data.store import prepare
from gansmith.devices import Compute
from gansmith.errors import MetricError
from gansmith.metrics.backbone import BackboneNetwork
from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Estimate, Metric, MetricInputs, Quantity
from gansmith.metrics.random_conv import RandomConv
from gansmith.plain_json import seal, unseal
from gansmith.runs import RunFolder
from gansmith.training import stages
from gansmith.training.data_facts import DataFacts
from gansmith.training.presets import configure
from gansmith.training.snapshots import find_snapshot, make_sampler
from gansmith.training.state import TrainState
from gansmith.training.tracker import Tracker, open_tracker
from gansmith.training.tracking import Tracking

CHEAP = {"extractor": {"name": "random-conv"}, "num": 16, "num_real": 16, "max_share": 1.0}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, images=draw.integers(0, 256, (40, 16, 16, 3), np.uint8), labels=np.arange(40) % 4)
    return path


def small(**more: Any) -> dict[str, Any]:
    often = {"log_every": "2 steps", "samples.every": "100 steps", "checkpoint_every": "100 steps"}
    return {"batch_size": 8, "model.width": 4, **often, "tracking": {**CHEAP, "every": "2 steps"}, **more}


class Comparisons:
    """What was measured so far."""

    seen: ClassVar[list[MetricInputs]] = []


class Scripted(Metric):
    """Gives the figures that a test writes down, one after the other."""

    quantities: ClassVar = {"score": Quantity(title="score", better="higher")}
    script: ClassVar[Iterator[float]] = iter(())

    def measure(self, comparison: MetricInputs) -> dict[str, Estimate]:
        Comparisons.seen.append(comparison)
        value = next(Scripted.script)
        return {"score": Estimate(value=value, low=value, high=value, interval="none")}


@pytest.fixture
def scripted(pictures: Path, tmp_path: Path) -> tuple[Tracker, TrainState]:
    """A tracker of a fresh training, whose figures a test scripts."""
    config = configure(pictures, overrides=small(ema_factors=[]))
    store = prepare(config.source, config.preparation)
    compute = Compute(device=torch.device("cpu"), precision="float32")
    state = TrainState.create(config, store.spec, compute, epoch_size=len(store))
    sampler = make_sampler(state.generator_ema, config, DataFacts.of(store))
    tracking = Tracking(metric=Scripted(), extractor=RandomConv(), num=16, num_real=16)
    run = RunFolder.create(tmp_path / "run")
    return open_tracker(tracking, store, np.arange(len(store)), run, sampler), state


def best_weights(run: RunFolder) -> Path:
    assert run.best is not None
    return run.best / "generator_ema.safetensors"


def kept(run: RunFolder) -> tuple[float, int]:
    assert run.best is not None
    plain = json.loads((run.best / "state.json").read_text())
    return plain["value"], plain["nimg"]


def test_the_best_generator_is_kept_and_only_the_best(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    Scripted.script = iter([1.0, 3.0, 2.0])
    for nimg in (8, 16, 24):
        state.nimg = nimg
        with torch.no_grad():
            next(state.generator_ema.parameters()).fill_(nimg)
        tracker.measure(state)
    assert kept(tracker.run) == (3.0, 16)
    weights = load_file(best_weights(tracker.run))
    name, _ = next(state.generator_ema.named_parameters())
    assert weights[name].unique().tolist() == [16]
    lines = [Measurement.from_plain(line) for line in tracker.run.read_measurements()]
    assert [(line.generated.nimg, line.values["score"].value) for line in lines] == [(8, 1.0), (16, 3.0), (24, 2.0)]
    assert {line.kind for line in lines} == {"tracking"}


def test_the_best_generator_of_the_first_version_is_compared_with(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    Scripted.script = iter([2.0, 1.0, 3.0])
    tracker.measure(state)
    assert tracker.run.best is not None
    path = tracker.run.best / "state.json"
    old = unseal(path.read_text())
    old["figure"], old["seen"] = old.pop("metric"), old.pop("extractor")
    old["seen"]["extractor"] = old["seen"].pop("name")
    path.write_text(seal(old))
    for nimg, best in ((8, 2.0), (16, 3.0)):
        state.nimg = nimg
        tracker.measure(state)
        assert kept(tracker.run)[0] == best


class Centred(Scripted):
    """A figure that is best in the middle, as that of memorisation."""

    quantities: ClassVar = {"score": Quantity(title="score", better="nearer 0.5")}


def test_of_a_figure_that_is_best_near_a_number_the_nearest_is_kept(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    tracker = dataclasses.replace(tracker, metric=Centred())
    Scripted.script = iter([0.9, 0.3, 0.71, 0.62, 0.45, 1.0, 0.0, 0.56])
    found = []
    for nimg in range(8):
        state.nimg = nimg
        tracker.measure(state)
        found.append(kept(tracker.run)[0])
    assert found == [0.9, 0.3, 0.3, 0.62, 0.45, 0.45, 0.45, 0.45]


@pytest.mark.parametrize(
    ("now", "before", "winner"), [(0.7, 0.45, 8), (0.3, 0.55, 8), (0.55, 0.46, 16), (0.45, 0.9, 16)]
)
def test_at_the_end_too_nearer_is_better(
    scripted: tuple[Tracker, TrainState], now: float, before: float, winner: int
) -> None:
    tracker, state = scripted
    tracker = dataclasses.replace(tracker, metric=Centred())
    Scripted.script = iter([0.5, 0.4, now, before])
    for state.nimg, state.step in ((8, 2), (16, 3)):
        measurement = tracker.measure(state)
    state.seconds = 1e6
    tracker.decide(state, measurement)
    assert kept(tracker.run)[1] == winner


def test_a_best_that_another_network_saw_counts_for_nothing(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    Scripted.script = iter([3.0, 1.0])
    tracker.measure(state)
    tracker.network.digest = "another"
    tracker.measure(state)
    assert kept(tracker.run)[0] == 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Untaught(RandomConv):
    """Knows which images it has not learnt from."""

    def network(self, store: Any, training: Any, progress: Any = None) -> BackboneNetwork:
        network = super().network(store, training, progress)
        network.validation = training[:7]
        return network


@pytest.mark.parametrize(("needed", "num"), [(True, 5), (False, None)])
def test_a_metric_is_shown_images_that_the_network_has_not_learnt_from(
    scripted: tuple[Tracker, TrainState], needed: bool, num: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "needs_validation", needed)
    before, state = scripted
    store = prepare(state.config.source, state.config.preparation)
    tracking = Tracking(metric=Scripted(), extractor=Untaught(), num=16, num_real=5)
    Scripted.script = iter([1.0])
    open_tracker(tracking, store, np.arange(len(store)), before.run, before.sampler).measure(state)
    shown = Comparisons.seen[-1].validation
    assert (None if shown is None else len(shown)) == num
    if shown is not None:
        assert shown.labels is not None and set(shown.labels) <= set(range(4))


def test_a_figure_that_cannot_be_measured_is_written_down_as_such(
    scripted: tuple[Tracker, TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Metric, comparison: MetricInputs) -> dict[str, Estimate]:
        raise MetricError("too few images")

    tracker, state = scripted
    monkeypatch.setattr(Scripted, "measure", refuse)
    tracker.measure(state)
    (line,) = tracker.run.read_measurements()
    assert line["values"] == {}
    assert list(line["failures"].values()) == ["too few images"]
    assert tracker.run.best is None


def test_tracking_waits_until_it_may_cost_again(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    assert tracker.affordable(state)  # nothing is known of the cost yet
    state.tracking_seconds, state.num_tracked = 2.0, 1  # this one, the last and the decision: 6.5 seconds
    state.seconds = 129.0
    assert not tracker.affordable(state)
    state.seconds = 130.0
    assert tracker.affordable(state)
    state.other_averages = {0.5: {}, 2.0: {}}  # which are measured at the end: 4 seconds more
    state.seconds = 209.0
    assert not tracker.affordable(state)
    state.seconds = 210.0
    assert tracker.affordable(state)


@pytest.mark.parametrize(("now", "before", "winner"), [(2.5, 2.4, 24), (2.4, 2.5, 24), (2.0, 2.5, 16)])
def test_at_the_end_the_best_stays_if_it_is_clearly_better_on_more_images(
    scripted: tuple[Tracker, TrainState], now: float, before: float, winner: int
) -> None:
    tracker, state = scripted
    Scripted.script = iter([3.0, 2.0, now, before])
    for state.nimg, state.step in ((16, 2), (24, 3)):
        with torch.no_grad():
            next(state.generator_ema.parameters()).fill_(state.nimg)
        measurement = tracker.measure(state)
    Comparisons.seen.clear()
    state.seconds = 1e6
    tracker.decide(state, measurement)
    assert [len(comparison.fake) for comparison in Comparisons.seen] == [80, 80]  # five times what is tracked
    assert not np.array_equal(*(comparison.fake.values for comparison in Comparisons.seen))
    assert kept(tracker.run) == ({16: 3.0, 24: 2.0}[winner], winner)
    weights = load_file(best_weights(tracker.run))
    name, parameter = next(state.generator_ema.named_parameters())
    assert weights[name].unique().tolist() == [winner]
    assert parameter.unique().tolist() == [24]  # what was compared with it has left it alone


@pytest.mark.parametrize(
    ("values", "value", "factor", "fill"),
    [([2.0, 3.0, 2.5], 3.0, 0.5, 0.5), ([2.0, 2.5, 2.75], 2.75, 2.0, 2.0), ([2.0, 1.0, 0.5], 2.0, 1.0, 1.0)],
)
def test_the_best_average_of_the_last_generator_is_kept(
    scripted: tuple[Tracker, TrainState], values: list[float], value: float, factor: float, fill: float
) -> None:
    tracker, state = scripted
    for each in (0.5, 2.0):
        state.other_averages[each] = {"generator": copy.deepcopy(state.averages["generator"])}
    for each, averages in ((1.0, state.averages), *state.other_averages.items()):
        with torch.no_grad():
            next(averages["generator"].parameters()).fill_(each)
    Scripted.script = iter([0.5, *values])
    state.nimg = state.step = 1
    tracker.measure(state)
    state.nimg, state.step = 8, 2
    measurement = tracker.measure(state)
    Comparisons.seen.clear()
    state.seconds = 0.0  # so that nothing else is compared
    tracker.decide(state, measurement)
    assert kept(tracker.run) == (value, 8)
    assert [len(comparison.fake) for comparison in Comparisons.seen] == [16, 16]
    assert tracker.run.best is not None
    assert json.loads((tracker.run.best / "state.json").read_text())["ema_factor"] == factor
    name, _ = next(state.generator_ema.named_parameters())
    assert load_file(best_weights(tracker.run))[name].unique().tolist() == [fill]
    three = f"{values[1]:g} times 0.5, {values[0]:g} times 1, {values[2]:g} times 2"
    assert state.notices == [f"averages by half-life, score: {three}; the best is times {factor:g}"]
    assert [line["values"]["score"]["value"] for line in tracker.run.read_measurements()] == [0.5, values[0]]


def test_the_best_average_is_what_an_earlier_generator_is_compared_with(
    scripted: tuple[Tracker, TrainState],
) -> None:
    tracker, state = scripted
    state.other_averages[2.0] = {"generator": copy.deepcopy(state.averages["generator"])}
    with torch.no_grad():
        next(state.other_averages[2.0]["generator"].parameters()).fill_(2.0)
    Scripted.script = iter([9.0, 1.0, 2.0, 5.0, 4.0])  # an earlier one by luck, the last, its average; with more images
    for state.nimg, state.step in ((8, 1), (16, 2)):
        measurement = tracker.measure(state)
    state.seconds = 1e6
    tracker.decide(state, measurement)
    assert kept(tracker.run) == (2.0, 16)
    name, _ = next(state.generator_ema.named_parameters())
    assert load_file(best_weights(tracker.run))[name].unique().tolist() == [2.0]


def test_nothing_is_decided_without_time_or_rivals(scripted: tuple[Tracker, TrainState]) -> None:
    tracker, state = scripted
    Scripted.script = iter([1.0, 3.0, 2.0])  # a fourth would be an error
    state.seconds = 1e6
    for state.nimg, state.step in ((8, 1), (16, 2)):
        measurement = tracker.measure(state)
    tracker.decide(state, measurement)  # the best is that of now
    state.step, measurement = 3, tracker.measure(state)
    state.seconds = state.tracking_seconds / tracker.tracking.max_share
    tracker.decide(state, measurement)
    assert kept(tracker.run) == (3.0, 16)


def test_training_writes_measurements_and_samples_come_from_the_best(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracker, "decide", lambda *given: None)  # which else depends on the time that is left
    run = api.train(pictures, length="5 steps", run=tmp_path / "run", overrides=small())
    lines = [Measurement.from_plain(line) for line in run.folder.read_measurements()]
    assert [line.generated.step for line in lines] == [2, 4, 5]
    assert {line.reference.split for line in lines} == {"training"}
    values = {line.generated.step: line.values["kid"].value for line in lines}  # too few images for the FID
    best, last = find_snapshot(run.folder), find_snapshot(run.folder, "last")
    assert (best.which, best.step) == ("best", min(values, key=lambda step: values[step]))
    assert (last.which, last.step) == ("last", 5)
    made = {which: run.generator(snapshot=which).sample(4).images for which in ("best", "last")}
    assert np.array_equal(run.generator().sample(4).images, made["best"])
    assert (best.step == last.step) == np.array_equal(made["best"], made["last"])
    assert find_snapshot(run.folder, ema=False).which == "last"  # only the averaged best is kept


def test_without_tracking_the_last_generator_is_the_one(pictures: Path, tmp_path: Path) -> None:
    run = api.train(pictures, length="2 steps", run=tmp_path / "run", overrides=small(tracking=None))
    assert run.folder.read_measurements() == []
    assert find_snapshot(run.folder).which == "last"


def test_images_held_out_are_never_trained_on(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    batches = stages.Batches
    monkeypatch.setattr(stages, "Batches", lambda **fields: given.append(fields) or batches(**fields))
    run = api.train(pictures, length="2 steps", run=tmp_path / "run", overrides=small(held_out=0.2, tracking=None))
    store = given[0]["store"]
    training, held_out = split(store, 0.2)
    assert len(held_out) == 8
    assert np.array_equal(given[0]["subset"], training)
    assert run.stats()[-1]["progress/epoch"] == pytest.approx(16 / 32, abs=1e-4)
