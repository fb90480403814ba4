"""What is measured of a run, from records written by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gansmith.metrics.measurement import Measurement
from gansmith.metrics.metric import Quantity
from gansmith.study.measures import Evidence, Yardstick, has_collapsed, list_measures, measure_run

FID = Quantity(title="FID", better="lower")
YARDSTICK = Yardstick(quantity=FID, thresholds=(32.0, 8.0), nimg=4000, seconds=9.0, evaluated={"fid": FID})
RUN = Evidence(
    state="finished",
    curve=[(1000, 2.0, 64.0), (2000, 4.0, 16.0), (3000, 6.0, 8.0), (5000, 10.0, 12.0)],
    stats=[
        {"loss/generator": loss, "gradient/generator": gradient, "accuracy/real": 0.75}
        for loss, gradient in ((1.0, 2.0), (2.0, 2.0), (1.0, 10.0))
    ],
)


def values(evidence: Evidence, yardstick: Yardstick = YARDSTICK) -> dict[str, tuple[float | None, str]]:
    return {entry.measure: (entry.value, entry.note) for entry in measure_run(evidence, yardstick)}


def test_every_measure_is_defined_and_asked_of_every_run() -> None:
    measures = list_measures(YARDSTICK)
    assert [measure.key for measure in measures] == [entry.measure for entry in measure_run(RUN, YARDSTICK)]
    assert all(measure.definition and measure.title for measure in measures)
    assert len({measure.key for measure in measures}) == len(measures)
    assert [measure.key for measure in measures if measure.headline] == [
        "tracked/best",
        "tracked/last",
        "tracked/way",
        "kimg/8",
        "tracked/decline",
        "tracked/oscillation",
    ]


def test_quality_convergence_and_stability_of_a_run() -> None:
    found = values(RUN)
    assert found["tracked/best"] == (8, "")
    assert found["tracked/last"] == (12, "")
    assert found["kimg/32"] == (pytest.approx(5 / 3), "")
    assert found["kimg/8"] == (pytest.approx(3), "")
    assert found["seconds/8"] == (pytest.approx(6), "")
    assert found["tracked/decline"] == (pytest.approx(1.5), "")
    assert found["lost"] == found["collapsed"] == found["diverged"] == (0, "")
    assert found["loss/generator/oscillation"] == (1, "")
    assert found["gradient/generator/median"] == (2, "")
    assert found["gradient/generator/95"] == (pytest.approx(9.2), "")
    assert found["gradient/generator/peak"] == (5, "")
    assert found["accuracy/real"] == (0.75, "")


def test_a_threshold_that_is_never_reached_counts_with_the_whole_way() -> None:
    late = replace(RUN, curve=[(1000, 2.0, 64.0), (5000, 10.0, 7.0)])
    for evidence in (replace(RUN, curve=RUN.curve[:2]), late):
        found = values(evidence)
        assert found["kimg/8"] == (4, "not reached")
        assert found["seconds/8"] == (9, "not reached")


def test_seconds_of_different_machines_are_not_compared() -> None:
    value, note = values(RUN, replace(YARDSTICK, seconds=None))["seconds/8"]
    assert value is None
    assert "machines differ" in note


def test_a_run_that_diverged_has_a_best_but_no_end() -> None:
    found = values(replace(RUN, state="diverged", curve=RUN.curve[:2]))
    assert found["tracked/best"] == (16, "")
    assert found["tracked/last"] == found["tracked/way"] == found["collapsed"] == (None, "it diverged")
    assert found["kimg/8"] == (4, "not reached")
    assert found["diverged"] == found["lost"] == (1, "")
    assert found["accuracy/real"] == (0.75, "until it diverged")


@pytest.mark.parametrize("state", ["failed", "unfinished"])
def test_a_run_without_an_end_is_not_measured(state: str) -> None:
    assert measure_run(replace(RUN, state=state), YARDSTICK) == ()  # type: ignore[arg-type]


def test_a_figure_of_no_logarithm_is_reported_as_such() -> None:
    found = values(replace(RUN, curve=[(1000, 2.0, 0.5), (2000, 4.0, -0.1), (3000, 6.0, 0.2)]))
    assert found["tracked/best"] == (-0.1, "")
    for key in ("tracked/way", "tracked/decline", "tracked/oscillation", "collapsed"):
        assert found[key][0] is None
        assert "no logarithm" in found[key][1]


def test_what_was_not_recorded_is_said() -> None:
    found = values(Evidence(state="finished"))
    assert found["tracked/best"] == (None, "no metric was tracked")
    assert found["accuracy/fake"] == (None, "stats.jsonl has no accuracy/fake")
    assert found["best/fid"] == (None, "the best generator was not evaluated")


def test_the_best_and_the_last_generators_figures(measurement: Callable[..., Measurement]) -> None:
    best, last = measurement(3000, {"fid": 7.5}, "best"), measurement(5000, {}, "last")
    found = values(replace(RUN, best=best, last=replace(last, failures={"fid": "too few"})))
    assert found["best/fid"] == (7.5, "")
    assert found["last/fid"] == (None, "too few")


def test_a_collapse_is_an_end_twice_as_bad_as_the_best() -> None:
    assert not has_collapsed(replace(RUN, curve=[(1, 1.0, 8.0), (2, 2.0, 15.9)]), "lower")
    assert has_collapsed(replace(RUN, curve=[(1, 1.0, 8.0), (2, 2.0, 16.1)]), "lower")
    assert has_collapsed(replace(RUN, curve=[(1, 1.0, 8.0), (2, 2.0, 3.9)]), "higher")


@pytest.mark.parametrize(("end", "collapsed"), [(0.41, False), (0.39, True)])
def test_a_collapse_is_a_loss_of_half_the_diversity(
    end: float, collapsed: bool, measurement: Callable[..., Measurement]
) -> None:
    best, last = measurement(3000, {"diversity": 0.8}, "best"), measurement(5000, {"diversity": end}, "last")
    assert has_collapsed(replace(RUN, best=best, last=last), "lower") == collapsed
