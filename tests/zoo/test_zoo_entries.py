"""The entries that are shipped, and the scripts that make them."""

from __future__ import annotations

import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from small_zoo import RECIPE, ROOT, use

# isort: split
import archives
import build
from builder import measure, pack, photos, train

from gansmith import api
from gansmith.training.config import load_config
from gansmith.zoo.manifest import read_manifest
from gansmith.zoo.places import find_run

RECIPES = sorted(path.stem for path in (ROOT / "zoo" / "recipes").glob("*.toml"))
MANIFEST = json.loads((ROOT / "src" / "gansmith" / "zoo" / "manifest.json").read_text(encoding="utf-8"))
NAMES = [name for name in MANIFEST if name != "seal"]
LARGEST_IN_ALL = {"gansmith": 10_000_000, "gansmith-zoo": 30_000_000}


# --- the real entries --------------------------------------------------------------------------------------


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "zoo"))


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_holds_what_the_manifest_says(name: str) -> None:
    entry, folder = read_manifest()[name], find_run(f"zoo:{name}")
    config, card = load_config(folder / "config.json"), (folder / "README.md").read_text(encoding="utf-8")
    assert entry.num_bytes <= pack.LARGEST_BYTES
    assert card.startswith("---\nlicense: ") and f"python zoo/build.py {name}" in card and "memorisation" in card
    assert f"zoo:{name}" in card and re.search(r"!\[Samples\]\((\S+)\)", card)
    assert str(config.source.kind) in ("signs", "digits", "photos")
    assert len(entry.fid) >= 1
    images = api.open_run(f"zoo:{name}").generator().sample(3).images
    assert f"{images.shape[2]}x{images.shape[1]}" == entry.size and images.std() > 5


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("name", NAMES)
def test_an_entry_tells_nothing_of_the_machine(name: str) -> None:
    for path in find_run(f"zoo:{name}").rglob("*.*"):
        if path.suffix in (".json", ".jsonl", ".md"):
            assert not re.search(r"/(root|home|work|tmp|Users)/|\"pid\"", path.read_text(encoding="utf-8")), path


