"""Names and defaults of the mathematics, written down once more: configurations of runs and papers depend on them."""

from __future__ import annotations

from typing import Any

import pytest

from gansmith.augment import AUGMENTS, OPERATIONS, SAFE_OPERATIONS, Augment
from gansmith.component import Component, member, to_plain
from gansmith.errors import ConfigError
from gansmith.losses import LOSSES, Loss
from gansmith.optimizers import OPTIMIZERS, Adam, AdamW, Optimizer
from gansmith.penalties import PENALTIES, R1, Penalty
from gansmith.regularizers import REGULARIZERS, Regularizer
from gansmith.schedules import SCHEDULES, Linear, Schedule

ALWAYS = {"name": "constant"}
RATES: dict[str, Any] = {"lr": 2e-4, "betas": [0.5, 0.999], "eps": 1e-8, "schedule": ALWAYS, "beta2_end": None}
WEIGHT: dict[str, Any] = {"every": 1, "schedule": ALWAYS}
WANTED: dict[type[Component], dict[str, dict[str, Any]]] = {
    Optimizer: {"adam": RATES, "adamw": {**RATES, "weight_decay": 0.01}},
    Loss: {"sigmoid": {"saturating": False}, "least-squares": {}, "hinge": {}, "wasserstein": {}, "relativistic": {}},
    Penalty: {
        "r1": {"gamma": 1.0, **WEIGHT}, "r2": {"gamma": 1.0, **WEIGHT}, "wgan-gp": {"gamma": 10.0, **WEIGHT},
        "dragan": {"gamma": 10.0, **WEIGHT}, "consistency": {"gamma": 10.0, **WEIGHT, "operations": ["shift"]},
        "lecam": {"gamma": 0.3, **WEIGHT}, "noise-consistency": {"gamma": 10.0, **WEIGHT, "deviation": 0.5},
        "fake-contrast": {"gamma": 0.2, **WEIGHT, "temperature": 0.07, "deviation": 0.3},
    },
    Regularizer: {
        "mode-seeking": {"gamma": 1.0, **WEIGHT}, "feature-matching": {"gamma": 1.0, **WEIGHT},
    },
    Schedule: {
        "constant": {}, "linear": {"begin": 1.0, "end": 0.0, "start": 0.0},
        "cosine": {"begin": 1.0, "end": 0.0, "start": 0.0},
    },
    Augment: {
        "fixed": {"operations": [], "p": 1.0, "schedule": ALWAYS},
        "adaptive": {"operations": [], "by": "sign", "target": None, "kimg": 500.0, "limit": 0.8},
    },
}  # fmt: skip
TABLES: dict[type[Component], dict[str, Any]] = {
    Optimizer: OPTIMIZERS, Loss: LOSSES, Penalty: PENALTIES, Regularizer: REGULARIZERS, Schedule: SCHEDULES,
    Augment: AUGMENTS,
}  # fmt: skip


@pytest.mark.parametrize("family", WANTED, ids=lambda family: family.__name__)
def test_each_name_means_what_it_has_always_meant(family: type[Component]) -> None:
    found = {name: to_plain(member(family, name, "it")()) for name in TABLES[family]}
    assert found == {name: {"name": name, **fields} for name, fields in WANTED[family].items()}
    assert [type(found[name].get("every")) for name in found] == [
        type(each.get("every")) for each in WANTED[family].values()
    ]


def test_what_a_loss_and_a_penalty_look_at() -> None:
    assert [name for name in LOSSES if member(Loss, name, "loss").pairs] == ["relativistic"]
    penalties = {name: member(Penalty, name, "penalty") for name in PENALTIES}
    assert [name for name, each in penalties.items() if each.averages] == ["lecam"]
    assert [name for name, each in penalties.items() if each.reads_features] == ["noise-consistency", "fake-contrast"]
    assert [name for name, each in penalties.items() if each.reads_overfitting] == ["noise-consistency"]


def test_components_are_values_that_take_names_alone() -> None:
    assert Adam() == Adam() and hash(R1()) == hash(R1()) and Adam() != AdamW()
    with pytest.raises(TypeError):
        Linear(0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adam(eps=0), r"Adam\.eps: 0\.0 is out of range"),
        (lambda: Adam(beta2_end=1), r"Adam\.beta2_end: 1\.0 is out"),
        (lambda: Adam(betas=(-0.1, 0.9)), r"betas\[0\]: -0\.1 is out"),
        (lambda: AdamW(weight_decay=-1), r"AdamW\.weight_decay: -1\.0 is out"),
        (lambda: R1(gamma=0), r"R1\.gamma: 0\.0 is out"),
        (lambda: R1(every=0), r"R1\.every: 0 is out"),
        (lambda: Linear(end=-1), r"Linear\.end: -1\.0 is out"),
        (lambda: Linear(start=-0.1), r"Linear\.start: -0\.1 is out"),
        (lambda: Linear(begin=-1), r"Linear\.begin: -1\.0 is out"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
    Adam(betas=(0.0, 0.0), beta2_end=0.0), AdamW(weight_decay=0.0), Linear(begin=0, end=0, start=0)


# --- operations --------------------------------------------------------------------------------------------

COLOUR, PLACES, COVER = "colour", "geometry", "cover"
KINDS = {  # kind, whether pixels only change places, whether they leave their rows, what blanks, whether gray has none
    "color": (COLOUR, False, False, None, False), "brightness": (COLOUR, False, False, None, False),
    "contrast": (COLOUR, False, False, None, False), "luma-flip": (COLOUR, False, False, None, False),
    "hue": (COLOUR, False, False, None, True), "saturation": (COLOUR, False, False, None, True),
    "mirror": (PLACES, True, False, None, False), "quarter-turn": (PLACES, True, True, None, False),
    "shift": (PLACES, True, False, None, False), "scale": (PLACES, False, False, None, False),
    "stretch": (PLACES, False, False, None, False), "rotation": (PLACES, False, True, None, False),
    "fractional-shift": (PLACES, False, False, None, False),
    "translation": (PLACES, True, False, "mask_outside", False),
    "cutout": (COVER, False, False, "mask_boxes", False),
}  # fmt: skip


def test_operations_their_order_and_their_kinds() -> None:
    found = {
        name: (each.kind, each.whole, each.turns, each.hides and each.hides.__name__, each.needs_hues)
        for name, each in OPERATIONS.items()
    }
    assert list(found.items()) == list(KINDS.items())
    assert {each.draw.__name__.replace("_", "-") for each in OPERATIONS.values()} == set(OPERATIONS)
    assert all(each.draw.__name__.replace("_", "-") == name for name, each in OPERATIONS.items())


def test_what_is_safe_for_each_kind_of_images() -> None:
    assert SAFE_OPERATIONS == {
        "digits": ("translation", "cutout"),
        "signs": ("translation", "cutout", "brightness", "contrast"),
        "photos": ("mirror", "translation", "cutout", "brightness", "contrast", "saturation"),
    }
