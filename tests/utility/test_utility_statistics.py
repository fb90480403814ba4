"""Measures, comparisons and the sentence, against plain lines of NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gansmith.study.results import Interval, PairedComparison
from gansmith.utility.arms import ArmOrder
from gansmith.utility.cells import UtilityCell
from gansmith.utility.results import UtilityComparison
from gansmith.utility.statistics import (
    TestOutcome,
    compare_arms,
    find_rare,
    gain_by_class,
    measure_cell,
    summarise_arms,
)
from gansmith.utility.verdict import conclude_utility

SEEDS = 5
DRAW = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), [40, 30, 20, 6])
GROUPS = np.arange(96) // 3
COUNTS = np.array([50, 30, 3, 9])
RIGHT = {("real", None): 0.6, ("augmented", None): 0.7, ("gan", None): 0.85, ("gan-only", 0): 0.4}


def predict(share: float) -> np.ndarray:
    """Whole groups are right or wrong."""
    right = np.repeat(DRAW.random(32) < share, 3)
    return np.where(right, LABELS, (LABELS + 1) % 4)


PREDICTED = {
    UtilityCell(arm, amount, seed): predict(share) for (arm, amount), share in RIGHT.items() for seed in range(SEEDS)
}
OUTCOME = TestOutcome(labels=LABELS, groups=GROUPS, counts=COUNTS, predicted=PREDICTED)


def accuracies(arm: str) -> np.ndarray:
    return np.array([(PREDICTED[cell] == LABELS).mean() for cell in PREDICTED if cell.arm == arm])


def test_rare_classes_are_the_quarter_with_the_fewest_images() -> None:
    assert find_rare(COUNTS).tolist() == [2]
    assert find_rare(np.array([5, 0, 4])).tolist() == [2]
    assert find_rare(np.array([8, 7, 6, 5, 4, 3, 2, 1])).tolist() == [6, 7]


def test_measures_of_one_classifier() -> None:
    cell = UtilityCell("real", None, 2)
    right = PREDICTED[cell] == LABELS
    recall = [right[label == LABELS].mean() for label in range(4)]
    assert measure_cell(OUTCOME, cell) == pytest.approx(
        {"accuracy": right.mean(), "balanced accuracy": np.mean(recall), "rare classes": recall[2]}
    )
    only = TestOutcome(labels=LABELS[:70], groups=GROUPS[:70], counts=COUNTS, predicted={cell: PREDICTED[cell][:70]})
    untested = measure_cell(only, cell)
    assert "rare classes" not in untested  # class 2 has no test image
    assert untested["balanced accuracy"] == pytest.approx(np.mean(recall[:2]))


def test_summaries_have_students_interval_over_seeds() -> None:
    order = ArmOrder(real=np.arange(7), synthetic=np.arange(9), order=np.arange(3))
    (found,) = summarise_arms(OUTCOME, {("gan", "all"): order})
    values = accuracies("gan")
    half = stats.t.ppf(0.975, SEEDS - 1) * values.std(ddof=1) / np.sqrt(SEEDS)
    assert (found.arm, found.amount, found.num_real, found.num_synthetic, found.seeds) == ("gan", "all", 7, 9, SEEDS)
    assert found.values[0].value == pytest.approx(values.mean())
    assert found.values[0].low == pytest.approx(values.mean() - half)


def test_arms_are_compared_by_seed_with_correction_and_over_groups_of_test_images() -> None:
    found = compare_arms(OUTCOME, ["real", "augmented", "gan", "gan-only"], ["all"])
    main = {(each.paired.first, each.paired.second): each for each in found if each.paired.measure == "accuracy"}
    assert list(main) == [("real", "gan"), ("augmented", "gan"), ("real", "augmented"), ("real", "gan-only")]
    assert [each.headline for each in main.values()] == [True, True, False, False]
    raw = []
    for (first, second), each in main.items():
        differences = accuracies(second) - accuracies(first)
        assert each.paired.difference is not None and each.paired.num == SEEDS and each.over_test is not None
        assert each.paired.difference.value == pytest.approx(differences.mean()) == each.over_test.value
        p = stats.ttest_1samp(differences, 0).pvalue
        assert each.paired.p_t == pytest.approx(p)
        raw.append(p)
    ranked = sorted(raw[:2])  # Holm: the smaller p counts twice
    corrected = {ranked[0]: min(1, 2 * ranked[0]), ranked[1]: max(2 * ranked[0], ranked[1])}
    assert [each.paired.p_holm for each in main.values()] == pytest.approx([corrected[p] for p in raw[:2]] + [None] * 2)
    right = [
        np.mean([PREDICTED[UtilityCell(arm, None, seed)] == LABELS for seed in range(SEEDS)], axis=0)
        for arm in ("real", "gan")
    ]
    images = right[1] - right[0]
    by_group = images.reshape(32, 3).mean(axis=1)
    error = by_group.std() / np.sqrt(32)  # of the mean of equal groups, which the bootstrap estimates
    over = main["real", "gan"].over_test
    assert over is not None and over.low is not None and over.high is not None
    assert (over.high - over.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    # single images would make the interval narrower by the square root of 3
    assert (over.high - over.low) / 2 > 1.4 * 1.96 * images.std() / np.sqrt(96)


def test_a_difference_is_shown_only_if_both_intervals_show_it() -> None:
    found = compare_arms(OUTCOME, ["real", "gan"], ["all"])
    first = next(each for each in found if each.headline)
    assert first.shown and first.paired.p_holm is not None and first.paired.p_holm < 0.05
    one_group = TestOutcome(labels=LABELS, groups=np.zeros(96, int), counts=COUNTS, predicted=PREDICTED)
    assert next(each for each in compare_arms(one_group, ["real", "gan"], ["all"]) if each.headline).shown
    noisy = {cell: predict(0.5 + 0.05 * (cell.seed % 2)) for cell in PREDICTED}
    same = TestOutcome(labels=LABELS, groups=GROUPS, counts=COUNTS, predicted=noisy)
    assert not any(each.shown for each in compare_arms(same, ["real", "gan", "augmented"], ["all"]))


def test_gains_of_rare_classes() -> None:
    (found,) = gain_by_class(OUTCOME, ["real", "gan"], ["a", "b", "c", "d"])
    assert (found.name, found.num_real, found.num_test) == ("c", 3, 20)
    right = [
        np.mean([(PREDICTED[UtilityCell(arm, None, s)] == LABELS)[LABELS == 2] for s in range(5)])
        for arm in ("real", "gan")
    ]
    assert found.recall == pytest.approx(right)


# --- the sentence ------------------------------------------------------------------------------------------


def comparison(first: str, second: str, value: float, *, shown: bool, amount: str = "all") -> UtilityComparison:
    interval = Interval(value=value, low=value - 0.01, high=value + 0.01)
    paired = PairedComparison(measure="accuracy", first=first, second=second, num=5, difference=interval, p_holm=0.01)
    return UtilityComparison(amount=amount, headline=True, paired=paired, shown=shown)


@pytest.mark.parametrize(
    ("plain", "classical", "rare", "words"),
    [
        (
            (0.05, True),
            (0.03, True),
            None,
            "The generated images help more than classical augmentation at all real images",
        ),
        (
            (0.05, True),
            (-0.03, True),
            None,
            "help at all real images, but less than classical augmentation at all real",
        ),
        ((0.05, True), (0.01, False), None, "help at all real images, but not shown to exceed classical augmentation"),
        ((0.05, True), None, None, "The generated images help at all real images: "),
        ((-0.05, True), (-0.1, True), None, "The generated images do not help, and harm at all real images"),
        ((0.01, False), (-0.1, True), None, "No gain from the generated images is shown: "),
        ((0.01, False), None, (0.02, True), "help only where they fill up rare classes, at all real images"),
    ],
)
def test_the_sentence_says_whether_generated_images_help(
    plain: tuple[float, bool], classical: tuple[float, bool] | None, rare: tuple[float, bool] | None, words: str
) -> None:
    pairs = ((("real", "gan"), plain), (("augmented", "gan"), classical), (("real", "rare"), rare))
    entries = [comparison(*pair, found[0], shown=found[1]) for pair, found in pairs if found is not None]
    sentence = conclude_utility(entries, "", 5)
    assert words in sentence and sentence.count(".") == sentence.replace("95 %", "").count(".")
    assert f"{100 * abs(plain[0]):.1f} points" in sentence
    assert ("not significant" in sentence) == any(not found[1] for _, found in pairs if found is not None)


def test_the_sentence_warns_if_the_run_may_have_seen_the_test_images() -> None:
    entries = [comparison("real", "gan", 0.05, shown=True)]
    assert conclude_utility(entries, "it saw them", 5).startswith("NOT RELIABLE, because it saw them: the generated")
    assert conclude_utility(entries, "", 1) == "Nothing is shown about generated images with one seed; use --seeds 5."
    assert "no arm with them" in conclude_utility([], "", 5)
