"""The metric that decides about a training never looks through the network that its discriminator looks through."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

import gansmith
from gansmith.component import from_plain
from gansmith.errors import ConfigError
from gansmith.evaluation import inputs
from gansmith.evaluation.options import EvaluationOptions
from gansmith.metrics.efficientnet import EfficientNetLite0, EfficientNetLite1
from gansmith.models import MODELS
from gansmith.models.dcgan import DCGAN
from gansmith.models.model import Model
from gansmith.models.pretrained import EfficientNetLite
from gansmith.training import session, stages
from gansmith.training.config import Config
from gansmith.training.recipe import RECIPES, Recipe
from gansmith.training.tracker import choose_extractor
from gansmith.types import ImageSpec


@dataclass(frozen=True, kw_only=True)
class Looking(DCGAN):
    """Says that its discriminator looks through a pretrained network."""

    backbone: str | None = None


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    path = tmp_path / "photographs.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8))
    return path


def configure(photographs: Path, backbone: str | None, extractor: Any = None, preset: str = "dcgan-r1") -> Config:
    config = gansmith.configure(photographs, preset=preset, overrides={"length": "8 steps", "model.width": 4})
    assert config.tracking is not None
    tracking = dataclasses.replace(config.tracking, extractor=extractor)
    return dataclasses.replace(config, model=Looking(width=4, backbone=backbone), tracking=tracking)


@pytest.mark.parametrize(
    ("backbone", "found", "reason"),
    [
        (None, EfficientNetLite1(), "nothing has to be trained"),
        ("lite0", EfficientNetLite1(), "the discriminator looks through lite0, so the metric must not"),
        ("lite1", EfficientNetLite0(), "the discriminator looks through lite1, so the metric must not"),
    ],
)
def test_another_network_is_chosen_and_the_reason_given(
    photographs: Path, backbone: str | None, found: Any, reason: str
) -> None:
    config = configure(photographs, backbone)
    prepared = session.prepare_data(config)
    extractor, why = choose_extractor(config, prepared.store)
    assert extractor == found and why.startswith(f"efficientnet-{found.backbone}: ") and why.endswith(reason)
    chosen = stages.choose_config(config, prepared, session.choose_compute("cpu", "float32"))
    assert chosen.reasons == ((f"tracking {why}",) if backbone else ())


def test_the_same_network_is_refused_in_one_line(photographs: Path) -> None:
    config = configure(photographs, "lite1", EfficientNetLite1())
    with pytest.raises(ConfigError) as error:
        session.preview_training(config)
    assert str(error.value) == (
        "config.tracking.extractor: efficientnet-lite1 is the network that the discriminator looks through, so its "
        "values would be too good; leave it out, or choose another, as --tracking.extractor efficientnet-lite0"
    )
    other = configure(photographs, "lite0", EfficientNetLite1())
    assert choose_extractor(other, session.prepare_data(other).store) == (
        EfficientNetLite1(),
        "efficientnet-lite1, as you set it",
    )


def test_auto_says_what_tracks(photographs: Path) -> None:
    config = gansmith.configure(photographs, preset="auto", overrides={"length": "8 steps", "model.width": 4})
    reasons = session.preview_training(config).chosen.reasons
    assert reasons[-1].startswith("tracking efficientnet-lite1: features learnt on ImageNet")


def test_an_evaluation_through_the_same_network_says_so(photographs: Path) -> None:
    config = configure(photographs, "lite1")
    prepared = session.prepare_data(config)
    real: Any = dataclasses.make_dataclass("Real", ["store", "indices"])(prepared.store, prepared.training)
    silent = Console(file=StringIO())

    def note(extractor: Any, backbones: frozenset[str]) -> tuple[str, bool]:
        options = EvaluationOptions(extractor=extractor)
        network = inputs.load_extractor(real, options, silent, backbones)
        return network.name, network.note.endswith("the discriminator looks through it too, so the values are too good")

    assert note(None, config.backbones) == ("efficientnet-lite0", False)
    assert note(EfficientNetLite1(), config.backbones) == ("efficientnet-lite1", True)
    assert note(EfficientNetLite1(), frozenset()) == ("efficientnet-lite1", False)


@pytest.mark.parametrize(
    ("recipe", "model"), [*((name, "dcgan") for name in RECIPES), *(("adversarial", name) for name in MODELS)]
)
def test_recipes_and_models_declare_the_networks_that_they_look_through(
    recipe: str, model: str, photographs: Path
) -> None:
    parts: dict[str, Any] = {"recipe": from_plain(Recipe, recipe, "recipe"), "model": from_plain(Model, model, "model")}
    config = dataclasses.replace(configure(photographs, None), **parts)
    spec = ImageSpec(height=64, width=64, channels=3)
    with torch.device("meta"):
        networks = [build() for build in config.recipe.networks(config, spec).values()]
    used = {module.name for network in networks for module in network.modules() if isinstance(module, EfficientNetLite)}
    assert used == config.backbones
