"""gansmith evaluate, as a user types it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gansmith import api
from gansmith.cli import main
from gansmith.metrics.measurement import Measurement

CHEAP = ["--extractor", "random-conv", "--metrics", "kid,memorisation", "--num", "30"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "photos.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly trained, a quarter held out."""
    overrides = {"batch_size": 4, "model.width": 4, "held_out": 0.25, "tracking": "none", "samples.at_start": False}
    return api.train(photos, run=tmp_path_factory.mktemp("runs") / "run", length="2 steps", overrides=overrides).path


def said(words: Sequence[object], capsys: pytest.CaptureFixture[str], status: int = 0) -> str:
    """What the command prints, which must be one line of error where it fails."""
    capsys.readouterr()
    assert main(["evaluate", *map(str, words)]) == status
    printed = capsys.readouterr()
    assert printed.err.count("\n") == (1 if status else 0)
    return printed.err if status else printed.out


def test_a_run_is_judged_against_what_it_was_trained_on(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said([run, *CHEAP], capsys)
    assert max(map(len, text.splitlines()[:-1])) <= 80  # but for the path at the end
    for part in (
        "seeds 1,000,000 to 1,000,029",
        "30 images of the training part",
        "random-conv",
        "KID (random-conv)",
        "95 % interval",
    ):
        assert part in " ".join(text.split())
    assert f"added to {run / 'metrics.jsonl'}" in text
    assert (run / "nearest.png").exists()


def test_the_weights_of_the_last_step_of_another_seed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said([run, "--no-ema", *CHEAP, "--seed", 3, "--snapshot", "last"], capsys)
    assert "weights of the last step" in " ".join(text.split())
    line = api.open_run(run).folder.read_measurements()[-1]
    assert (line["generated"]["seed"], line["generated"]["ema"]) == (3, False)


def test_files_beside_a_run(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = api.open_run(run).generator().sample(30).save(tmp_path / "samples.npz")
    out = tmp_path / "new" / "figures.json"
    before = len(api.open_run(run).folder.read_measurements())
    text = said([run, samples, "--against", photos, *CHEAP, "--seed", 0, "--out", out], capsys)
    assert "#1" in text and "#2" in text and "cannot be compared" not in text
    assert "#1, #2: skipped: 1 metric needs training images (memorisation): leave out --against" in " ".join(
        text.split()
    )
    assert text.count("not comparable with published FIDs") == 1 and "KID (random-conv)" in text
    first, second = map(Measurement.from_plain, json.loads(out.read_text(encoding="utf-8")))
    assert first.values["kid"].value == pytest.approx(second.values["kid"].value)
    assert second.generated.path == str(samples)
    assert len(api.open_run(run).folder.read_measurements()) == before + 1


def test_json_alone_is_printed_for_a_program(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), *CHEAP, "--json"]) == 0
    (measurement,) = json.loads(capsys.readouterr().out)
    line = api.open_run(run).folder.read_measurements()[-1]
    assert measurement == line
    assert "kid" in measurement["values"]


def test_what_cannot_be_compared_is_said(run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = photos.with_name("few.npz")
    with np.load(photos) as arrays:
        np.savez(few, images=arrays["images"][:20])
    text = " ".join(said([run, few, "--against", photos, *CHEAP], capsys).split())
    assert "#1 and #2 are not comparable: the number of generated images differs (30 and 20)" in text


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([], "gansmith evaluate: nothing to measure"),
        (["nowhere"], "nowhere: does not exist; expected a run's folder"),
        (["RUN", "--metrics", "fidd"], "evaluate.metrics[0]: no metric is called 'fidd'; did you mean 'fid'?"),
        (["RUN", "--extractor", "clasifier"], "evaluate.extractor: no extractor is called 'clasifier'; did you mean"),
        (
            ["RUN", "--metrics", "density-coverage", "--metrics.0.neighbours", "0"],
            "evaluate.metrics[0].neighbours: 0 is",
        ),
        (["RUN", "--num", "1"], "evaluate.num: 1 is out of range; expected from 2 to 1000000"),
        (["RUN", "--out", "figures.csv"], "figures.csv: measurements are written as JSON; name a file x.json"),
        (["RUN", "--root", "."], "evaluate.root: says where the data set of --against lies"),
        (["RUN", "--size", "16"], "evaluate.preparation: a run's training images keep their shape"),
        (["RUN", "--inception", "nowhere.pt"], "nowhere.pt"),
        (["RUN", "--against", "mnits"], "did you mean 'mnist'?"),
        (["PHOTOS"], "name the real images with --against DATA"),
        (["PHOTOS", "--against", "digits"], "the samples are 16x16, but most images of digits are smaller, some 8x8"),
        (["PHOTOS", "--against", "digits", "--size", "16"], "the samples are 16x16 RGB, but digits is 16x16 gray"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], error: str, run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {"RUN": run, "PHOTOS": photos}
    assert error in said([paths.get(word, word) for word in words], capsys, status=2)
