"""The guard's measurement: what it sees in a history, what it says of it, and what it would change."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from gansmith.component import from_plain, member, override, to_plain
from gansmith.errors import RunError
from gansmith.losses import LOSSES, Loss, RelativisticPairing, Sigmoid, Wasserstein
from gansmith.training.config import Config
from gansmith.training.guard.detectors import DETECTORS, compute_chance_loss, detect, detect_not_finite
from gansmith.training.guard.journal import Event, find_active_events, find_new_events
from gansmith.training.guard.remedies import choose_remedy
from gansmith.training.guard.settings import Guard
from gansmith.training.presets import preset

GUARD, CHANCE_LOSS = Guard(), compute_chance_loss(RelativisticPairing())
INTERVAL = 1000


def line(number: int, **changes: float) -> dict[str, float]:
    """A healthy line of statistics, as the default preset writes them; a little different each time."""
    wobble = 1 + 0.1 * math.sin(7 * number)
    return {
        "progress/nimg": INTERVAL * number,
        "loss/discriminator": 0.25 * wobble,
        "loss/generator": 2.0 * wobble,
        "logits/real": 3.0 * wobble,
        "logits/fake": 1.4 * wobble,
        "gradient/discriminator": 0.9 * wobble,
        "gradient/generator": 1.4 * wobble,
        "skipped/discriminator": 0.0,
        "skipped/generator": 0.0,
        "guard/diversity": 0.8 * wobble,
        "guard/class_diversity": 0.85 * wobble,
        "guard/overfitting": 0.1 * wobble,
        "guard/copies": 0.01,
        "guard/copies_held_out": 0.01,
        **{key.replace("__", "/"): value for key, value in changes.items()},
    }


def history(bad: int, of: int = 20, **changes: float) -> list[dict[str, float]]:
    """Healthy lines, the last few of them spoilt."""
    return [line(i, **(changes if i > of - bad else {})) for i in range(1, of + 1)]


def kinds(found: list[Event]) -> set[str]:
    return {event.kind for event in found}


# --- what is seen ------------------------------------------------------------------------------------------

SPOILT: dict[str, dict[str, float]] = {
    "not-finite": {"skipped__generator": 0.01},
    "exploding-gradient": {"gradient__generator": 60.0},
    "discriminator-lost": {"loss__discriminator": 1.2},
    "discriminator-won": {"loss__discriminator": 0.002},
    "mode-collapse": {"guard__class_diversity": 0.2},
    "overfitting": {"guard__overfitting": 0.7},
    "copies": {"guard__copies": 0.15},
}
RUINED: dict[str, dict[str, float]] = {
    "not-finite": {"skipped__discriminator": 0.6},
    "exploding-gradient": {"gradient__discriminator": 400.0},
    "discriminator-lost": {"loss__discriminator": 12.0},
    "discriminator-won": {"loss__discriminator": 0.0005},
    "mode-collapse": {"guard__diversity": 0.05},
}
SAID = {
    "not-finite": "1.00% of the generator's updates were skipped",
    "exploding-gradient": "the generator's gradient explodes: its norm is 60, 42 times its recent median",
    "discriminator-lost": "its loss is 1.2, 1.73 times the chance-level loss",
    "discriminator-won": "its loss is 0.002, 0.29% of the chance-level loss",
    "mode-collapse": "the mean distance of two samples of a class is 20% of that of real images",
    "overfitting": "held-out real images lie 70% of the way from training images to samples",
    "copies": "15% of the samples are copies of training images",
}


def test_a_healthy_history_is_not_remarked_upon() -> None:
    lines = history(bad=0, of=60)
    assert [detect(GUARD, CHANCE_LOSS, lines[:end]) for end in range(1, 61)] == [[]] * 60


@pytest.mark.parametrize("kind", SPOILT)
def test_each_trouble_is_seen_with_its_figure_and_a_remedy(kind: str) -> None:
    (found,) = detect(GUARD, CHANCE_LOSS, history(bad=3, **SPOILT[kind]))
    assert (found.kind, found.severity) == (kind, "warning")
    assert SAID[kind] in found.sentence and "; " in found.sentence and "\n" not in found.sentence
    assert (found.nimg, found.since) == (20 * INTERVAL, 17 * INTERVAL)
    assert 1 <= found.excess < 3


@pytest.mark.parametrize("kind", sorted(RUINED))
def test_what_ruins_a_training_is_a_failure(kind: str) -> None:
    (found,) = detect(GUARD, CHANCE_LOSS, history(bad=3, **RUINED[kind]))
    assert (found.kind, found.severity) == (kind, "failure")


def test_every_detector_has_a_case_here() -> None:
    assert {detector.kind for detector in DETECTORS} == SPOILT.keys() | {"oscillation"}
    assert {detector.kind for detector in DETECTORS if detector.failure < math.inf} == RUINED.keys()


@pytest.mark.parametrize("kind", sorted(SPOILT.keys() - {"not-finite"}))
def test_one_bad_figure_is_noise_until_as_many_follow_as_patience_asks_for(kind: str) -> None:
    assert not detect(GUARD, CHANCE_LOSS, history(bad=GUARD.patience - 1, **SPOILT[kind]))
    assert detect(GUARD, CHANCE_LOSS, history(bad=GUARD.patience, **SPOILT[kind]))


@pytest.mark.parametrize("kind", sorted(RUINED))
def test_one_figure_beyond_all_doubt_is_enough(kind: str) -> None:
    worst = {
        key: value / 1e6 if kind in ("discriminator-won", "mode-collapse") else 1e9
        for key, value in RUINED[kind].items()
    }
    (found,) = [each for each in detect(GUARD, CHANCE_LOSS, history(bad=1, **worst)) if each.kind == kind]
    assert found.severity == "failure"


def test_what_was_seen_goes_on_until_as_many_figures_in_a_row_are_good() -> None:
    spoilt = SPOILT["overfitting"]
    for good, going in ((1, True), (2, True), (3, False)):
        lines = history(bad=3, **spoilt) + [line(21 + i) for i in range(good)]
        assert bool(detect(GUARD, CHANCE_LOSS, lines, active={"overfitting"})) is going
        assert not detect(GUARD, CHANCE_LOSS, lines)


def test_lines_without_a_figure_are_passed_over() -> None:
    def without_probes(number: int) -> dict[str, float]:
        return {key: value for key, value in line(number).items() if not key.startswith("guard/")}

    lines = history(bad=0)
    for number in range(21, 36):
        probed = line(number, **SPOILT["mode-collapse"])
        lines.append(probed if number % 5 == 0 else without_probes(number))
    (found,) = detect(GUARD, CHANCE_LOSS, lines)
    assert (found.kind, found.since) == ("mode-collapse", 20 * INTERVAL)


def test_logits_have_no_zero_that_matters() -> None:
    """Relativistic logits may be anywhere; the guard looks at differences and losses."""
    shifted = [
        line(i, logits__real=line(i)["logits/real"] + 1e4, logits__fake=line(i)["logits/fake"] + 1e4)
        for i in range(1, 40)
    ]
    assert detect(GUARD, CHANCE_LOSS, shifted) == []


def test_oscillation_is_swings_to_and_fro_not_a_drift() -> None:
    def found(gap: Callable[[int], float]) -> set[str]:
        return kinds(detect(GUARD, CHANCE_LOSS, [line(i, logits__real=gap(i), logits__fake=0.0) for i in range(1, 20)]))

    assert found(lambda i: 3 + 2 * (-1) ** i) == {"oscillation"}
    assert found(lambda i: 2.0**i) == found(lambda i: 3 + 0.5 * (-1) ** i) == set()


def test_a_slow_start_is_no_collapse_but_never_starting_is() -> None:
    def lines(nimg: int) -> list[dict[str, float]]:
        alike = {"guard__diversity": 0.05, "guard__class_diversity": 0.06}
        return [line(i, **alike) | {"progress/nimg": nimg * i / 20} for i in range(1, 21)]

    assert detect(GUARD, CHANCE_LOSS, lines(100_000)) == []
    assert kinds(detect(GUARD, CHANCE_LOSS, lines(800_000))) == {"mode-collapse"}


def test_gradients_that_are_long_from_the_start_are_seen_without_a_median() -> None:
    (found,) = detect(GUARD, CHANCE_LOSS, history(bad=3, of=3, gradient__discriminator=2e6))
    assert (found.kind, found.severity, found.since) == ("exploding-gradient", "failure", 0)


def test_gradients_that_come_back_after_a_victory_do_not_explode() -> None:
    lines = history(bad=10, gradient__discriminator=1e-4) + [line(20 + i) for i in range(1, 4)]
    assert detect(GUARD, CHANCE_LOSS, lines) == []


def test_images_that_real_data_have_twice_are_no_copies() -> None:
    assert not detect(GUARD, CHANCE_LOSS, history(bad=20, guard__copies=0.5, guard__copies_held_out=0.5))


def test_weights_that_are_no_numbers_are_a_failure() -> None:
    event = detect_not_finite(64, 32)
    assert (event.what, event.severity, event.nimg, event.since) == ("began", "failure", 64, 32)


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("sigmoid", math.log(4)),
        ("relativistic", math.log(2)),
        ("hinge", 2),
        ("least-squares", 0.25),
        ("wasserstein", 0),
    ],
)
def test_what_guessing_costs(name: str, cost: float) -> None:
    assert compute_chance_loss(member(Loss, name, "loss")()) == pytest.approx(cost, abs=1e-6)
    assert name in LOSSES


def test_a_loss_without_scale_is_not_judged_by_it() -> None:
    lines = history(bad=20, loss__discriminator=-400.0)
    assert detect(GUARD, compute_chance_loss(Wasserstein()), lines) == []


# --- what is said ------------------------------------------------------------------------------------------


def seen(kind: Any = "overfitting", excess: float = 1.2, severity: Any = "warning", nimg: int = 8000) -> Event:
    return Event(
        what="began",
        kind=kind,
        severity=severity,
        sentence="it is so",
        value=0.5,
        excess=excess,
        nimg=nimg,
        since=nimg - 3000,
    )


def told(*rounds: list[Event]) -> list[tuple[str, str]]:
    """What the journal comes to hold after some looks."""
    journal: list[Event] = []
    for number, found in enumerate(rounds):
        journal += find_new_events(found, find_active_events(journal), 1000 * number)
    return [(event.what, event.kind) for event in journal]


def test_a_thing_is_said_when_it_begins_gets_much_worse_and_ends() -> None:
    assert told([seen()], [seen()], [seen(excess=2.0)]) == [("began", "overfitting")]
    assert told([seen()], [seen(excess=4.0)], [seen(excess=5.0)])[1:] == [("worse", "overfitting")]
    assert told([seen()], [seen(severity="failure")], [seen(severity="failure")])[1:] == [("worse", "overfitting")]
    assert told([seen()], [], [], [seen()])[1:] == [("over", "overfitting"), ("began", "overfitting")]
    assert told([seen()], [seen(), seen("copies")])[1:] == [("began", "copies")]


def test_a_rollback_leaves_everything_behind() -> None:
    rollback = dataclasses.replace(seen("mode-collapse", severity="failure"), what="rollback")
    assert find_active_events([seen(), rollback]) == {}
    assert set(find_active_events([rollback, seen()])) == {"overfitting"}


def test_the_journal_survives_its_file() -> None:
    event = dataclasses.replace(seen(), what="rollback", back_to=64, remedy="rates", changes={"a.lr": [1, 0.5]})
    assert Event.from_plain(json.loads(json.dumps(event.to_plain()))) == event


GOOD = seen().to_plain()


def test_a_line_of_an_earlier_version_is_read_with_its_kind_and_value() -> None:
    old = {key: value for key, value in GOOD.items() if key != "value"}
    event = Event.from_plain({**old, "kind": "augmentation-leak", "figure": 0.4})
    assert (event.kind, event.value) == ("augmentation-leak", 0.4)
    assert [over.what for over in find_new_events([], find_active_events([event]), 9000)] == ["over"]


@pytest.mark.parametrize(
    "plain",
    [None, [], {}, {**GOOD, "more": 1}, {**GOOD, "what": "run"}, {**GOOD, "value": "<b>"}, {**GOOD, "sentence": 3},
     {**GOOD, "excess": math.nan}, {**GOOD, "nimg": 10**400}, {**GOOD, "changes": [1]}],
)  # fmt: skip
def test_a_line_that_is_no_event_is_refused_in_one_line(plain: Any) -> None:
    with pytest.raises(RunError, match=r"a line of events\.jsonl cannot be read") as caught:
        Event.from_plain(plain)
    assert "\n" not in str(caught.value)


# --- what is changed ---------------------------------------------------------------------------------------


def changed(kind: Any, config: Config, going: set[str] | None = None, tried: tuple[str, ...] = ()) -> dict[str, Any]:
    remedy = choose_remedy(kind, going or set(), tried, to_plain(config), gamma=0.25, operations=("translation",))
    assert remedy.sentence
    override(config, remedy.changes)  # it fits
    return dict(remedy.changes)


RATES = ("generator_optimizer.lr", "discriminator_optimizer.lr")
SMOOTH, ROUGH = preset("dcgan-r1"), preset("dcgan-64")


@pytest.mark.parametrize("kind", ["not-finite", "exploding-gradient", "discriminator-lost"])
def test_divergence_lowers_both_rates_each_time_more(kind: str) -> None:
    lr = SMOOTH.generator_optimizer.lr
    assert changed(kind, SMOOTH) == dict.fromkeys(RATES, lr / 2)
    assert changed(kind, SMOOTH, tried=("rates",)) == dict.fromkeys(RATES, lr / 4)
    assert changed(kind, SMOOTH, tried=("rates", "gamma", "rates")) == dict.fromkeys(RATES, lr / 8)


def test_a_discriminator_that_has_won_gets_a_penalty_or_a_larger_one() -> None:
    assert changed("discriminator-won", ROUGH) == {"penalties": [{"name": "r1", "gamma": 0.25, "every": 4}]}
    assert changed("discriminator-won", SMOOTH) == {"penalties.0.gamma": 2.0, "penalties.1.gamma": 2.0}


@pytest.mark.parametrize("kind", ["discriminator-won", "mode-collapse"])
def test_where_nothing_diverges_gamma_and_rates_are_changed_in_turn(kind: str) -> None:
    doubled, again = ({"penalties.0.gamma": value, "penalties.1.gamma": value} for value in (2.0, 4.0))
    assert changed(kind, SMOOTH) == doubled
    assert changed(kind, SMOOTH, tried=("gamma",)).keys() == set(RATES)
    assert changed(kind, SMOOTH, tried=("gamma", "rates")) == again


@pytest.mark.parametrize("kind", ["discriminator-won", "mode-collapse"])
def test_where_images_are_known_by_heart_augmentation_comes_first_and_goes_up(kind: str) -> None:
    going = {kind, "overfitting"}
    assert changed(kind, SMOOTH, going) == {"augment": {"name": "fixed", "p": 0.4, "operations": ["translation"]}}
    some = override(SMOOTH, changed(kind, SMOOTH, going))
    assert changed(kind, some, going) == {"augment.p": 0.8}
    most = override(some, {"augment.p": 0.8})
    assert changed(kind, most, going) == changed(kind, most) == {"penalties.0.gamma": 2.0, "penalties.1.gamma": 2.0}


def test_augmentation_that_nobody_knows_to_be_safe_is_never_added() -> None:
    plain = to_plain(SMOOTH)
    remedy = choose_remedy("mode-collapse", {"overfitting"}, (), plain, gamma=1.0, operations=())
    assert remedy.thing == "gamma"


def test_the_guard_is_a_value_of_the_configuration() -> None:
    assert from_plain(Guard, {"action": "stop", "every": "5 %"}, "guard").action == "stop"
    assert override(SMOOTH, {"guard": None}).guard is None
    assert preset("dcgan-r1").loss == RelativisticPairing() and preset("dcgan-64").loss == Sigmoid()
