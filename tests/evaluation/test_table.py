"""Measurements as a table: readable at 80 columns, with what cannot be computed and what must not be compared."""

from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from gansmith.evaluation.table import show_measurements
from gansmith.metrics.frechet import FID
from gansmith.metrics.kernel import KID
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference
from gansmith.metrics.metric import Estimate

METRICS = (FID(), KID())
JUDGEMENT = Measurement(
    kind="evaluation",
    when="2026-01-01T00:00:00+00:00",
    generated=Generated(
        path="runs/signs", num=10_000, snapshot="best", ema=True, seed=0, nimg=312_000, step=4875, seconds=60.0
    ),
    reference=Reference(title="signs", split="training", num=9_500, digest="a" * 64, selection="c" * 64),
    extractor=ExtractorFacts(name="classifier", digest="d" * 64, note="held-out accuracy 98.7 %"),
    values={
        "fid": Estimate(value=12.3456, low=11.9, high=12.8, interval="bootstrap of 100", note="a note [of 3] words"),
        "kid": Estimate(value=0.00123456, low=-0.0001, high=1234.5, interval="subsets"),
    },
    gansmith="0.1.0",
)
WITHOUT_KID = dataclasses.replace(
    JUDGEMENT,
    generated=Generated(path="elsewhere [x]", num=500),
    reference=dataclasses.replace(JUDGEMENT.reference, num=500),
    values={"fid": JUDGEMENT.values["fid"]},
    failures={"kid": "500 images are too few for subsets of 1,000; take more"},
)


def shown(*measurements: Measurement, took: str = "", width: int = 80) -> str:
    text = io.StringIO()
    show_measurements(measurements, METRICS, Console(file=text, width=width), took)
    assert max(map(len, text.getvalue().splitlines())) <= width
    return text.getvalue()


def words(text: str) -> list[str]:
    return text.split()


def test_where_the_figures_come_from_stands_above_them() -> None:
    text = " ".join(words(shown(JUDGEMENT, took="in 83 s")))
    for part in (
        "generated runs/signs: best generator, at 312 kimg, averaged weights; 10,000 images, seeds 0 to 9,999",
        "reference signs: 9,500 images of the training part; digest aaaaaaaa",
        "extractor classifier, held-out accuracy 98.7 %; digest dddddddd",
        "measured in 83 s",
    ):
        assert part in text
    assert text.index("measured") < text.index("FID")


def test_a_row_has_figure_interval_direction_and_note() -> None:
    lines = shown(JUDGEMENT, width=110).splitlines()
    (row,) = (line for line in lines if line.lstrip().startswith("FID"))
    assert words(row) == words("FID (classifier) 12.35 11.9 to 12.8 lower a note [of 3] words")
    (row,) = (line for line in lines if line.lstrip().startswith("KID"))
    assert words(row) == words("KID (classifier) 0.001235 -0.0001 to 1,234 lower")


def test_what_was_not_computed_is_said_with_its_reason_and_no_number() -> None:
    lines = shown(WITHOUT_KID).splitlines()
    assert words(next(line for line in lines if line.lstrip().startswith("KID"))) == ["KID", "not", "computed"]
    assert "kid not computed: 500 images are too few for subsets of 1,000; take more" in " ".join(lines)
    assert "elsewhere [x]: 500 images" in lines[0]


def test_several_stand_side_by_side() -> None:
    text = shown(JUDGEMENT, WITHOUT_KID)
    assert "#1: runs/signs" in text and "#2: elsewhere" in text
    assert text.count("extractor  ") == text.count("classifier, held-out") == 1  # what is true of both is said once
    said = " ".join(words(text))
    assert "not computed" in said
    assert "#2: kid not computed: 500 images are too few" in said
    assert "#1 and #2 are not comparable: the number of real images differs (9,500 and 500)" in said


def test_what_is_not_applicable_is_one_line_at_the_end() -> None:
    needs = dict.fromkeys(("intra-fid", "label-fidelity"), "needs labels: the generated images have none; add some")
    measurement = dataclasses.replace(
        JUDGEMENT, values={"fid": JUDGEMENT.values["fid"]}, failures={"kid": "needs x"} | needs
    )
    text = shown(measurement)
    assert "not computed" not in text and "KID" not in text
    said = " ".join(words(text))
    assert "skipped: 1 metric needs x (kid) skipped: 2 metrics need labels (intra-fid, label-fidelity): the gen" in said
    assert said.count("the generated images have none; add some") == 1
    both = " ".join(words(shown(measurement, measurement, JUDGEMENT)))
    assert "#1, #2: skipped: 2 metrics need labels (intra-fid, label-fidelity): the generated" in both


def test_published_values_are_spoken_of_once_and_only_of_other_features() -> None:
    assert shown(JUDGEMENT).count("not comparable with published FIDs") == 1
    assert shown(JUDGEMENT, JUDGEMENT).count("(classifier) are not") == 1
    text = shown(dataclasses.replace(JUDGEMENT, extractor=ExtractorFacts(name="inception", digest="d" * 64)))
    assert "FID (inception)" in text and "not comparable" not in text and "another seed" not in text


def test_how_far_another_seed_of_the_network_moves_fids_is_said_once() -> None:
    for measurements in ((JUDGEMENT,), (JUDGEMENT, JUDGEMENT)):
        said = " ".join(words(shown(*measurements)))
        assert said.count("a classifier trained from another seed changed FIDs by 5 to 12 %") == 1
    fixed = dataclasses.replace(JUDGEMENT, extractor=ExtractorFacts(name="random-conv", digest="d" * 64))
    assert "not comparable" in shown(fixed) and "another seed" not in shown(fixed)
    both = " ".join(
        words(
            shown(
                JUDGEMENT, dataclasses.replace(fixed, extractor=ExtractorFacts(name="self-supervised", digest="e" * 64))
            )
        )
    )
    assert both.count("another seed changed FIDs") == 2


def test_the_part_of_a_set_that_was_read_is_named() -> None:
    reference = dataclasses.replace(JUDGEMENT.reference, split="all", part="its folder train/")
    assert "9,500 images of its folder train/;" in " ".join(
        words(shown(dataclasses.replace(JUDGEMENT, reference=reference)))
    )


def test_a_reason_that_holds_for_several_is_said_once() -> None:
    text = " ".join(words(shown(JUDGEMENT, WITHOUT_KID, WITHOUT_KID)))
    assert text.count("500 images are too few") == text.count("#2, #3: kid not computed") == 1


def test_what_may_be_compared_is_not_warned_of() -> None:
    assert "not comparable: " not in shown(JUDGEMENT, dataclasses.replace(JUDGEMENT, values=dict(JUDGEMENT.values)))
