"""The command line, as a user types it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gansmith.cli import COMMANDS, main
from gansmith.component import to_plain
from gansmith.training import session
from gansmith.training.config import flat


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve small photographs in two class folders."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for i in range(12):
        path = folder / ("cat" if i % 2 else "dog") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (20, 20, 3), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them, hardly trained."""
    path = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", str(photos), "--run", str(path), "--length", "4 steps", "--size", "16", "--batch-size=4"]
    small = ["--model.width", "4", "--samples.columns", "3", "--samples.every", "50 %", "--tracking.num", "100"]
    assert main([*words, *small]) == 0
    return path


def said(words: Sequence[str], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    """What a command prints, which must be one line of error where it fails."""
    capsys.readouterr()
    assert main(list(words)) == status
    printed = capsys.readouterr()
    if status:
        assert printed.err.count("\n") == 1
        assert printed.err.startswith("error: ")
        return printed.err
    return printed.out


EACH_IN_A_FORK = """
import json, os, sys
from gansmith.cli import main
for words in json.loads(sys.argv[1]):
    sys.stdout.flush()
    print("begin " + json.dumps(words), flush=True)
    if not (pid := os.fork()):
        code = 9
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            os._exit(code or ("torch" in sys.modules))
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("end " + json.dumps(code))
"""
HELPS = [["--help"], *([verb, "--help"] for verb in COMMANDS)]


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each call of help printed and ended with, each in a process that has imported the command line alone."""
    words = [sys.executable, "-c", EACH_IN_A_FORK, json.dumps(HELPS)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return dict(part.split("\n", 1) for part in done.stdout.split("begin ")[1:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each is tried in a fork")
@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_answers_without_torch(words: list[str], helps: dict[str, str]) -> None:
    printed = helps[json.dumps(words)]
    assert printed.endswith("end 0\n")
    assert "usage" in printed


def test_a_training_leaves_the_documented_files(trained: Path) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert names >= {
        "config.json",
        "data.json",
        "environment.json",
        "status.json",
        "stats.jsonl",
        "losses.png",
        "progress.gif",
        "images/real.png",
        "images/fakes_000000000.png",
        "images/fakes_000000008.png",
        "images/fakes_000000016.png",
        "training_checkpoints/000004/generator.safetensors",
        "training_checkpoints/000004/generator_ema.safetensors",
        "training_checkpoints/000004/discriminator.safetensors",
        "training_checkpoints/000004/optimizers.safetensors",
        "training_checkpoints/000004/state.json",
    }
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth"))]


@pytest.mark.usefixtures("real_pictures")
def test_what_a_training_says(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(photos), "--run", str(tmp_path / "run"), "--length", "2 steps", "--batch_size", "4"]
    text = said([*words, "--model.width", "4", "--size", "16", "--tracking.num", "50"], capsys)
    assert "12 images, 2 of them held out, 16x16 RGB, 2 classes" in text
    assert (tmp_path / "run" / "progress.mp4").exists()
    assert f"gansmith resume {tmp_path / 'run'}" in text


def test_resume_trains_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "finished at step 6" in said(["resume", str(trained), "--length", "6 steps"], capsys)


def test_sample_writes_a_sheet_a_folder_or_arrays(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(["sample", str(trained), "--num", "6", "--out", str(tmp_path / "grid.png")], capsys)
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.mode == "RGB"
    said(["sample", str(trained), "--num", "5", "--label", "cat", "--out", str(tmp_path / "cats")], capsys)
    assert len(list((tmp_path / "cats").glob("class000_cat_seed*.png"))) == 5
    words = ["--num", "3", "--seed", "7", "--truncation", "0.5", "--no-ema", "--out", str(tmp_path / "x.npz")]
    said(["sample", str(trained), *words], capsys)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["images"].shape == (3, 16, 16, 3)
        assert arrays["labels"].shape == (3,)


@pytest.mark.parametrize("out", ["walk.png", "walk.gif", "walk"])
def test_interpolate_writes_a_walk(out: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--from-seed", "3", "--to-seed", "4", "--steps", "5", "--method", "lerp", "--out", str(tmp_path / out)]
    assert "from seed 3 to seed 4" in said(["interpolate", str(trained), *words], capsys)
    assert (tmp_path / out).exists()


def test_interpolate_and_sample_name_the_class_of_all(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "walk.png")]
    assert said(["interpolate", str(trained), "--label", "dog", *out], capsys).startswith("8 images of class dog from")
    one = said(["sample", str(trained), "--num", "1", *out], capsys)
    assert one.startswith(("1 images of class dog: ", "1 images of class cat: "))
    assert said(["sample", str(trained), "--num", "40", *out], capsys).startswith("40 images: ")


def test_interpolate_between_random_seeds_says_which(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["interpolate", str(trained), "random", "--out", str(tmp_path / "walk.png")]
    assert said(words, capsys) != said(words, capsys)


def test_data_prepare_and_check(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "12 images, 16x16 RGB, 2 classes" in said(["data", "prepare", str(photos), "--size", "16"], capsys)
    made = json.loads(said(["data", "prepare", str(photos), "--size", "16", "--json"], capsys))
    assert made["num_images"] == 12 and Path(made["path"]).is_dir()
    text = said(["data", "check", str(photos)], capsys)
    assert "12" in text
    assert "cat" in text
    assert said(["data", str(photos)], capsys) == text
    found = json.loads(said(["data", str(photos), "--json"], capsys))
    assert found["num_images"] == 12
    assert found["sizes"] == {"20x20": 12}


def test_a_class_without_images_is_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npz"
    names = np.array(["cat", "dog", "owl"])
    np.savez(path, images=np.zeros((4, 8, 8, 1), np.uint8), labels=np.array([0, 0, 2, 2]), class_names=names)
    assert "4 images, 8x8 gray, 2 classes and 1 without images: " in said(["data", "prepare", str(path)], capsys)
    np.savez(path, images=np.zeros((4, 8, 8, 1), np.uint8))
    assert "4 images, 8x8 gray: " in said(["data", "prepare", str(path)], capsys)


@pytest.mark.parametrize(
    ("topic", "name"),
    [
        ("presets", "sndcgan-64"),
        ("data", "gtsrb"),
        ("models", "dense"),
        ("losses", "hinge"),
        ("penalties", "r1"),
        ("optimizers", "adamw"),
        ("schedules", "cosine"),
        ("pictures", "files"),
        ("callbacks", "loss-line"),
        ("loggers", "wandb"),
        ("fields", "--model.width"),
    ],
)
def test_list_names_what_there_is(topic: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in said(["list", topic], capsys)


def test_what_is_listed_can_be_read_by_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(said(["list", "losses", "--json"], capsys)).keys() >= {"hinge", "relativistic"}
    assert set(json.loads(said(["doctor", "--json"], capsys))) >= {"torch", "device", "cache", "extras"}


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["--epochs", "2.5"], {"length": "2.5 epochs"}),
        (["--minutes", "10"], {"length": "10 min"}),
        (["--steps", "3000"], {"length": "3000 steps"}),
        (["--steps", "1234567"], {"length": "1234567 steps"}),
        (["--kimg", "1000000"], {"length": "1000000 kimg"}),
        (["--resolution", "24x16"], {"preparation.size": [16, 24]}),
        (["--lr", "1e-3"], {"generator_optimizer.lr": 1e-3, "discriminator_optimizer.lr": 1e-3}),
        (
            ["--lr", "1e-3", "--generator_optimizer.lr", "2e-3"],
            {"generator_optimizer.lr": 2e-3, "discriminator_optimizer.lr": 1e-3},
        ),
        (["--batch-size", "8"], {"batch_size": 8}),
    ],
)
def test_train_understands_what_people_type(
    words: list[str], changed: dict[str, object], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, object]] = []
    monkeypatch.setattr(session, "begin", lambda config, path, _: begun.append(flat(to_plain(config))))
    assert main(["train", str(photos), *words]) == 0
    (config,) = begun
    assert {path: config[path] for path in changed} == changed


def test_sample_interpolate_report_and_resume_print_json_alone(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet, walk, page = tmp_path / "x.png", tmp_path / "walk", tmp_path / "page.html"

    def read(*words: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(said([words[0], str(trained), *words[1:], "--json"], capsys))
        return found

    one_class = {"path": str(sheet), "num_images": 3, "seed": 5, "class_name": "cat"}
    assert read("sample", "--num", "3", "--seed", "5", "--label", "cat", "--out", str(sheet)) == one_class
    ends = {"path": str(walk), "num_images": 3, "from_seed": 1, "to_seed": 2, "class_name": "dog"}
    words = ("--from-seed", "1", "--to-seed", "2", "--steps", "3", "--label", "dog", "--out", str(walk))
    assert read("interpolate", *words) == ends
    assert read("report", "--out", str(page)) == {"path": str(page)}
    assert sheet.is_file() and walk.is_dir() and page.is_file()
    shutil.copytree(trained, tmp_path / "run")
    resumed = json.loads(said(["resume", str(tmp_path / "run"), "--length", "7 steps", "--json"], capsys))
    assert (resumed["run"], resumed["state"], resumed["length"]) == (str(tmp_path / "run"), "finished", "7 steps")
    (listed,) = json.loads(said(["runs", str(tmp_path / "run"), "--json"], capsys))
    assert listed == resumed


def test_demo_names_what_it_wrote(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("run", "report", "images", "samples", "animation", "interpolation")
    paths = {name: f"a demo/{name}" for name in names}
    monkeypatch.setattr("gansmith.cli.demo._make", lambda options, overrides: print("progress") or paths)
    assert json.loads(said(["demo", "--json"], capsys)) == paths
    text = said(["demo"], capsys)
    assert all(paths[name] in text for name in names) and "gansmith sample 'a demo/run' --label stop" in text


def test_resume_understands_the_same_words(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: list[dict[str, object]] = []
    monkeypatch.setattr(session, "go_on", lambda path, given, _: changes.append(dict(given)))
    said(["resume", str(trained), "--epochs", "3", "--lr", "1e-4", "--batch-size", "8"], capsys)
    rates = {"generator_optimizer.lr": 1e-4, "discriminator_optimizer.lr": 1e-4}
    assert changes == [{"length": "3 epochs", **rates, "batch_size": 8}]


def test_doctor_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(["doctor"], capsys)
    assert "trains on" in text
    assert "tensorboard" in text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["trane"], "gansmith trane: no such command; did you mean 'train'?"),
        (["train", "mnits"], "mnist"),
        (
            ["train", "digits", "--preset", "dcgan-mnits"],
            "preset: none is called 'dcgan-mnits'; did you mean 'dcgan-mnist'?",
        ),
        (["train", "digits", "--los", "hinge"], "--los: no such field; did you mean 'loss'?"),
        (["train", "digits", "--loss", "hing"], "--loss: no loss is called 'hing'; did you mean 'hinge'?"),
        (
            ["train", "digits", "--model.widht", "3"],
            "--model.widht: no such field of DCGAN; did you mean 'width'?",
        ),
        (
            ["train", "digits", "--model.width", "many"],
            "--model.width: expected a whole number, got 'many'",
        ),
        (["train", "digits", "--seed", "x"], "--seed: expected a whole number, got 'x'"),
        (["train", "digits", "--length", "ten"], "--length: 'ten' is not a duration"),
        (["train", "digits", "--batch_size"], "--batch_size: needs a value"),
        (
            ["train", "digits", "--tracking.every", "never"],
            'only at the end, "100 %"; to switch it off: --tracking none',
        ),
        (["train", "digits", "--tracking", "off"], "to switch it off: --tracking none"),
        (["train", "digits", "--guard", "false"], "to switch it off: --guard none"),
        (["train", "digits", "--no-tracking"], "to switch an optional part off, use --tracking none"),
        (["train", "digits", "--preparation.size", "48,64"], "expected a size such as 64 or 48x64 (width x height in"),
        (["train", "digits", "--batch-size", "many"], "--batch_size: expected a whole number, got 'many'"),
        (["train", "digits", "--steps", "9", "--length", "9 min"], "--length and --steps: say the same"),
        (["resume", "run", "--kimg", "9", "--epochs", "9"], "--epochs and --kimg: say the same"),
        (["data", "digits", "--size", "large"], "--size: expected a size such as 64 or 48x64"),
        (["data", "digits", "--preparation.size", "large"], "--preparation.size: expected a size such as 64"),
        (["train", "digits", "--size", "9", "--resolution", "9"], "--size and --resolution: say the same"),
        (["train", "digits", "--lr", "-1"], "--generator_optimizer.lr: "),
        (["train", "digits", "--device", "tpu"], "--device"),
        (
            ["train", "digits", "--penalties.0.gama", "1"],
            "--penalties.0.gama: no such field of R1; did you mean 'gamma'?",
        ),
        (["data"], "gansmith data: no data set; name one, or a path: gansmith data path/to/photos"),
        (["data", "chekc", "digits"], "gansmith data chekc: no such action; did you mean 'check'?"),
        (["data", "check", "digits", "mnist"], "gansmith data: one data set at a time, got check digits mnist"),
        (["list", "loses"], "gansmith list: nothing is called 'loses'; did you mean 'losses'?"),
        (["train", "mnist", "--root", ".", "--run", "run"], "mnist"),
        (["train", "digits", "--size", "3", "--model.depth", "3", "--run", "run"], "--model.depth: 3 stages"),
        (["resume", "nowhere"], "nowhere: not a run"),
        (["sample", "nowhere"], "nowhere: not a run"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    words: list[str], error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert error in said(words, capsys, status=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--label", "bird"], "label: no class is called 'bird'; expected one of cat, dog"),
        (["--label", "7"], "label: no class 7; expected 0 to 1, or a class name"),
        (["--truncation", "2"], "truncation: 2.0 is out of range"),
        (["--num", "0"], "num: 0 images cannot be sampled"),
        (["--out", "x.jpg"], "x.jpg: cannot write .jpg files"),
    ],
)
def test_a_mistake_in_sampling_is_one_line(
    words: list[str], error: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error in said(["sample", str(trained), *words], capsys, status=2)


def test_a_second_training_in_the_same_folder_is_refused(
    photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(["train", str(photos), "--run", str(trained)], capsys, status=2)
    assert f"gansmith resume {trained}" in text


@pytest.mark.parametrize(
    "name",
    [
        *("moved [/b] $5 & <i>x", "--help", "it's; rm -r \U0001f600"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("moved [/b] x", "$5 & <i>x", "it's; rm -r", "-run")),
    ],
)
def test_a_run_of_any_name_prints_commands_that_can_be_pasted(
    name: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, name)
    text = said(["resume", f"./{name}", "--length", "5 steps"], capsys)
    for verb in ("sample", "resume"):
        (line,) = (line for line in text.splitlines() if f"gansmith {verb} " in line)
        words = shlex.split(line[line.index("gansmith ") :])
        more = ["6 steps"] if verb == "resume" else []
        assert words[2] in (name, f"./{name}")
        assert said([*words[1:4], *more] if more else words[1:], capsys)
    assert said(["report", f"./{name}"], capsys) == f"{Path(name) / 'report.html'}\n"
    assert "<i>x" not in Path(name, "report.html").read_text(encoding="utf-8")
    again = said(["train", "digits", "--run", f"./{name}"], capsys, status=2)
    assert Path(shlex.split(again[again.index("gansmith ") :])[2]) == Path(name)


@pytest.mark.parametrize("option", ["--size", "--preparation.size"])
def test_a_size_of_two_numbers_is_width_x_height_and_said_so(
    option: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    words = ["train", str(photos), "--run", str(run), "--length", "2 steps", option, "24x32", "--batch_size", "4"]
    text = said([*words, "--model.width", "4", "--tracking", "none"], capsys)
    assert "12 images, 2 of them held out, 24x32 (width x height) RGB, 2 classes" in text
    assert "R1 with gamma" not in text or "for 24x32 (width x height) pixels" in text
    said(["sample", str(run), "--num", "2", "--out", str(out)], capsys)
    for picture in out.iterdir():
        with Image.open(picture) as image:
            assert (image.width, image.height) == (24, 32)
    said(["report", str(run)], capsys)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "24x32 (width x height) RGB" in page and "[32, 24] (height, width)" in page
    assert "24x32 (width x height) RGB" in said(["data", "check", str(photos), option, "24x32"], capsys)
    assert "24x32 (width x height) RGB" in said(["data", "prepare", str(photos), option, "24x32"], capsys)
    assert "(width x height)" not in said(["data", "check", str(photos)], capsys)


def test_the_documents_loss_line(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(photos), "--preset", "dense-mnist", "--run", str(tmp_path / "run"), "--length", "4 steps"]
    text = said([*words, "--batch_size", "4", "--callbacks.0.every", "2 steps", "--tracking", "none"], capsys)
    lines = [line for line in text.splitlines() if line.startswith("Epoch: ")]
    assert [line.split(",")[0] for line in lines] == ["Epoch: 2", "Epoch: 4"]
    assert all(", Generator Loss: " in line and ", Discriminator Loss: " in line for line in lines)


def test_a_run_displays_itself_in_a_notebook(trained: Path) -> None:
    from gansmith import api

    run = api.open_run(trained)
    assert "data:image/gif;base64," in run._repr_html_()
    assert run.generator().sample(4)._repr_png_().startswith(b"\x89PNG")
    assert repr(run.generator().sample(4)) == "<Samples: 4 images, 16x16>"
    assert run.report()._repr_html_().startswith('<a href="')


def test_the_module_can_be_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gansmith", "--version"], capture_output=True, text=True, env=os.environ, timeout=60
    )
    assert done.stdout.startswith("gansmith 0")
