"""The benchmarks' pure parts: operations that are counted, processes that take turns, tables."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import runpy
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gansmith.component import to_plain
from gansmith.console import stop_on_signal
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.metrics import classifier, learning
from gansmith.metrics.backbone import Backbone
from gansmith.metrics.features import FeatureNetwork, Features, Selection
from gansmith.models.dcgan import DCGAN
from gansmith.penalties import R1, R2
from gansmith.training.config import Config
from gansmith.training.presets import configure
from gansmith.training.state import TrainState
from gansmith.training.steps import train_step
from gansmith.types import Batch, ImageSpec

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = (
    "augmentation_leak",
    "backbones",
    "busy",
    "classes",
    "contenders",
    "convolutions",
    "corruptions",
    "data",
    "diffusion",
    "mirror_asymmetry",
    "integrity",
    "extractor_seeds",
    "few_images",
    "first_picture",
    "first_runs",
    "evaluation_cost",
    "finetune",
    "gpu",
    "gpu_parts",
    "memorisation",
    "quality",
    "seed_bias",
    "speed",
    "sweep",
    "whole_runs",
)
PEERS = (
    "peers/denoising_diffusion",
    "peers/diffusers_ddpm",
    "peers/flow_matching",
    "peers/plain_torch",
    "peers/tensorflow_tutorial",
)

SPEC = ImageSpec(height=8, width=8, channels=1)
CONFIG = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), batch_size=8)

# Of one image, by hand. D: a 4x4 convolution from 1 to 4 channels at 4x4 places, a dense layer from 64 to 1.
CONVOLUTION, HEAD = 2 * 4 * 4 * 4 * 4 * 4, 2 * 64
FORWARD = TO_IMAGES = CONVOLUTION + HEAD
BACKWARD = CONVOLUTION + 2 * HEAD  # to the weights, and from the head to the convolution
# G: a dense layer from 6 to 64, and the transposed convolution of the same size.
STEM = 2 * 6 * 64
GENERATOR = (STEM + CONVOLUTION) + (STEM + 2 * CONVOLUTION)
STEP = GENERATOR + 2 * (FORWARD + BACKWARD) + FORWARD + TO_IMAGES


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks import each other as scripts do."""
    monkeypatch.syspath_prepend(FOLDER / "peers")
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")  # a script sets it
    yield


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


# --- writing -----------------------------------------------------------------------------------------------


def test_results_are_written_with_their_origin_and_merged_by_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = module("record")
    monkeypatch.setattr(record, "find_commit", lambda: "abc1234")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    for data, value in (("b", 1), ("a", 2), ("b", 3)):
        merged = record.merge_result("tries", {"data": data, "value": value}, lambda result: result["data"])
        record.write_results("tries", "Tries", merged, lambda results: f"| {len(results)} |", {"seeds": "0 to 2"})
    written, page = sorted(tmp_path.iterdir())
    found = json.loads(written.read_text())
    assert written.name.endswith("-tries.json") and found["results"] == [
        {"data": "a", "value": 2},
        {"data": "b", "value": 3},
    ]
    assert list(found) == ["date", "commit", "processor", "cores", "seeds", "results"] and found["commit"] == "abc1234"
    head, table = page.read_text().split("\n\n")
    assert head.startswith(f"Tries, date {found['date']}, commit abc1234, ") and head.endswith(", seeds 0 to 2.")
    assert table == "| 2 |\n" and capsys.readouterr().out.endswith("| 2 |\n")


# --- help --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [*SCRIPTS, *PEERS])
def test_each_script_says_what_it_does(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(FOLDER / f"{script}.py"), run_name="__main__")
    assert not stop.value.code
    assert "usage:" in capsys.readouterr().out


# --- operations --------------------------------------------------------------------------------------------


def test_the_operations_of_a_step_are_those_counted_by_hand() -> None:
    flops = module("flops").flops_per_image
    assert flops(CONFIG, SPEC) == STEP
    assert flops(CONFIG, SPEC, simultaneous=True) == STEP - FORWARD
    fresh = dataclasses.replace(CONFIG, reuse_fakes=False)
    assert flops(fresh, SPEC) == STEP + STEM + CONVOLUTION
    twice = dataclasses.replace(CONFIG, discriminator_steps=2)
    assert flops(twice, SPEC) == (STEP + STEM + CONVOLUTION + 2 * (FORWARD + BACKWARD)) / 2