def test_all_entries_have_a_recipe_and_fit() -> None:
    assert set(NAMES) <= set(RECIPES)
    for place, most in LARGEST_IN_ALL.items():
        assert sum(entry.num_bytes for entry in read_manifest().values() if entry.place == place) <= most
    folders = [path.name for home in pack.HOMES.values() for path in home.iterdir()] if NAMES else []
    assert sorted(folders) == sorted(NAMES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_read(name: str) -> None:
    recipe = train.Recipe.read(name)
    assert recipe.rights and recipe.limits and recipe.length.endswith(" kimg")
    assert recipe.place == ("gansmith" if recipe.license == "MIT" else "gansmith-zoo")


# --- the scripts -------------------------------------------------------------------------------------------


def test_a_small_entry_has_a_card(zoo: Path) -> None:
    card = (zoo / "entries" / "tiny" / "README.md").read_text(encoding="utf-8")
    head, body = card.split("---\n")[1:3]
    fields = {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in head.splitlines()}
    assert fields["license"] == "bsd-3-clause" and fields["library_name"] == "gansmith"
    assert fields["model-index"][0]["results"][0]["metrics"][0]["type"] == "fid"
    for text in ("| fid |", "| precision |", "| memorisation |", "stored in float16", "at most", "3 steps"[:1]):
        assert text in body
    assert "They belong to scikit-learn." in body and "It has hardly been trained." in body
    (sheet,) = (zoo / "entries" / "tiny" / "images").iterdir()
    assert f"![Samples](images/{sheet.name})" in body


def test_what_only_this_machine_knows_is_left_out(zoo: Path, built: Path) -> None:
    for path in (zoo / "entries" / "tiny").rglob("*"):
        if path.suffix in (".json", ".jsonl", ".md"):
            text = path.read_text(encoding="utf-8")
            assert str(built) not in text and '"pid"' not in text, path
    assert not (zoo / "entries" / "tiny" / "nearest.png").exists()


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = zoo / "entries" / "tiny"
    run = train.train_entry("tiny", tmp_path, tmp_path / "work", entry / "environment.json")
    assert pack.differing_weights(entry, measure.halve_run(run, tmp_path / "half")) == []
    other = train.train_entry("other", tmp_path, tmp_path / "work", entry / "environment.json")
    differing = pack.differing_weights(entry, measure.halve_run(other, tmp_path / "half"))
    assert differing == ["generator_ema.safetensors", "discriminator.safetensors"]


def test_rounding_is_measured(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, built)
    run, half = (built / "work" / kind / "tiny" for kind in ("runs", "half"))
    measured = api.open_run(half).measurements()[0]
    rounding = measure.measure_rounding(run, half, measured, 300)
    assert 0 <= rounding.most <= 2 and rounding.mean < 0.1
    assert rounding.fid == pytest.approx(rounding.fid_half, rel=0.01)
    assert rounding.fid_half == measured.values["fid"].value


def test_a_weight_that_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(SystemExit, match="w: a weight is too large for float16"):
        measure._halve({"w": torch.tensor([1e6])})


def test_photographs_become_one_zip_that_is_always_the_same(tmp_path: Path) -> None:
    for archive, names in (
        ("flowers_128", ("flowers/rose/b.jpg", "flowers/rose/a.jpg")),
        ("dogs_256", ("dogs/0.jpg",)),
    ):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with zipfile.ZipFile(tmp_path / "folder" / f"{archive}.zip", "w") as target:
            for name in (*names, "README.md"):
                target.writestr(name, name)
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    assert photos.collect_photos(tmp_path, first) == photos.collect_photos(tmp_path, second) == 3
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as made:
        assert made.namelist() == ["rose/a.jpg", "rose/b.jpg", "dog/0.jpg"]
        assert made.read("dog/0.jpg") == b"dogs/0.jpg"


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(SystemExit, match="nothing: no recipe of this name; expected one of cifar10, "):
        train.Recipe.read("nothing")


def test_a_path_to_the_photographs_is_replaced(zoo: Path, built: Path, tmp_path: Path) -> None:
    (zoo / "recipes" / "tiny.toml").write_text(RECIPE.format(seed=0).replace('data = "digits"', 'data = "photos.zip"'))
    half = tmp_path / "half"
    shutil.copytree(built / "work" / "half" / "tiny", half)
    text = (half / "config.json").read_text(encoding="utf-8")
    plain = {key: value for key, value in json.loads(text).items() if key != "seal"}
    plain["data"] = {"name": "folder", "path": f"{tmp_path}/photos.zip"}
    (half / "config.json").write_text(json.dumps(plain))
    pack._hide_machine("tiny", train.Recipe.read("tiny"), half)
    assert json.loads((half / "config.json").read_text(encoding="utf-8"))["data"]["path"] == "photos.zip"


def test_one_command_builds_an_entry_and_checks_it(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(zoo / "entries")
    (zoo / "manifest.json").write_text("{}")
    words = ["build.py", "tiny", "--work", str(tmp_path / "work"), "--spaces", "random-conv", "--num", "300"]
    monkeypatch.setattr(sys, "argv", [*words, "--only-train"])
    build.main()
    assert "repeat the command to continue" in capsys.readouterr().out and not (zoo / "entries").exists()
    monkeypatch.setattr(sys, "argv", words)
    build.main()
    assert find_run("zoo:tiny") == zoo / "entries" / "tiny"
    monkeypatch.setattr(sys, "argv", [*words, "--check"])
    build.main()
    assert "tiny: the same weights, bit for bit" in capsys.readouterr().out
    archive = tmp_path / "archives" / "tiny.zip"
    monkeypatch.setattr(sys, "argv", ["archives.py", str(archive.parent)])
    archives.main()
    assert archive.stat().st_size == read_manifest()["tiny"].archive.num_bytes
    flipped = bytearray((zoo / "entries" / "tiny" / "config.json").read_bytes())
    flipped[5] ^= 1
    (zoo / "entries" / "tiny" / "config.json").write_bytes(flipped)
    with pytest.raises(SystemExit, match=r"tiny.zip: differs from the manifest"):
        archives.main()


def test_measurements_and_rounding_are_made_once(zoo: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, half = (built / "work" / kind / "tiny" for kind in ("runs", "half"))
    monkeypatch.setattr(measure, "evaluate", lambda *_, **__: pytest.fail("measured twice"))
    assert measure.halve_run(run, half) == half
    (measured,) = measure.measure_entry(half, ["random-conv"], 300)
    assert measure.measure_rounding(run, half, measured, 300).fid_half == measured.values["fid"].value
