"""Every field of the configuration is a keyword of train and resume, and short names set the common ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import gansmith
from gansmith.api import KEYWORDS
from gansmith.component import to_plain
from gansmith.errors import ConfigError
from gansmith.losses import Hinge
from gansmith.models.dcgan import DCGAN
from gansmith.penalties import R1
from gansmith.schedules import Duration
from gansmith.training import session
from gansmith.training.config import Config, flat
from gansmith.training.keywords import Fields


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that would be trained."""
    found: list[Config] = []
    monkeypatch.setattr(session, "begin", lambda config, path, _: found.append(config))
    return found


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The changes with which a run would be resumed."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(session, "go_on", lambda path, changes, _: found.append(dict(changes)))
    return found


def test_every_field_of_the_configuration_is_a_keyword() -> None:
    recorded = {"origin"}  # by the training itself
    fields = {field.name for field in dataclasses.fields(Config) if not field.name.startswith("_")} - recorded
    assert {*Fields.__annotations__, "data", "preset", "length", "seed"} == fields
    assert not set(Fields.__annotations__) & set(KEYWORDS)


@pytest.mark.parametrize(
    ("keywords", "changed"),
    [
        ({"tracking": "none", "batch_size": 32, "epochs": 5}, {"batch_size": 32, "length": "5 epochs"}),
        ({"tracking": None, "guard": None, "minutes": 2.5}, {"tracking": None, "guard": None, "length": "2.5 min"}),
        ({"steps": 1_234_567}, {"length": "1234567 steps"}),
        ({"kimg": 500, "seed": 0}, {"length": "500 kimg", "seed": 0}),
        ({"length": Duration(9, "kimg"), "log_every": "2 kimg"}, {"length": "9 kimg", "log_every": "2 kimg"}),
        ({"resolution": 16}, {"preparation.size": [16, 16]}),
        ({"size": "24x16"}, {"preparation.size": [16, 24]}),
        ({"overrides": {"preparation.size": "24x16"}}, {"preparation.size": [16, 24]}),
        ({"preparation": {"size": 8}}, {"preparation.size": [8, 8]}),
        (
            {"lr": 1e-3, "overrides": {"generator_optimizer.lr": 2e-3}},
            {"generator_optimizer.lr": 2e-3, "discriminator_optimizer.lr": 1e-3},
        ),
        ({"loss": "hinge"}, {"loss.name": "hinge"}),
        (
            {"loss": Hinge(), "penalties": [R1(gamma=3), "r2"], "model": DCGAN(width=16)},
            {"loss.name": "hinge", "penalties.0.gamma": 3.0, "penalties.1.name": "r2", "model.width": 16},
        ),
        ({"batch_size": 8, "overrides": {"batch_size": 16, "model.width": 32}}, {"batch_size": 16, "model.width": 32}),
    ],
)
def test_keywords_set_fields(keywords: dict[str, Any], changed: dict[str, Any], begun: list[Config]) -> None:
    gansmith.train("digits", **keywords)
    gansmith.train(gansmith.configure("digits", preset="dcgan-mnist"), **keywords)
    for config in begun:
        plain = flat(to_plain(config))
        assert {path: plain[path] for path in changed} == changed
    assert len(begun) == 2


def test_only_what_is_given_is_set(begun: list[Config]) -> None:
    gansmith.train("digits")
    assert begun == [gansmith.configure("digits")]


def test_resume_takes_them_too(resumed: list[dict[str, Any]], tmp_path: Path) -> None:
    gansmith.resume(tmp_path)
    gansmith.resume(tmp_path, epochs=7, lr=1e-4, tracking=None, overrides={"guard.every": "5 kimg"})
    rates = {f"{network}_optimizer.lr": 1e-4 for network in ("generator", "discriminator")}
    assert resumed == [{}, {"length": "7 epochs", **rates, "tracking": None, "guard.every": "5 kimg"}]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"batchsize": 3}, "train(batchsize=...): no such keyword; did you mean 'batch_size'?"),
        ({"epoch": 3}, "train(epoch=...): no such keyword; did you mean 'epochs'?"),
        ({"width": 3}, "train(width=...): no such keyword; write overrides={'model.width': ...}"),
        ({"model__width": 3}, "train(model__width=...): no such keyword; write overrides={'model.width': ...}"),
        ({"beta": 1}, "train(beta=...): no such keyword; expected one of app, augment, balance"),
        (
            {"gamma": 1},
            "train(gamma=...): no such keyword; write overrides={'penalties.0.gamma': ...}, or 'penalties.1.gamma'",
        ),
        ({"epochs": 1, "minutes": 1}, "minutes and epochs: say the same; give one of them"),
        ({"size": 8, "resolution": 8}, "size and resolution: say the same; give one of them"),
        ({"resolution": "large"}, "resolution: expected a size such as 64 or 48x64 (width x height in pixels)"),
        ({"overrides": {"preparation.size": "large"}}, "config.preparation.size: expected a size such as 64"),
        ({"batch_size": "many"}, "config.batch_size: expected a whole number, got 'many'"),
        ({"loss": "hing"}, "config.loss: no loss is called 'hing'; did you mean 'hinge'?"),
        ({"overrides": {"los": "hinge"}}, "config.los: no such field; did you mean 'loss'?"),
    ],
)
def test_a_keyword_that_does_not_fit_is_one_line(keywords: dict[str, Any], message: str, begun: list[Config]) -> None:
    with pytest.raises(ConfigError) as caught:
        gansmith.train("digits", **keywords)
    assert str(caught.value).startswith(message)
    assert not begun


def test_resume_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^resume\(epoch=...\): no such keyword; did you mean 'epochs'\?$"):
        gansmith.resume(tmp_path, epoch=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("keywords", [{"preset": "dcgan-64"}, {"root": "."}])
def test_a_whole_configuration_has_its_preset_and_data(keywords: dict[str, Any], begun: list[Config]) -> None:
    with pytest.raises(ConfigError, match="a whole configuration has its data and preset"):
        gansmith.train(gansmith.configure("digits"), **keywords)
    assert not begun