def test_a_penalty_costs_a_gradient_and_the_gradient_of_it() -> None:
    lazy = dataclasses.replace(CONFIG, penalties=(R1(every=4), R2(every=2)))
    assert module("flops").flops_per_image(lazy, SPEC) == STEP + (TO_IMAGES + 2 * FORWARD) * (1 / 4 + 1 / 2)


def test_a_step_does_what_it_needs_and_no_more() -> None:
    compute = Compute(device=torch.device("cpu"), precision="float32")
    state = TrainState.create(CONFIG, SPEC, compute, epoch_size=8)
    batch = Batch(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), None)
    assert module("flops").counted(lambda: train_step(state, lambda *_: batch)) == 8 * STEP


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_all_three_passes_of_a_convolution_cost_the_same(kind: type[nn.Conv2d], groups: int) -> None:
    """PyTorch's own count of the weights' gradient forgets the groups."""
    layer = kind(6, 4, 3, stride=2, groups=groups, bias=False)
    x = torch.zeros(5, 6, 9, 7, requires_grad=True)
    made = layer(x)
    places = 5 * (9 * 7 if kind is nn.ConvTranspose2d else made.shape[2] * made.shape[3])
    one = 2 * places * 3 * 3 * 6 * 4 // groups
    flops = module("flops")
    assert flops.counted(lambda: layer(x)) == one
    assert flops.counted(made.sum().backward) == 2 * one
    transposed = kind is nn.ConvTranspose2d
    assert flops.convolution_flops(x.shape, layer.weight.shape, made.shape, transposed=transposed) == one


def test_the_convolutions_in_some_work_can_be_done_again() -> None:
    layer = nn.Conv2d(2, 3, 3)
    x = torch.zeros(4, 2, 8, 8)

    def work() -> None:
        layer(x)
        layer(x).sum().backward()

    forward, backward = module("flops").convolutions_in(work)
    one = 2 * 4 * 6 * 6 * 9 * 2 * 3
    assert (forward[1:], backward[1:]) == ((one, 2), (one, 1))  # the images need no gradient
    assert forward[0]().shape == (4, 3, 6, 6)
    assert backward[0]()[1].shape == layer.weight.shape


def test_sides_are_told_of_digits_and_of_too_few_images_nothing_is_said(tmp_path: Path) -> None:
    mirror_asymmetry = module("mirror_asymmetry")
    digits = mirror_asymmetry.opened("digits", tmp_path)
    some, few = (mirror_asymmetry.measured(digits, num, 0) for num in (300, 50))
    assert (some["images"], few["images"]) == (300, 50)
    assert some["told"][0] > 0.6 and few["told"] is None
    lines = mirror_asymmetry.table([{"data": "digits", **each} for each in (some, few)]).splitlines()[2:]
    assert f"| 300 | 0 | {some['told'][0]:.0%} | " in lines[0] and "| 50 | 0 | too few to judge |" in lines[1]


def test_copies_of_digits_are_noticed_and_held_out_ones_are_not(tmp_path: Path) -> None:
    memorisation = module("memorisation")
    digits = module("mirror_asymmetry").opened("digits", tmp_path)
    results = memorisation.measured("digits", digits, (100,), pool=40)
    none = next(each for each in results if each["kind"] == "none")
    assert none["alarms"] == 0
    exact = [each for each in results if each["kind"] == "exact"]
    assert exact[-1]["found"] == 1 and exact[-1]["alarms"] == 100
    assert "| digits | none | 100 | 89 | | false alarms: 0 of 100 | | |" in memorisation.table(results)


