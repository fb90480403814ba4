"""The whole test, from a run to its files: never a test image in training, interruption, damage, and refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith import api
from gansmith.cli import main
from gansmith.component import from_plain
from gansmith.data.batches import split
from gansmith.data.digits import Digits
from gansmith.data.gtsrb_classes import GTSRB_CLASSES
from gansmith.data.store import Preparation, prepare
from gansmith.errors import ConfigError
from gansmith.plain_json import read_json, write_json
from gansmith.runs import RunFolder
from gansmith.utility import run as utility_run
from gansmith.utility.arms import Material
from gansmith.utility.options import UtilityOptions, refuse_no_arms
from gansmith.utility.results import UtilityResults

SMALL = ("--steps", "5", "--seeds", "2", "--synthetic", "3", "--per_class", "all,4")
CHANGES = {"batch_size": 4, "preparation.size": [8, 8], "guard": None, "tracking": None, "model.width": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of digits that has held out a fifth."""
    run = tmp_path_factory.mktemp("utility") / "run"
    api.train("digits", preset="dcgan-r1", length="1 steps", run=run, overrides={**CHANGES, "held_out": 0.2})
    return run


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of gray pictures, called like two of GTSRB's classes, and a run on a part of them."""
    from PIL import Image

    home = tmp_path_factory.mktemp("signs")
    for name, level in ((GTSRB_CLASSES[14], 40), (GTSRB_CLASSES[13], 200)):
        for part, num in (("train", 8), ("more", 6)):
            (home / part / name).mkdir(parents=True)
            for i in range(num):
                pixels = np.random.default_rng([level, i, num]).integers(level - 20, level + 20, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(home / part / name / f"{i}.png")
    changes = {**CHANGES, "held_out": 0}
    api.train(home / "train", preset="dcgan-r1", length="1 steps", run=home / "run", overrides=changes)
    return home


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("gansmith.utility.classifier.WIDTH", 4)
    monkeypatch.setattr("gansmith.utility.classifier.NUM_FEATURES", 4)
    monkeypatch.setattr("gansmith.utility.statistics.REPLICATES", 20)
    yield


def carry_out(*words: str | Path) -> int:
    return main(["utility", *map(str, words)])


def test_the_command_writes_tables_and_one_sentence_and_continues(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    materials: list[Material] = []
    prepare_all = utility_run._prepare
    monkeypatch.setattr(
        utility_run, "_prepare", lambda *given: materials.append((test := prepare_all(*given)).material) or test
    )
    assert carry_out(trained, *SMALL, "--out", out) == 0
    printed = " ".join(capsys.readouterr().out.split())
    results = from_plain(UtilityResults, read_json(out / "utility.json"), "utility.json")
    assert results.sentence in printed and "2 seeds" in printed
    arms = [(each.arm, each.amount, each.num_real, each.num_synthetic) for each in results.summaries]
    store = prepare(Digits(), Preparation(size=(8, 8)))
    training, held_out = split(store, 0.2, least=20)
    lacking = int((np.bincount(store.labels[training]).max() - np.bincount(store.labels[training])).clip(max=3).sum())
    num = len(training)
    assert arms == [
        ("real", "all", num, 0),
        ("augmented", "all", num, 0),
        ("gan", "all", num, 30),
        ("rare", "all", num, lacking),
        ("real", "4", 40, 0),
        ("augmented", "4", 40, 0),
        ("gan", "4", 40, 30),
        ("gan-only", "none", 0, 30),
    ]
    assert results.tested_on == f"{len(held_out):,} real images of digits, held out by the run"
    assert any("flatters" in note and "4 real images" in note for note in results.notes)
    assert (
        "no drawer for the classes of digits" in results.left_out[0]
        and "rare classes at 4 a class" in results.left_out[1]
    )
    assert_never_tested(materials[0], store.images[held_out])
    assert_consistent(out, results, store.labels[held_out])
    for suffix in ("md", "html"):
        assert "real + GAN" in (out / f"utility.{suffix}").read_text("utf-8")

    monkeypatch.setattr("gansmith.utility.run.train_classifier", fail)
    assert carry_out(trained, *SMALL, "--out", out, "--json") == 0  # all cells are kept
    again = json.loads(capsys.readouterr().out)
    assert (
        again["summaries"] == read_json(out / "utility.json")["summaries"] == json.loads(json.dumps(again["summaries"]))
    )


def assert_never_tested(material: Material, tested: np.ndarray) -> None:
    known = {image.tobytes() for image in material.real.images}
    assert not known & {image.tobytes() for image in tested} and len(material.real) + len(tested) == 1797


def assert_consistent(out: Path, results: UtilityResults, labels: np.ndarray) -> None:
    """The summaries are those of the predictions in the cells."""
    for summary in results.summaries:
        files = sorted((out / "cells").glob(f"{summary.arm}-{summary.amount}-*.json"))
        values = [np.mean(np.array(read_json(file)["predicted"]) == labels) for file in files]
        assert len(values) == 2 and summary.values[0].value == pytest.approx(np.mean(values))


def fail(*given: Any, **named: Any) -> bool:
    raise AssertionError("a classifier was trained again")


def test_cells_of_other_settings_and_damaged_ones_are_trained_again(trained: Path, tmp_path: Path) -> None:
    few = ("--arms", "real,gan", "--per_class", "4", "--seeds", "1", "--synthetic", "3", "--out", tmp_path)
    assert carry_out(trained, *few, "--steps", "4") == 0
    cells = {path: path.read_bytes() for path in (tmp_path / "cells").glob("*.json")}
    assert sorted(path.stem for path in cells) == ["gan-4-0", "real-4-0"]
    assert carry_out(trained, *few, "--steps", "5") == 0
    changed = {path: path.read_bytes() for path in cells}
    assert all(changed[path] != cells[path] for path in cells)
    first, second = sorted(cells)
    first.write_text("{", "utf-8")
    write_json(second, {**read_json(second), "predicted": [10] * 360})  # no class has this number
    assert carry_out(trained, *few, "--steps", "5") == 0
    assert {path: path.read_bytes() for path in cells} == changed  # and equal: a cell is a function of its name


def test_a_stopped_test_says_how_to_continue_and_continues(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--arms", "real", "--per_class", "4", "--seeds", "3", "--steps", "4", "--out", tmp_path)
    train = utility_run.train_classifier

    def stop_in_the_second(network: Any, arm: Any, material: Any, seed: int, **named: Any) -> bool:
        if seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return train(network, arm, material, seed, **named)

    monkeypatch.setattr(utility_run, "train_classifier", stop_in_the_second)
    assert carry_out(trained, *few) == 130
    out = capsys.readouterr().out
    assert "stopped; continue: repeat the same command; 1 of 3 classifiers are kept" in " ".join(out.split())
    assert [path.stem for path in (tmp_path / "cells").glob("*.json")] == ["real-4-0"]
    assert not (tmp_path / "utility.json").exists()
    monkeypatch.setattr(utility_run, "train_classifier", train)
    assert carry_out(trained, *few) == 0
    assert "3 classifiers of 4 steps; 2 to train" in capsys.readouterr().out


def test_every_arm_starts_from_the_same_weights_of_its_seed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int, bytes]] = []
    train = utility_run.train_classifier

    def look(network: Any, arm: Any, material: Any, seed: int, **named: Any) -> bool:
        weights = b"".join(tensor.numpy().tobytes() for tensor in network.state_dict().values())
        begun.append((seed, len(arm.order), weights))
        return train(network, arm, material, seed, **named)

    monkeypatch.setattr(utility_run, "train_classifier", look)
    folder = RunFolder.open(trained)
    utility_run.measure_utility(folder, UtilityOptions(amounts=(4,), seeds=2, steps=4, synthetic=2), tmp_path)
    assert len(begun) == 8 and len(set(begun)) == 2  # 4 arms of 2 seeds
    assert {seed for seed, _, _ in begun} == {0, 1}


# --- what is tested ----------------------------------------------------------------------------------------


def test_signs_have_drawn_arms_and_another_test_set_is_taken(
    signs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--test", signs / "more", "--steps", "4", "--seeds", "1", "--synthetic", "2", "--out", tmp_path, "--json")
    assert carry_out(signs / "run", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tested_on"] == "12 real images of more"
    drawn = [each for each in found["summaries"] if each["arm"] in ("drawn", "drawn-only")]
    assert [(each["num_real"], each["num_synthetic"]) for each in drawn] == [(16, 4), (0, 4)]
    assert "Nothing is shown about generated images with one seed" in found["sentence"]
    assert any("50 real images a class, because no class has more than 8" in line for line in found["left_out"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "was trained on all images of train, so none is left to test on; name others with --test DATA"),
        (("--test", "train"), "train: 16 of 16 test images are training images of"),
        (("--arms", "real,gann"), "--arms: no arm is called 'gann'; did you mean 'gan'?"),
        (("--per_class", "all,0"), "--per_class: expected numbers of images and 'all', as in all,50,10; got '0'"),
        (("--steps", "3"), "utility.steps: 3 is out of range; expected from 4 to 10000000"),
        (("--seeds", "0"), "utility.seeds: 0 is out of range; expected from 1 to 1000"),
        (("--arms", ","), "--arms, --per_class: expected at least one of each"),
        (("--root", "there"), "--root: says where the data set of --against lies; name that too"),
        (("--against", "digits"), "8x8"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(
    signs: Path, tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(signs / word) if word == "train" else word for word in words]
    assert carry_out(signs / "run", *given, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.glob("out/utility.*"))


def test_a_run_whose_data_are_gone_is_doubted_aloud(
    signs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(signs / "run", tmp_path / "run")
    config = read_json(tmp_path / "run" / "config.json")
    config["data"]["path"] = str(tmp_path / "gone")
    write_json(tmp_path / "run" / "config.json", config)
    words = ("--against", signs / "more", "--arms", "real,gan", "--steps", "4", "--seeds", "2", "--synthetic", "2")
    assert carry_out(tmp_path / "run", *words, "--per_class", "all", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentence"].startswith("NOT RELIABLE, because the run may have been trained on them")
    assert found["tested_on"] == "2 real images of more, held out for this test"
    assert (tmp_path / "run" / "utility" / "utility.md").exists()


def test_a_run_without_labels_leaves_out_the_arms_of_the_gan(
    tmp_path: Path, signs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {**CHANGES, "held_out": 0.25, "use_labels": False}
    api.train(signs / "train", preset="dcgan-r1", length="1 steps", run=tmp_path / "run", overrides=changes)
    words = ("--steps", "4", "--seeds", "2", "--synthetic", "1", "--json", "--per_class", "all")
    capsys.readouterr()
    assert carry_out(tmp_path / "run", *words) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["arm"] for each in found["summaries"]} == {"real", "augmented", "drawn", "drawn-only"}
    assert "because the run was trained without labels" in found["left_out"][0]
    assert "no arm with them was compared" in found["sentence"]


def test_python_returns_the_results(trained: Path, tmp_path: Path) -> None:
    found = api.open_run(trained).utility(arms=("real",), amounts=(4,), seeds=1, steps=4, out=tmp_path)
    assert [each.arm for each in found.summaries] == ["real"] and (tmp_path / "utility.json").exists()


def test_python_refuses_what_the_command_line_does() -> None:
    with pytest.raises(ConfigError, match="no arm is called 'gann'; did you mean 'gan'"):
        refuse_no_arms(UtilityOptions(arms=("real", "gann")))
    with pytest.raises(ConfigError, match="expected at least one of each"):
        refuse_no_arms(UtilityOptions(amounts=()))
    for field, value in (("held_out", 0.0), ("held_out", 1.0), ("difficulty", 1.1), ("seeds", 0), ("amounts", (0,))):
        with pytest.raises(ConfigError, match=rf"UtilityOptions\.{field}.*"):
            UtilityOptions(**{field: value})  # type: ignore[arg-type]
