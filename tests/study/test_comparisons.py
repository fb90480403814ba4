"""From runs to conclusions about variants, and never more than their seeds allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gansmith.study.comparisons import compare_variants
from gansmith.study.conclusions import conclude
from gansmith.study.results import Interval, Measure, Measured, PairedComparison, RunResults, SettingResults, State

FID = Measure(key="fid", title="FID at best", better="lower", group="quality", headline=True, definition="x")
LAST = replace(FID, key="last", title="FID at the end")
HINT = replace(FID, key="hint", title="recall", better="higher", headline=False)
LOST = Measure(key="lost", title="diverged or collapsed", better="lower", group="stability", share=True, definition="x")
DIVERGED = replace(LOST, key="diverged", title="diverged")
CLEAR = {"a": [30, 31, 29, 32, 30.5], "b": [20, 21.5, 19, 23, 20]}
UNCLEAR = {"a": [30, 31, 29, 32, 30], "b": [20, 41, 35, 25, 30]}


def run(variant: str, seed: int, state: State = "finished", **values: float | None) -> RunResults:
    return RunResults(
        cell=f"{variant}{seed}",
        path="x",
        variant=variant,
        seed=seed,
        state=state,
        measures=tuple(
            Measured(measure=key, value=value, note="" if value is not None else "it diverged")
            for key, value in values.items()
        ),
    )


def setting(
    measures: Sequence[Measure],
    values: Mapping[str, Mapping[str, Sequence[float | None]]],
    incomparable: tuple[str, ...] = (),
) -> SettingResults:
    """Measures of two variants, {measure: {variant: a value a seed}}, compared."""
    variants = list(next(iter(values.values())))
    runs = [
        run(variant, seed, **{key: of[variant][seed] for key, of in values.items()})
        for variant in variants
        for seed in range(len(next(iter(values.values()))[variant]))
    ]
    made = SettingResults(
        title="x", length="1 kimg", measures=tuple(measures), runs=tuple(runs), incomparable=incomparable
    )
    return compare_variants(made, variants)


def entry(found: SettingResults, measure: str) -> PairedComparison:
    (comparison,) = [comparison for comparison in found.comparisons if comparison.measure == measure]
    return comparison


def said(found: SettingResults, group: str) -> str:
    (sentences,) = [conclusion.sentences for conclusion in found.conclusions if conclusion.group == group]
    return " ".join(sentences)


def test_means_are_taken_over_seeds_and_paired_by_them() -> None:
    found = setting([FID], {"fid": CLEAR})
    assert [summary.mean.value for summary in found.summaries] == pytest.approx([30.5, 20.7])
    assert entry(found, "fid").num == 5
    assert entry(found, "fid").difference is not None
    assert entry(found, "fid").difference.value == pytest.approx(-9.8)  # type: ignore[union-attr]


def test_a_clear_difference_is_a_finding_whichever_variant_comes_first() -> None:
    minus = "\N{MINUS SIGN}"
    text = said(setting([FID], {"fid": CLEAR}), "quality")
    finding = "b is better than a in FID at best"
    assert text == f"{finding}: b minus a is {minus}9.8 (95 % interval {minus}10.5 to {minus}9.09)."
    turned = {"b": CLEAR["b"], "a": CLEAR["a"]}
    assert said(setting([FID], {"fid": turned}), "quality").startswith(f"{finding}: a minus b is 9.8 (95 %")
    rising = replace(FID, better="higher")
    assert "a is better than b" in said(setting([rising], {"fid": CLEAR}), "quality")


def test_an_unclear_difference_stays_open_and_says_what_could_have_been_seen() -> None:
    text = said(setting([FID], {"fid": UNCLEAR}), "quality")
    assert text.startswith("It remains open which is better in FID at best. ")
    assert "5 pairs of seeds show a true difference of 14.2 with a probability of 80 %." in text
    for overreach in ("no difference", "equal", "the same", "as good as"):
        assert overreach not in text


def test_p_values_of_headline_measures_are_corrected_for_being_several() -> None:
    alone = entry(setting([FID], {"fid": CLEAR}), "fid")
    found = setting([FID, LAST, HINT], {"fid": CLEAR, "last": UNCLEAR, "hint": CLEAR})
    assert alone.p_holm == alone.p_t
    assert entry(found, "fid").p_holm == pytest.approx(2 * (alone.p_t or 0))
    assert entry(found, "hint").p_holm is None


def test_a_difference_that_the_correction_takes_away_is_not_shown() -> None:
    barely = {"a": [10.0, 11, 12, 13, 14], "b": [9.0, 10.9, 10, 12.5, 12]}
    assert (entry(setting([FID], {"fid": barely}), "fid").p_t or 1) < 0.05
    found = setting([FID, LAST], {"fid": barely, "last": UNCLEAR})
    assert "It remains open which is better in FID at best." in said(found, "quality")


def test_values_that_are_not_comparable_conclude_nothing() -> None:
    values = {"fid": CLEAR, "lost": {"a": [0] * 5, "b": [1] * 5}, "diverged": {"a": [0] * 5, "b": [0] * 5}}
    found = setting([FID, LOST, DIVERGED], values, ("the feature network differs (x and y)",))
    nothing = "Nothing can be concluded from values that are not comparable: the feature network differs (x and y)."
    assert said(found, "quality") == nothing
    assert said(found, "stability") == f"Diverged: 0 of 5 with a, 0 of 5 with b. {nothing}"


def test_shares_are_counted_and_tested_pair_by_pair() -> None:
    found = setting([LOST], {"lost": {"a": [0, 0, 0, 1, 0], "b": [1, 1, 1, 1, 1]}})
    assert entry(found, "lost").p_mcnemar == pytest.approx(0.125)
    text = said(found, "stability")
    assert text == "Diverged or collapsed: 1 of 5 with a, 5 of 5 with b (McNemar's exact test: p = 0.12)."


def test_no_loss_at_all_leaves_room_for_some() -> None:
    found = setting([LOST], {"lost": {"a": [0] * 5, "b": [0] * 5}})
    assert said(found, "stability") == "Diverged or collapsed: 0 of 5 with a, 0 of 5 with b."
    assert [round(summary.mean.high or 0, 2) for summary in found.summaries] == [0.52, 0.52]


def test_a_run_without_a_value_takes_its_pair_away_and_is_named() -> None:
    found = setting([FID], {"fid": {"a": [30, 31, None, 32, 30.5], "b": CLEAR["b"]}})
    assert entry(found, "fid").num == 4
    assert entry(found, "fid").note == "a: without seed 2: it diverged"


def test_runs_that_count_with_less_than_the_truth_are_named() -> None:
    time = replace(FID, title="kimg to FID 10", unit="kimg", group="convergence")
    runs = tuple(
        replace(run(variant, seed), measures=(Measured(measure="fid", value=value, note=note),))
        for variant, seed, value, note in (
            ("a", 0, 40.0, ""),
            ("a", 1, 100.0, "not reached"),
            ("b", 0, 30.0, ""),
            ("b", 1, 31.0, ""),
        )
    )
    found = compare_variants(SettingResults(title="x", length="x", measures=(time,), runs=runs), ["a", "b"])
    assert [summary.note for summary in found.summaries] == ["1 of 2 not reached and count as 100 kimg", ""]
    assert entry(found, "fid").note == "a: 1 of 2 not reached and count as 100 kimg"


def test_runs_that_have_not_ended_do_not_count() -> None:
    made = setting([FID], {"fid": CLEAR})
    stopped = tuple(replace(one, state="unfinished") if one.seed == 4 else one for one in made.runs)
    assert entry(compare_variants(replace(made, runs=stopped), ["a", "b"]), "fid").num == 4


@pytest.mark.parametrize("seeds", [0, 1])
def test_one_pair_or_none_concludes_nothing(seeds: int) -> None:
    made = setting([FID], {"fid": CLEAR})
    few = compare_variants(replace(made, runs=tuple(one for one in made.runs if one.seed < seeds)), ["a", "b"])
    assert said(few, "quality") == "Nothing can be concluded from fewer than two pairs of runs."
    assert said(few, "convergence") == "Nothing can be concluded, because no metric was tracked."


def test_a_finding_that_the_sign_flip_test_does_not_confirm_says_so() -> None:
    """Ten pairs, of which one is far off: the t-test rejects, the exact test does not."""
    entry_of_ten = PairedComparison(
        measure="fid", first="a", second="b", num=10, difference=Interval(value=1.0, low=0.5, high=1.5), p_holm=0.01
    )
    for p, doubted in ((0.2, True), (0.01, False)):
        (text,) = conclude([(FID, replace(entry_of_ten, p_permutation=p), [])], ())
        assert ("does not confirm it (p = 0.2)" in text) is doubted


def test_every_pair_of_variants_is_compared() -> None:
    found = setting([FID], {"fid": {**CLEAR, "c": [1, 2, 3, 4, 5]}})
    assert [(one.first, one.second) for one in found.comparisons] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert len(found.conclusions) == 9


def test_a_variant_alone_is_summarised() -> None:
    found = setting([FID], {"fid": {"a": CLEAR["a"]}})
    assert len(found.summaries) == 1
    assert found.comparisons == found.conclusions == ()


@pytest.mark.parametrize(
    ("better", "first", "second", "says"),
    [
        ("nearer 0.5", 0.6, 0.9, "a is better than b in FID at best"),  # both above
        ("nearer 0.5", 0.1, 0.4, "b is better than a in FID at best"),  # both below
        ("nearer 1", 0.4, 0.7, "b is better than a in FID at best"),
        ("nearer 1", 1.6, 1.2, "b is better than a in FID at best"),
        ("nearer 0.5", 0.4, 0.7, "FID at best is higher with b than with a"),  # on both sides of it: neither is said
        ("neither", 0.6, 0.9, "FID at best is higher with b than with a"),
    ],
)
def test_where_a_value_is_best_near_a_number_the_nearer_variant_is_better(
    better: Any, first: float, second: float, says: str
) -> None:
    spread = np.array([0.0, 0.01, -0.01, 0.005, -0.005])
    values = {"a": (first + spread).tolist(), "b": (second - spread).tolist()}
    text = said(setting([replace(FID, better=better)], {"fid": values}), "quality")
    assert says in text
    assert ("better" in text) is ("better" in says)