def test_few_images_are_of_the_folders_in_turn_and_recipes_add_to_what_auto_chooses() -> None:
    few_images = module("few_images")
    names = ["x/", "x/a/1", "x/a/2", "x/a/3", "x/b/9", "x/c/5", "x/c/4"]
    assert few_images.choose_names(names, 5) == ["x/a/1", "x/b/9", "x/c/4", "x/a/2", "x/c/5"]
    assert few_images.choose_names(names, 99)[-1] == "x/a/3"
    other = {"tracking.extractor": "efficientnet-lite0", "init": None}
    assert few_images.overrides("auto", 64) == other
    assert few_images.overrides("no augmentation", 64) == {**other, "augment": None}
    for recipe, name in (("bcr", "consistency"), ("nice", "noise-consistency"), ("fakeclr", "fake-contrast")):
        config = configure("digits", overrides=few_images.overrides(recipe, 64))
        assert [each["name"] for each in to_plain(config)["penalties"]] == ["r1", "r2", name]
        assert config.penalties[0].gamma == config.penalties[1].gamma == 0.42  # 0.15 x 4 ** 0.25 x 64 / 32


def test_a_training_is_asked_to_stop_when_time_is_over_though_it_runs_in_the_background() -> None:
    few_images, before = module("few_images"), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop_asked, few_images.stopped_at(time.monotonic()):
            end = time.monotonic() + 20
            while not stop_asked() and time.monotonic() < end:
                threading.Event().wait(0.05)
            assert stop_asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_samples_that_are_copies_fail_and_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    few_images = module("few_images")
    monkeypatch.setattr(few_images, "share_of_dogs", lambda images: 0.25)
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (120, 16, 16, 3), np.uint8)
    values = torch.from_numpy(images.reshape(120, -1)[:, :8].astype(np.float32))

    def part(rows: slice) -> Features:
        return Features(values=values[rows], images=images[rows])

    training, held_out, fresh = part(slice(0, 40)), part(slice(40, 80)), part(slice(80, 120))
    found = [few_images.measure(part(slice(0, 120)), fake, training, held_out) for fake in (training, fresh)]
    assert [each["passed"] for each in found] == [False, True] and [each["copies"] for each in found] == [1.0, 0.0]
    assert found[0]["memorisation"] == 1.0 and 0.3 < found[1]["memorisation"] < 0.7
    about = {"data": "dogs", "trained on": 40, "size": 16, "kimg": 1.0, "recipe": "auto", "seed": 0}
    real = {key: value for key, value in found[1].items() if "halves" not in key} | about | {"recipe": "real"}
    lines = few_images.table([*(about | each for each in found), real]).splitlines()
    assert len(lines) == 5 and "| real | 0 |" in lines[4]
    assert lines[2].endswith("| 25% | 1.00 | 100.0%, failed |") and lines[3].endswith("| 0.0% |")


def test_classes_are_counted_with_and_without_regard_to_mistakes() -> None:
    classes = module("classes")
    labels = np.arange(400) % 4

    def seen(numbers: Any) -> Features:
        logits = 20.0 * torch.nn.functional.one_hot(torch.from_numpy(numbers), 4)
        images = Selection(np.zeros((400, 1, 1, 1), np.uint8), np.arange(400))
        return Features(values=logits, logits=logits, labels=labels, images=images)

    seed = next(seed for seed in range(100) if np.random.default_rng(seed).permutation(4)[0] == 0)
    mistaken = np.where(np.arange(400) % 20 == 0, 1, labels)  # a fifth of the first class is seen as the second
    found = classes.found(seen(labels), seen(mistaken), seen(mistaken), ("a", "b", "c", "d"), 1, 300, seed)
    low, value, high, by_shares = found
    assert (low, value, by_shares) == (1, 1, 2) and high <= 2
    line = {"data": "x", "note": "good", "images": 300, "there": 1, "by shares": 2.0, "found": 1.0, "low": 1.0}
    line |= {"high": 1.5, "right": 19, "within": 20, "draws": 20}
    assert "| x | good | 300 | 1 | 2.0 | 1.0 | 1.0 to 1.5 | 19 of 20 | 20 of 20 |" in classes.table([line])


