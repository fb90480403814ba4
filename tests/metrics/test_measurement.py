"""Measurements: whole after a round trip, hostile lines refused, every difference that forbids a comparison named."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gansmith.errors import MetricError
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference, list_differences
from gansmith.metrics.metric import Estimate
from gansmith.runs import RunFolder

JUDGEMENT = Measurement(
    kind="evaluation",
    when="2026-01-02T03:04:05+00:00",
    generated=Generated(
        path="runs/one", num=1000, snapshot="best", ema=True, seed=7, nimg=64_000, step=1000, seconds=61.5, digest="f00"
    ),
    reference=Reference(title="gtsrb", split="training", num=10_000, digest="a" * 64, selection="b" * 64),
    extractor=ExtractorFacts(name="classifier", digest="c" * 64, note="held-out accuracy 98.7 %"),
    values={
        "fid": Estimate(value=12.5, low=11.0, high=14.0, interval="bootstrap of 100"),
        "recall": Estimate(value=0.0, low=0.0, high=0.01, interval="Wilson", note="given the manifold"),
    },
    failures={"memorisation": "needs real images held out of training"},
    gansmith="0.1.0",
)


def through_json(plain: Any) -> Any:
    return json.loads(json.dumps(plain))


def plain(**changes: Any) -> dict[str, Any]:
    return through_json(JUDGEMENT.to_plain()) | changes


# --- the round trip ----------------------------------------------------------------------------------------


def test_a_measurement_is_the_same_after_a_round_trip() -> None:
    assert Measurement.from_plain(plain()) == JUDGEMENT


def test_of_a_folder_nothing_is_known_of_a_run() -> None:
    generated = Generated(path="pictures", num=50)
    measurement = dataclasses.replace(JUDGEMENT, generated=generated, failures={})
    found = Measurement.from_plain(through_json(measurement.to_plain()))
    assert found == measurement and found.generated.snapshot is None and found.generated.seconds is None


def test_a_run_folder_gives_back_what_it_was_given(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    tracked = dataclasses.replace(JUDGEMENT, kind="tracking")
    for measurement in (JUDGEMENT, tracked):
        run.append_measurement(measurement.to_plain())
    assert [Measurement.from_plain(line) for line in run.read_measurements()] == [JUDGEMENT, tracked]


def test_a_line_of_the_first_version_is_still_read() -> None:
    old = plain()
    old["figures"], old["seen"] = old.pop("values"), old.pop("extractor")
    old["seen"]["extractor"] = old["seen"].pop("name")
    del old["seen"]["classifier_digest"]
    assert list(old["seen"]) == ["digest", "note", "extractor"] and Measurement.from_plain(old) == JUDGEMENT


def test_what_may_be_left_out_is_empty() -> None:
    line = plain()
    del line["failures"], line["generated"]["digest"], line["extractor"]["note"], line["values"]["fid"]["note"]
    found = Measurement.from_plain(line)
    assert (found.failures, found.generated.digest, found.extractor.note, found.values["fid"].note) == ({}, "", "", "")


# --- display -----------------------------------------------------------------------------------------------


def test_it_prints_a_line_for_each_value_and_each_failure() -> None:
    assert str(JUDGEMENT).splitlines() == [
        "runs/one: 1,000 images against 10,000 of gtsrb; extractor classifier",
        "FID (classifier)     12.5 (11 to 14)",
        "Recall (classifier)  0 (0 to 0.01)",
        "memorisation         not computed: needs real images held out of training",
    ]
    assert str(dataclasses.replace(JUDGEMENT, values={}, failures={})).count("\n") == 0


def test_in_a_notebook_it_is_a_table() -> None:
    page = JUDGEMENT._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    cells = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]
    assert cells == [
        ["metric", "value", "95 % interval", "note"],
        ["FID (classifier)", "12.5", "11 to 14", ""],
        ["Recall (classifier)", "0", "0 to 0.01", "given the manifold"],
        ["memorisation", "not computed", "", "needs real images held out of training"],
    ]


def test_a_notebook_runs_nothing_that_a_file_says() -> None:
    script = "<script>x</script>"
    hostile = dataclasses.replace(
        JUDGEMENT,
        generated=dataclasses.replace(JUDGEMENT.generated, path=script),
        reference=dataclasses.replace(JUDGEMENT.reference, title=script),
        extractor=ExtractorFacts(name=script, digest=script),
        values={script: dataclasses.replace(JUDGEMENT.values["fid"], note=script), "fid": JUDGEMENT.values["fid"]},
        failures={script: script},
    )
    assert "<script" not in hostile._repr_html_() and hostile._repr_html_().count("&lt;script") == 8


# --- hostile lines -----------------------------------------------------------------------------------------

FIGURE = {"value": 1.0, "low": 0.0, "high": 2.0, "interval": "Wilson"}
HOSTILE: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "text": "kind",
    "a list": [1, 2],
    "an empty object": {},
    "a missing part": {key: value for key, value in plain().items() if key != "extractor"},
    "an unknown part": plain(surprise=1),
    "a part that is text": plain(generated="runs/one"),
    "a part that is a list": plain(reference=[1, 2]),
    "a part that is nothing": plain(extractor=None),
    "an unknown field of a part": plain(extractor={"name": "x", "digest": "y", "__class__": "z"}),
    "a missing field of a part": plain(reference={"title": "x"}),
    "an unknown kind": plain(kind="guess"),
    "a number of images that is text": plain(generated={"path": "p", "num": "many"}),
    "a time that is a list": plain(when=[5]),
    "failures that are a list": plain(failures=["memorisation"]),
    "figures that are a list": plain(values=[FIGURE]),
    "figures that are nothing": plain(values=None),
    "a figure that is a number": plain(values={"fid": 3.0}),
    "a figure without its interval": plain(values={"fid": {"value": 3.0}}),
    "a figure of text": plain(values={"fid": FIGURE | {"value": "3.0"}}),
    "a figure of nothing": plain(values={"fid": FIGURE | {"low": None}}),
    "a figure that is no number": plain(values={"fid": FIGURE | {"value": float("nan")}}),
    "a figure without end": plain(values={"fid": FIGURE | {"high": float("inf")}}),
    "a figure too long for a number": plain(values={"fid": FIGURE | {"value": 10**400}}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_line_that_is_none_is_one_clear_line(case: str) -> None:
    with pytest.raises(MetricError) as caught:
        Measurement.from_plain(HOSTILE[case])
    assert "\n" not in str(caught.value)


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(MetricError, match=r"a line of metrics.jsonl cannot be read \('generated'\); remove the line"):
        Measurement.from_plain({"kind": "evaluation"})


# --- what may be compared ----------------------------------------------------------------------------------


def test_what_differs_in_the_images_alone_may_be_compared() -> None:
    generated = Generated(path="runs/two", num=1000, snapshot="last", ema=False, seed=0, nimg=1, digest="d")
    seen = dataclasses.replace(JUDGEMENT.extractor, note="another note")
    other = dataclasses.replace(JUDGEMENT, generated=generated, extractor=seen, when="later", gansmith="9", values={})
    assert list_differences(JUDGEMENT, other) == list_differences(JUDGEMENT, JUDGEMENT) == []


@pytest.mark.parametrize(
    ("part", "change", "clause"),
    [
        ("extractor", {"name": "random-conv"}, "the feature extractor differs (classifier {c} and random-conv {c})"),
        ("extractor", {"digest": "e" * 64}, "the feature extractor differs (classifier {c} and classifier eeeeeeee)"),
        ("reference", {"digest": "e" * 64}, "the reference data differs (aaaaaaaa and eeeeeeee)"),
        ("reference", {"split": "held-out"}, "the reference split differs (training and held-out)"),
        ("reference", {"selection": "e" * 64}, "the choice of real images differs (bbbbbbbb and eeeeeeee)"),
        ("reference", {"num": 2000}, "the number of real images differs (10,000 and 2,000)"),
        ("generated", {"num": 50_000}, "the number of generated images differs (1,000 and 50,000)"),
    ],
)
def test_each_difference_is_named(part: str, change: dict[str, Any], clause: str) -> None:
    other = dataclasses.replace(JUDGEMENT, **{part: dataclasses.replace(getattr(JUDGEMENT, part), **change)})
    assert list_differences(JUDGEMENT, other) == [clause.replace("{c}", "cccccccc")]
    assert len(list_differences(other, JUDGEMENT)) == 1


def test_several_differences_are_all_named() -> None:
    reference = Reference(title="mnist", split="all", num=5, digest="x", selection="y")
    other = dataclasses.replace(JUDGEMENT, reference=reference, generated=Generated(path="p", num=5))
    assert len(list_differences(JUDGEMENT, other)) == 5
