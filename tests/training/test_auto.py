"""The default preset's choices: what they depend on, what they leave alone, and what is written down."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansmith import api
from gansmith.augment import AdaptiveAugment
from gansmith.component import override, to_plain
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.metrics.metric import Estimate
from gansmith.models.dcgan import DCGAN
from gansmith.penalties import R1
from gansmith.plain_json import read_json
from gansmith.schedules import Duration
from gansmith.training import auto
from gansmith.training.auto import Situation, choose
from gansmith.training.config import Config, load_config
from gansmith.training.presets import preset
from gansmith.training.trials import Trials
from gansmith.types import ImageSpec

CPU = Compute(device=torch.device("cpu"), precision="float32")
SIGNS = Situation(
    spec=ImageSpec(height=32, width=32, channels=3, num_classes=3),
    kind="signs",
    class_counts=(100, 200, 250),
    num_images=13_000,
    num_held_out=600,
    length=Duration(10, "min"),
    device="cpu",
    free_bytes=8 * 2**30,
)


class Stopwatch(Trials):
    """Trials of which the outcome is known."""

    def __init__(self, speed: float = 1000.0, megabytes: float = 1.0, batch_overhead: float = 0.0) -> None:
        self.of_32, self.megabytes, self.overhead, self.asked = speed, megabytes, batch_overhead, 0

    def speed(self, config: Config) -> float:
        self.asked += 1
        return self.of_32 * config.batch_size / (config.batch_size + self.overhead)

    def bytes_per_image(self, config: Config) -> int:
        return int(self.megabytes * 2**20)


def settled(
    trials: Trials, given: tuple[str, ...] = (), changes: dict[str, Any] | None = None, **situation: Any
) -> Config:
    base = dataclasses.replace(preset("auto"), data=Npz(path=Path("x.npz")))
    as_they_are = {path: at(to_plain(base), path) for path in given if path not in (changes or {})}
    base = override(base, {**as_they_are, **(changes or {})})
    return choose(base, dataclasses.replace(SIGNS, **situation), trials)[0]


def at(plain: Any, path: str) -> Any:
    """What lies at a dotted path of plain data."""
    return functools.reduce(lambda part, key: part[key], path.split("."), plain)


def test_the_learning_rate_of_trained_weights_is_not_raised_and_their_network_is_kept() -> None:
    own, started = preset("auto").generator_optimizer.lr, {"init": "runs/x", "model.width": 20}
    short, long = ((settled(Stopwatch(speed)), settled(Stopwatch(speed), (), started)) for speed in (10.0, 1e5))
    assert (
        short[0].generator_optimizer.lr > own == short[1].generator_optimizer.lr == short[1].discriminator_optimizer.lr
    )
    assert long[0].generator_optimizer.lr == long[1].generator_optimizer.lr < own
    assert short[1].model == long[1].model and short[1].model.width == 20 != short[0].model.width


def test_more_images_within_the_length_make_wider_networks() -> None:
    widths = [settled(Stopwatch(speed)).model.width for speed in (10, 100, 1_000, 10_000, 100_000)]
    assert widths == sorted(widths) and len(set(widths)) > 2
    short, long = (settled(Stopwatch(), length=Duration(minutes, "min")).model.width for minutes in (0.1, 600))
    assert short < long


def test_a_length_in_images_takes_no_trial_and_is_the_same_everywhere() -> None:
    trials = Stopwatch()
    chosen = [settled(trials, length=Duration(*length)).model.width for length in ((5, "kimg"), (5_000, "kimg"))]
    assert chosen[0] < chosen[1]
    assert trials.asked == 0
    steps = settled(trials, length=Duration(5_000_000 / preset("auto").batch_size, "steps")).model.width
    epochs = settled(trials, length=Duration(5_000 / 13, "epochs")).model.width
    assert steps == epochs == chosen[1]


def test_the_longer_training_lasts_the_longer_the_average() -> None:
    ramps = [settled(Stopwatch(), length=Duration(kimg, "kimg")).ema_ramp for kimg in (10, 100, 400, 100_000)]
    assert ramps == pytest.approx([0.05, 0.05, 0.1, 0.2])


def test_the_longer_training_lasts_the_smaller_its_steps() -> None:
    lengths = (1, 35, 140, 560, 100_000)
    chosen = [settled(Stopwatch(), length=Duration(kimg, "kimg")) for kimg in lengths]
    own = preset("auto").generator_optimizer.lr
    factors = [config.generator_optimizer.lr / own for config in chosen]
    assert factors == pytest.approx([4, 2, 1, 0.5, 0.25], rel=0.02)
    assert all(config.discriminator_optimizer.lr == config.generator_optimizer.lr for config in chosen)


def test_for_photographs_pixels_are_averaged_between_the_stages() -> None:
    for kind, averaged in (("photos", True), ("signs", False), ("digits", False)):
        model = settled(Stopwatch(), kind=kind).model
        assert isinstance(model, DCGAN)
        assert (model.upsampling, model.downsampling) == (
            ("nearest", "pooled") if averaged else ("transposed", "strided")
        )
    kept = settled(Stopwatch(), ("model.upsampling",), kind="photos").model
    assert isinstance(kept, DCGAN) and (kept.upsampling, kept.downsampling) == ("transposed", "pooled")
    other = settled(Stopwatch(), changes={"model.stride": 3}, kind="photos").model  # it cannot
    assert isinstance(other, DCGAN) and (other.upsampling, other.downsampling) == ("transposed", "strided")


def test_short_trainings_on_photographs_of_its_size_start_from_the_zoo() -> None:
    right: dict[str, Any] = {"kind": "photos", "has_start": True, "spec": spec_of(64)}
    started = settled(Stopwatch(100.0), **right)
    entry = Path(__file__).parents[2] / "zoo" / "gansmith_zoo" / "entries" / started.init.removeprefix("zoo:")
    assert started.model == load_config(entry / "config.json").model
    assert started.generator_optimizer.lr <= preset("auto").generator_optimizer.lr
    for changes in (
        {"kind": "signs"},
        {"spec": spec_of(32)},
        {"spec": dataclasses.replace(spec_of(64), channels=1)},
        {"has_start": False},
        {"length": Duration(351, "kimg")},  # for which its network is too narrow
    ):
        assert settled(Stopwatch(100.0), **{**right, **changes}).init is None
    for given in ("init", "model.z_dim", "model.width"):
        assert settled(Stopwatch(100.0), (given,), **right).init is None
    assert settled(Stopwatch(), length=Duration(349, "kimg"), **right).init == started.init
    assert settled(Stopwatch(), changes={"init": "runs/x"}, **right).init == "runs/x"


def spec_of(side: int) -> ImageSpec:
    return dataclasses.replace(SIGNS.spec, height=side, width=side)


def test_gamma_is_that_of_the_size_and_the_batch() -> None:
    small, large = (
        settled(Stopwatch(), spec=dataclasses.replace(SIGNS.spec, height=side, width=side)) for side in (32, 128)
    )
    for one, two in zip(small.penalties, large.penalties, strict=True):
        assert two.gamma == pytest.approx(2 * one.gamma)


def test_augmentation_goes_by_unseen_images_where_there_are_enough() -> None:
    for changes, num, by in (({}, 16, "held-out"), ({}, 15, "sign"), ({"guard": None}, 600, "sign")):
        augment = settled(Stopwatch(), changes=changes, num_images=1000, num_held_out=num).augment
        assert isinstance(augment, AdaptiveAugment) and augment.by == by


def test_few_images_are_augmented_by_what_is_safe_for_them() -> None:
    assert settled(Stopwatch(), num_images=10**6).augment is None
    for kind in ("digits", "signs", "photos"):
        augment = settled(Stopwatch(), num_images=1000, kind=kind).augment
        assert augment is not None and ("mirror" in augment.operations) == (kind == "photos")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model.width": 8}, "network  width 8"),
        ({"batch_size": 24}, "batch    24 images, learning rate "),
        ({"generator_optimizer.lr": 0.5}, "learning rates G 0.5 and D "),
        ({"ema_ramp": 0.5}, "a half-life of 15, 50 or 100 % of training; needs 32 of 8,192 MiB free"),
        ({"ema_ramp": 0.5, "ema_factors": []}, "a half-life of 50 % of training; needs 32 of 8,192 MiB free"),
        ({"penalties.0.gamma": 7.0}, "penalty  R1 with gamma 7 every"),
        ({"augment": "fixed"}, "augment  as you set it"),
    ],
)
def test_what_is_said_is_what_was_settled(changes: dict[str, Any], said: str) -> None:
    config = override(preset("auto"), changes)
    _, reasons = choose(config, dataclasses.replace(SIGNS, kind="photos"), Stopwatch())
    assert said in "\n".join(reasons)


def test_an_empty_class_is_not_a_rare_one() -> None:
    assert settled(Stopwatch(), class_counts=(0, 200, 250)).balance == 0


def test_mirroring_is_left_out_where_it_shows() -> None:
    one_sided, two_sided = (
        Estimate(value=value, low=value - 0.05, high=value + 0.05, interval="Wilson") for value in (0.8, 0.57)
    )
    for told, mirrored in ((one_sided, False), (two_sided, True), (None, True)):
        situation = {"num_images": 1000, "kind": "photos", "mirror_asymmetry": lambda told=told: told}
        augment = settled(Stopwatch(), **situation).augment
        assert augment is not None and ("mirror" in augment.operations) == mirrored


@pytest.mark.parametrize("choice", ({}, {"preset": "dcgan-r1", "augment": "fixed"}))
def test_letters_are_not_mirrored(
    choice: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "FEW_VIEWS", 0)
    images = np.zeros((300, 8, 8, 1), np.uint8)
    shades = np.random.default_rng(0).integers(100, 256, (300, 1, 1), np.uint8)
    images[:, 1:7, 2], images[:, 6, 2:6] = shades, shades  # the letter L
    np.savez(tmp_path / "letters.npz", images=images)
    changes = {"tracking": None, **choice}
    preset = changes.pop("preset", None)
    run = api.train(tmp_path / "letters.npz", preset=preset, length="2 steps", run=tmp_path / "run", overrides=changes)
    assert json.loads(run.folder.config.read_text())["augment"]["operations"] == [
        "translation", "cutout", "brightness", "contrast"
    ]  # fmt: skip
    assert "no mirror, as 100% can be told from their mirror images" in capsys.readouterr().out


def test_nothing_is_learnt_of_left_and_right_where_it_does_not_matter() -> None:
    asked: list[str] = []
    for given, situation in (
        ((), {"kind": "signs", "num_images": 1000}),
        ((), {"kind": "photos", "num_images": 10**6}),
        (("augment",), {"kind": "photos", "num_images": 1000}),
        ((), {"kind": "photos", "num_images": 1000}),
    ):
        assert not asked
        settled(
            Stopwatch(), given, mirror_asymmetry=lambda: asked.append("of photographs that are augmented"), **situation
        )
    assert asked == ["of photographs that are augmented"]


def test_classes_are_used_where_there_are_images_of_them() -> None:
    assert settled(Stopwatch()).use_labels
    assert settled(Stopwatch()).balance == 0
    assert settled(Stopwatch(), class_counts=(10, 300, 900)).balance > 0
    assert not settled(Stopwatch(), class_counts=(1, 2, 3)).use_labels
    assert not settled(Stopwatch(), class_counts=(500,)).use_labels


def test_on_a_gpu_the_batch_grows_while_it_pays_and_the_rate_with_it() -> None:
    length = Duration(300, "kimg")
    base = settled(Stopwatch(), length=length)
    grown = settled(Stopwatch(batch_overhead=200), device="cuda", length=length)
    assert grown.batch_size > base.batch_size
    factor = (grown.batch_size / base.batch_size) ** 0.5
    assert grown.generator_optimizer.lr == pytest.approx(base.generator_optimizer.lr * factor, rel=0.05)
    assert settled(Stopwatch(), device="cuda").batch_size == base.batch_size


def test_what_does_not_fit_goes_through_in_micro_batches() -> None:
    assert settled(Stopwatch()).micro_batch is None
    assert settled(Stopwatch(), free_bytes=None).micro_batch is None
    assert settled(Stopwatch(megabytes=100), free_bytes=3 * 2**30).micro_batch == 8


def test_what_the_user_has_set_stays() -> None:
    changes = {
        "model.width": 20,
        "penalties": "r1",
        "augment": {"name": "fixed", "operations": ["cutout"]},
        "balance": 0.25,
        "batch_size": 48,
    }
    chosen = settled(Stopwatch(), tuple(changes), changes, class_counts=(10, 300, 900), num_images=1000)
    assert (chosen.model.width, chosen.balance, chosen.batch_size) == (20, 0.25, 48)
    assert chosen.penalties == (R1(),)
    assert chosen.augment is not None and chosen.augment.operations == ("cutout",)
    base = override(preset("auto"), {"penalties": [], "augment": None})
    _, lines = choose(base, dataclasses.replace(SIGNS, num_images=9), Stopwatch())
    assert [line for line in lines if "as you set it" in line] == ["penalty  as you set it", "augment  as you set it"]
    as_it_was = preset("auto").model.width
    assert settled(Stopwatch(10), ("model.width",)).model.width == as_it_was


def test_pictures_take_little_of_a_short_time() -> None:
    assert str(settled(Stopwatch(), length=Duration(8, "s")).samples.every) == "5 s"
    for length in ((10, "min"), (50, "steps")):
        assert settled(Stopwatch(), length=Duration(*length)).samples == preset("auto").samples


def test_trials_are_measured_and_weighed() -> None:
    trials = Trials(ImageSpec(height=8, width=8, channels=1), CPU)
    narrow, wide = (override(preset("auto"), {"model.width": width, "batch_size": 4}) for width in (4, 16))
    assert trials.speed(narrow) > 0
    assert trials.speed(narrow) == trials.speed(narrow)
    assert 2 * trials.bytes_per_image(narrow) < trials.bytes_per_image(wide) < 16 * trials.bytes_per_image(narrow)


def test_it_says_what_it_chose_in_five_lines_and_writes_it_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "FEW_VIEWS", 0.5)
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8))
    changes = {"tracking": None, "model.max_multiple": 2}
    run = api.train(tmp_path / "x.npz", length="1 s", run=tmp_path / "run", overrides=changes)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("auto")]
    assert [line.split()[1] for line in lines] == ["classes", "network", "batch", "penalty", "augment"]
    written = read_json(run.folder.config)
    assert f"width {written['model']['width']}, nearest-neighbour up, average pooling down:" in lines[1]
    assert f"gamma {written['penalties'][0]['gamma']:g} " in lines[3]
    assert written["model"]["max_multiple"] == 2
    assert all(name in lines[4] for name in written["augment"]["operations"])
    length = Duration(run.status()["step"] + 2, "steps")
    again = api.resume(run.path, length=str(length))
    assert read_json(again.folder.config) == {**written, "length": str(length)}