def test_spoilt_images_are_measured_in_sets_of_several_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    corruptions = module("corruptions")
    images, real = np.random.default_rng(0).integers(60, 190, (2, 60, 16, 16, 3), np.uint8)

    class Means(FeatureNetwork):
        name, digest, note = "means", "d", "plain"

        def __call__(self, pixels: torch.Tensor) -> tuple[torch.Tensor, None]:
            values = pixels.float()
            corners = values[:, :, :4, :4].mean(dim=(2, 3))
            return torch.cat([values.mean(dim=(2, 3)), values.flatten(2).std(dim=2), corners], dim=1), None

    pool, network = corruptions.Pool(images, np.arange(60) % 5), Means()
    monkeypatch.setattr(corruptions, "looked_at", lambda *_: (network, pool, corruptions.features(network, real)))
    small, whole = corruptions.measure("flowers", None, "means", [20, 500])
    assert (small["num_images"], whole["num_images"]) == (20, 60)
    for result in (small, whole):
        rows = {row["corruption"]: row for row in result["rows"]}
        assert len(rows) == 9 and all(len(row["mind"]) == 6 for row in rows.values())
        for figure in corruptions.FIGURES:
            assert rows["noise"][figure][2:] == sorted(rows["noise"][figure][2:])
            assert rows["tinted"][f"{figure}_ordered"] == 1
    lines = corruptions.summary([small, whole]).splitlines()
    assert lines[2].startswith("| flowers | 20 | means | plain |") and lines[2].count("|") == lines[0].count("|")


def test_spoilt_images_are_what_they_are_called() -> None:
    corruptions, images = module("corruptions"), np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    moved = corruptions.shuffled_tiles(images, 0.5)
    tiles = [(moved != images)[0, y : y + 2, x : x + 2].any() for y in range(0, 8, 2) for x in range(0, 8, 2)]
    assert sum(tiles) == 8 and sorted(moved[0].flatten()) == sorted(images[0].flatten())
    assert np.array_equal(corruptions.mixed(images, 0), images)
    half = corruptions.mixed(images, 0.5).astype(int)
    assert np.abs(half - (images.astype(int) + images[::-1]) / 2).max() <= 0.5
    red, green, blue = np.moveaxis(corruptions.tinted(np.full((1, 2, 2, 3), 250, np.uint8), 20), 3, 0)
    assert (red.max(), green.max(), blue.max()) == (255, 250, 230)


def test_the_speed_of_backbones_is_measured_with_and_without_gradients() -> None:
    backbones, threads = module("backbones"), torch.get_num_threads()
    found = list(backbones.measure([32], [1], 0.01))
    assert [(each["network"], each["batch"]) for each in found] == [("lite0", 128), ("lite1", 128)]
    assert all(each["forward"] > each["gradient"] > 0 for each in found) and torch.get_num_threads() == threads
    line = {"network": "lite0", "side": 64, "threads": 1, "batch": 32, "forward": 600, "gradient": 200}
    assert backbones.table([line]).endswith("| lite0 | 64 | 1 | 32 | 600 | 200 |")


def test_extractors_of_other_seeds_are_compared() -> None:
    seeds = module("extractor_seeds")
    one = {"clean": 1.0, "noise 5": 2.0, "noise 10": 4.0, "dropped_classes 0.1": 3.0}
    other = dict(zip(one, (1.0, 4.0, 4.4, 2.0), strict=True))
    found = seeds.agreement([("net 0", one), ("net 1", other)])
    assert found["fids"] == [one, other]
    assert found["rank_correlations"] == [0.8]
    assert found["factors"]["largest"] == 2 and found["factors"]["median"] == 1.3
    line = seeds.table([{"data": "mnist", "extractor": "classifier", "seeds": [0, 1], **found}]).splitlines()[-1]
    assert line == "| mnist | classifier | 0, 1 | net 0; net 1 | 0.800 | x 1.30 | x 1.93 | x 2.00 | noise 5 |"


def test_networks_of_another_seed_begin_elsewhere_and_are_kept_elsewhere() -> None:
    seeds, spec = module("extractor_seeds"), ImageSpec(height=8, width=8, channels=1)
    before = Backbone(spec, width=4, num_features=4).state_dict()["layers.0.weight"]
    with seeds.learnt_from(1):
        other = Backbone(spec, width=4, num_features=4).state_dict()["layers.0.weight"]
        assert (learning.LEARNING_SEED, classifier.LEARNING_SEED, learning.RECIPE) == (1, 1, "exp1")
    assert not torch.equal(before, other)
    assert torch.equal(before, Backbone(spec, width=4, num_features=4).state_dict()["layers.0.weight"])
    assert (learning.LEARNING_SEED, classifier.LEARNING_SEED) == (0, 0)


def test_a_kept_generator_is_too_good_on_the_seeds_that_selected_it() -> None:
    seed_bias = module("seed_bias")
    runs = [
        {
            "seed": seed,
            "measurements": 50,
            "kept at kimg": 20.0,
            "selecting": 9.0 + seed / 10,
            "others": [9.5, 10.5],
            "before": 9.9 + seed / 10,
            "now": 10.0 + seed / 10,
        }
        for seed in range(3)
    ]
    text = seed_bias.table(runs)
    assert "| 1 | 50 | 20.0 | 9.100 | 10.000 (0.707) | 10.000 | 10.100 |" in text
    assert "FID of 1,000 images: -9.0 % (95 % interval -11.5 to -6.5 %)" in text
    assert "FID of 10,000 images: -1.0 %" in text


def test_the_algorithms_of_convolutions_are_measured_in_turn() -> None:
    convolutions = module("convolutions")
    found = convolutions.measured(8, 3, 32, 8, 4, 2, 1, rounds=2)
    assert (found["shape"], found["gflop"]) == ("3 to 32, 8 to 4 px", 0.0)
    assert list(found["passes"]) == ["forward", "input-gradient", "weight-gradient"]
    for each in found["passes"].values():
        assert each["taken"] in each and each["direct"] > 0 and each["contiguous"] > 0 and each["matmul"] > 0
    assert convolutions.table([{"layer": "small", **found}]).splitlines()[2].count("**") == 6


# --- speed -------------------------------------------------------------------------------------------------

SLEEPER = """
import sys
sys.path.insert(0, {folder!r})
from rounds import serve, timed
print("a library says hello")
serve(timed(lambda: sum(range(1000)), images=7), precision="exact")
"""


def test_contenders_take_turns(tmp_path: Path) -> None:
    speed = module("speed")
    script = tmp_path / "contender.py"
    script.write_text(SLEEPER.format(folder=str(FOLDER / "peers")))
    contenders = [speed.Contender(name, (sys.executable, str(script))) for name in ("gansmith", "other")]
    answers = speed.compete(contenders, rounds=2, seconds=0.001)
    assert [len(found) for found in answers.values()] == [2, 2]
    for contender in contenders:
        assert contender.about == {"ready": True, "precision": "exact"}
        assert contender.process.returncode == 0
        for answer in answers[contender.name]:
            assert answer["steps"] >= 1
            assert answer["images_per_second"] == pytest.approx(7 * answer["steps"] / answer["seconds"], rel=0.5)


def test_a_contender_that_dies_is_named(tmp_path: Path) -> None:
    speed = module("speed")
    contender = speed.Contender("other", (sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(SystemExit, match="other: ended before it had measured"), contender.ready():
        pass


def test_ratios_are_of_the_same_round() -> None:
    speed = module("speed")
    other = speed.Contender("TensorFlow", ())
    ours = [answered(40.0), answered(10.0), answered(30.0)]
    theirs = [answered(20.0), answered(20.0), answered(10.0)]
    limit = [{"usual": {"a": 2e9, "b": 8e9}, "own": 4e9}, {"usual": {"a": 3e9, "b": 1e9}, "own": 1e9}]
    found = speed.row("dcgan-mnist", other, {"gansmith": ours, "TensorFlow": theirs, "limit": limit})
    assert found["images_per_second"] == [20, 10, 20]
    assert found["gansmith_over_this_images_per_second"] == [2, 0.5, 3]
    assert found["usual_gflops"] == {"a": 3, "b": 8}
    assert (found["limit_gflops"], found["own_gflops"]) == (8, 4)
    assert found["gflops"] == pytest.approx(20 * found["gflop_per_image"], rel=0.01)
    assert found["share_of_limit"] == pytest.approx(found["gflops"] / 8, abs=0.001)
    assert "| TensorFlow | 20 (10 to 20) | 2.00 (0.50 to 3.00) |" in speed.table([found])


def answered(speed: float) -> dict[str, float]:
    return {"images_per_second": speed, "images_per_cpu_second": speed, "peak_memory_mib": 100}


def test_only_speed_ups_that_a_part_has_are_switched_off() -> None:
    matters = module("speed").matters
    assert [matters("fast-dropout", part) for part in ("dcgan-mnist", "dcgan-64")] == [True, False]
    assert [matters("lazy-penalties", part) for part in ("dcgan-r1", "dcgan-64")] == [True, False]
    assert matters("bfloat16", "dcgan-64")


# --- quality -----------------------------------------------------------------------------------------------


def result(contender: str, seed: int, curve: list[list[float]], **changes: Any) -> dict[str, Any]:
    seconds, kimg, fid = curve[-1]
    place = {"data": "mnist", "size": 28, "contender": contender, "length": "10 s", "seed": seed, "num": 100}
    machine = dict.fromkeys(("processor", "cores", "threads", "device_name", "precision", "torch"), "x")
    end = {"fid": fid, "seconds": seconds, "kimg": kimg, "classes_covered": 9.0, "classes": "of 10; not 7"}
    seen = {"seen": "all", "curve_seen": "some", "commit": "abc"}
    figures = {"seconds": seconds, "kimg": kimg, "best": end, "last": end, "curve": curve}
    return {**place, **machine, **seen, **figures, **changes}


OURS = [result("auto", seed, [[1, 2, 90.0], [4, 8, 40.0 + seed], [10, 20, 20.0]]) for seed in (0, 1)]
OTHERS = [result("other", seed, [[2, 1, 80.0], [8, 4, 41.0], [10, 5, 60.0]]) for seed in (0, 1)]


def test_a_curve_keeps_its_last_figure() -> None:
    value_at = module("quality_tables").value_at
    assert [value_at(OURS[0]["curve"], moment) for moment in (0.5, 1, 3.9, 4, 99)] == [None, 90, 90, 40, 20]


def test_passing_counts_figures_of_the_same_network_only() -> None:
    overtaken = module("quality_tables").overtaken
    assert overtaken(OURS, 41.0, "some") == 4
    assert overtaken(OURS, 40.5, "some") == 7  # the median of 4 and 10
    assert overtaken(OURS, 40.5, "all") == 10  # what was tracked was seen through another
    assert overtaken(OURS, 19.0, "some") == float("inf")


def test_the_tables_tell_medians_and_who_passed_whom() -> None:
    text = module("quality_tables").tables(OURS + OTHERS, "auto")
    assert "| mnist 28 px | auto | 10 s | 2 | 100 | 20 (20 to 20) |" in text
    assert "9 (9 to 9) of 10" in text
    assert "| mnist 28 px | auto | 10 s | 90 | 40.5 | 40.5 |" in text  # after 2, 4 and 8 seconds
    assert "| mnist 28 px | other | 10 s | 41 | 8 | 4 | 1/2 | 1/3 of it |" in text


def test_the_tables_tell_what_the_guard_said() -> None:
    alarms = module("quality_tables").alarms
    quiet = [{**each, "alarms": []} for each in OURS]
    assert alarms([*quiet, *OTHERS]) == "The guard watched 2 of these trainings, 40 kimg in all, and said nothing."
    loud = {**OURS[0], "alarms": ["D has won."]}
    assert alarms([loud]).splitlines() == [
        "The guard watched 1 of these trainings, 20 kimg in all, and said:",
        "- mnist 28 px auto 10 s, seed 0: D has won.",
    ]


def test_the_curves_are_drawn(tmp_path: Path) -> None:
    path = module("quality_tables").plot(OURS + OTHERS, tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_results_of_a_trial_replace_older_ones(tmp_path: Path) -> None:
    quality = module("quality")
    for each in (*OURS, *OTHERS, {**OURS[1], "commit": "newer"}):
        quality.write(tmp_path / "x", each)
    found = quality.read(tmp_path / "x")
    assert [(each["contender"], each["seed"], each["commit"]) for each in found] == [
        ("auto", 0, "abc"), ("auto", 1, "newer"), ("other", 0, "abc"), ("other", 1, "abc")
    ]  # fmt: skip
    trial = quality.Trial("mnist", 28, "auto", "10 s")
    assert [quality.known(tmp_path / "x", trial.key(seed)) for seed in (1, 2)] == [True, False]


# --- sweeps ------------------------------------------------------------------------------------------------


def test_variants_are_names_with_the_fields_that_they_change() -> None:
    parser, read = argparse.ArgumentParser(), module("sweep").variants
    words = ["base", "wide one", "model.width=48", "model.init=dcgan", "plain", "augment=null"]
    changed = {"model.width": 48, "model.init": "dcgan"}
    assert read(words, parser) == {"base": {}, "wide one": changed, "plain": {"augment": None}}
    for wrong in ([], ["model.width=48"]):
        with pytest.raises(SystemExit):
            read(wrong, parser)


def test_a_sweep_trains_judges_and_puts_the_best_variant_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning, "MOST_EPOCHS", 1)  # the judge need not be good; no other test reads it
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    small = ["model.width=4", "batch_size=8"]
    words = ["little", *small, "more", *small, "model.max_multiple=2", "wrong", "model.width=0"]
    where = ["--work", str(tmp_path / "runs"), "--out", str(tmp_path / "sweep")]
    options = ["--digits", "--lengths", "8 steps", "--num", "600", *where]
    monkeypatch.setattr(sys, "argv", ["sweep", *words, *options])
    module("sweep").main()
    lines = [line for line in (tmp_path / "sweep.md").read_text().splitlines() if line.startswith("| ")][2:]
    names = [line.split(" | ")[0].strip("| ") for line in lines]
    figures = [float(line.split(" | ")[3].partition(" ")[0].replace(",", "")) for line in lines[:2]]
    assert sorted(names[:2]) == ["little", "more"]
    assert figures == sorted(figures)
    assert names[2] == "wrong"
    assert "failed: config.model.width" in lines[2]
    assert sorted(path.suffix for path in (tmp_path / "runs").iterdir()) == [".png", ".png"]
    assert "`model.max_multiple=2`" in capsys.readouterr().out


def test_the_tutorials_digits_are_read_plain_and_packed(tmp_path: Path) -> None:
    tutorial = module("tensorflow_tutorial")
    pixels = np.arange(2 * 28 * 28, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(bytes(16) + pixels.tobytes())
    read = tutorial.digits(tmp_path)
    assert read.shape == (2, 28, 28, 1)
    assert (read.min(), read.max()) == (-1, 1)
    with pytest.raises(SystemExit, match="holds neither"):
        tutorial.digits(tmp_path / "nowhere")


def test_the_first_picture_is_timed_in_rounds_of_which_the_first_does_not_count() -> None:
    script = importlib.import_module("first_picture")
    rows = script.time_commands({"short": [sys.executable, "-c", ""], "long": [sys.executable, "-c", "import json"]}, 2)
    assert [row["command"] for row in rows] == ["short", "long"]
    assert all(0 < row["median"] <= row["most"] for row in rows)
    assert script.table([{"command": "x", "median": 1.26, "most": 2}]).endswith("| `x` | 1.3 | 2.0 |")


def test_the_table_of_fine_tuning_has_a_column_for_each_length() -> None:
    results = [
        {"case": "dogs", "start": "noise", "kimg": 0.0, "kid_x1000": 512.4},
        {"case": "dogs", "start": "noise", "kimg": 5.024, "kid_x1000": 80.6},
        {"case": "dogs", "start": "parent", "kimg": 2.528, "kid_x1000": 40.0},
        {"case": "gtsrb", "start": "noise", "kimg": 0.0, "kid_x1000": 1512.0},
    ]
    assert module("finetune").table(results).splitlines() == [
        "| dogs | 0 kimg | 2.5 kimg | 5 kimg |",
        "|---|---|---|---|",
        "| noise | 512 |  | 81 |",
        "| parent |  | 40 |  |",
        "",
        "| gtsrb | 0 kimg |",
        "|---|---|",
        "| noise | 1,512 |",
    ]
