"""The page about a latent space: its sentences follow from the numbers, and it shows every tool of a real run."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_report_browser import CHROMIUM, browse, on_phones

import gansmith
from gansmith import api
from gansmith.cli import main
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.exploration import Compared, Exploration, ExplorationOptions, choose_options, explore_run
from gansmith.metrics import perceptual
from gansmith.metrics.metric import Estimate
from gansmith.metrics.random_conv import RandomConv
from gansmith.report import write_exploration
from gansmith.report.exploration_words import Answer, answer_diversity, answer_realism
from gansmith.sampling.projection import Search
from gansmith.sampling.projections import Projections
from gansmith.sampling.smoothness import PathLength
from gansmith.training.data_facts import DataFacts

NUM = 240
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of three classes, each a shade."""
    path = tmp_path_factory.mktemp("photos") / "photos.npz"
    labels = np.arange(NUM) % 3
    images = (
        np.random.default_rng(0).integers(0, 80, (NUM, 8, 8, 3), np.uint8)
        + (80 * labels).astype(np.uint8)[:, None, None, None]
    )
    np.savez(path, images=images, labels=labels)
    return path


def begin(photos: Path, home: Path, **fields: object) -> api.Run:
    """A run, hardly trained, a fifth held out."""
    overrides = {"batch_size": 4, "model.width": 4, "held_out": 0.2, "tracking": "none", "samples.at_start": False}
    return api.train(photos, run=home / "run", length="2 steps", overrides={**overrides, **fields})


QUICK = ExplorationOptions(
    num=60,
    num_projected=2,
    num_neighbours=2,
    num_walks=4,
    search=Search(num_candidates=6, starts=1, steps=1),
    extractor=RandomConv(),
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "SIDES", (32, 128))


# --- a whole page ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    return begin(photos, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(run: api.Run) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perceptual, "SIDES", (32, 128))
        return write_exploration(run.path, options=QUICK)


def read_size(data: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(data))).size


def test_the_page_of_a_run_shows_every_tool(run: api.Run, page: Path) -> None:
    assert page == run.path / "explore.html"
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "://" not in re.sub(r'src(set)?="data:[^"]*"', "", text)
    sections = re.findall(r'<section id="(\w+)".*?</section>', text, re.DOTALL)
    bodies = dict(re.findall(r'<section id="(\w+)"(.*?)</section>', text, re.DOTALL))
    assert sections == [
        *("answers", "samples", "classes", "walks", "truncation", "directions", "projections", "nearest", "values")
    ]
    assert all("data:image" in bodies[name] for name in sections if name not in ("answers", "values"))
    assert bodies["classes"].count("<img") == 3 and bodies["walks"].count("data:image/gif") == 2
    firsts = [read_size(data) for data in re.findall(r'srcset="data:image/png;base64,([^"]*)"', bodies["walks"])]
    moving = [read_size(data) for data in re.findall(r'src="data:image/gif;base64,([^"]*)"', bodies["walks"])]
    assert len(firsts) == 2 and firsts == moving, "without motion, the first frame has the place of the animation"
    assert "Held-out images" in bodies["projections"] and "Training images" in bodies["projections"]
    assert bodies["projections"].count("<img") == 2 * 2 * 2 and bodies["nearest"].count("<img") == 2 * 6
    for words in ("Recall", "Precision", "Within classes", "Smoothness of walks", "Reconstruction", "Copies"):
        assert f"<dt>{words}</dt>" in bodies["answers"]
    assert "needs a classifier" in bodies["values"], "what was not measured, and why"
    assert len(text) < 3_000_000


def test_without_classes_or_data(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(photos, tmp_path, use_labels=False)
    kept: list[Any] = []

    def keep(*arguments: Any) -> Any:
        kept.append(explore_run(*arguments))
        return kept[-1]

    monkeypatch.setattr("gansmith.report.explore_page.explore_run", keep)
    text = write_exploration(run.path, tmp_path / "page.html", QUICK).read_text(encoding="utf-8")
    ((_, found),) = kept
    assert "within_classes" not in found.values and "LabelFidelity" not in found.failures
    assert found.projections["held-out"].labels is None
    _, again = explore_run(run.folder, QUICK)
    assert torch.equal(found.projections["training"].latents, again.projections["training"].latents)
    assert {name: str(each.samples) for name, each in found.values.items()} == {
        name: str(each.samples) for name, each in again.values.items()
    }
    assert "This model was trained without labels, so it has no classes." in text
    dataclasses.replace(DataFacts.read(run.folder.data), digest="0" * 64).write(run.folder.data)
    with pytest.raises(RunError, match="training images have changed"):
        write_exploration(run.path, tmp_path / "page.html", QUICK)


def test_nearest_images_of_a_run(run: api.Run, tmp_path: Path) -> None:
    found = run.nearest(2, neighbours=3, seed=7, label=1, extractor="random-conv")
    assert found.images.shape == (2, 3, 8, 8, 3) and (np.diff(found.distances, axis=1) >= 0).all()
    assert found.samples.seeds == (7, 8) and not found.are_copies.any() and found.typical > 0
    sheet = found.save(tmp_path / "nearest.png")
    assert sheet.exists()
    with pytest.raises(ConfigError, match=r"^num: 0 training images cannot be found for each sample"):
        run.nearest(2, neighbours=0, extractor="random-conv")


def test_the_documented_calls_run(run: api.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "explore.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name in ("stop.jpg", "yield.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)).save(name)
    quick = functools.partialmethod(api.Run.project, num_candidates=6, starts=1, steps=1)
    monkeypatch.setattr(api.Run, "project", quick)
    monkeypatch.setattr(api.Run, "nearest", functools.partialmethod(api.Run.nearest, extractor="random-conv"))
    monkeypatch.setattr(gansmith, "open_run", lambda name: run, raising=False)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, {})
    assert {path.name for path in tmp_path.iterdir()} >= {"found.png", "found.npz", "nearest.png", "walk.gif"}


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium to look at the page with")
def test_nothing_on_it_is_wider_than_a_phone(page: Path, tmp_path: Path) -> None:
    phone = on_phones([page], tmp_path / "phone.html", [390])
    found = re.search(r"<title>(\d+) (\d+)</title>", browse(phone, tmp_path / "home", "--dump-dom"))
    assert found is not None and int(found[1]) == 390


def test_the_command_line(run: api.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", str(run.path), "--num", "10"]) == 2
    assert "num: 10 images; expected 50 to 100,000" in capsys.readouterr().err
    assert main(["explore", str(tmp_path / "none")]) == 2
    assert main(["project", str(run.path)]) == 2
    assert "no images; name one image file or several" in capsys.readouterr().err


def test_quick_means_less() -> None:
    quick, slow = (choose_options(1000, 8, 5, quick=quick) for quick in (True, False))
    assert (quick.num, quick.num_projected, quick.seed) == (500, 3, 5)
    assert quick.search.steps < slow.search.steps and slow.num == 1000
    with pytest.raises(ConfigError, match="num_projected: 0 images; expected 1 to 256"):
        choose_options(1000, 0, 5, quick=False)


# --- its sentences -----------------------------------------------------------------------------------------


def about(value: float, spread: float = 0.01) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread, interval="made up", note="a note")


def explored(**values: tuple[float, float]) -> Exploration:
    compared = {name: Compared(samples=about(samples), real=about(real)) for name, (samples, real) in values.items()}
    return Exploration(num=1000, values=compared, class_names=("stop", "yield"))


def sentence(answer: Answer, what: str) -> str:
    return dict(answer.sentences)[what]


@pytest.mark.parametrize(
    ("recall", "headline", "verdict"),
    [
        (0.79, "as diverse as", "No difference is visible."),
        (0.77, "nearly as diverse as", "Slightly less."),
        (0.60, "less diverse than", "Less."),
        (0.40, "much less diverse than", "Much less."),
    ],
)
def test_diversity_is_graded_by_what_real_images_reach(recall: float, headline: str, verdict: str) -> None:
    answer = answer_diversity(explored(recall=(recall, 0.8), coverage=(0.9, 0.9)))
    assert answer.headline.startswith(f"The samples are {headline} real images, by the worse of recall and coverage")
    assert sentence(answer, "Recall").endswith(verdict)
    assert f"{100 * recall:.1f} % ({100 * recall - 1:.1f} to {100 * recall + 1:.1f})" in sentence(answer, "Recall")
    assert "80.0 % (79.0 to 81.0)" in sentence(answer, "Recall")


def test_without_values_nothing_is_claimed() -> None:
    for answer, word in ((answer_diversity(explored()), "diverse"), (answer_realism(explored()), "realistic")):
        assert answer.headline == f"It could not be measured how {word} the samples are." and not answer.sentences


def test_realism_takes_the_worse_of_precision_and_density() -> None:
    answer = answer_realism(explored(precision=(0.8, 0.8), density=(0.5, 1.0)))
    assert answer.headline.startswith("The samples are much less realistic than real images")
    assert answer_realism(explored(density=(0.95, 1.0))).headline.startswith("The samples are nearly as realistic as")
    grades = {0.51: "as realistic as", 0.55: "nearly as", 0.65: "less realistic", 0.8: "much less realistic"}
    for told, words in grades.items():
        answer = answer_realism(explored(precision=(0.8, 0.8), told_apart=(told, 0.5)))
        assert answer.headline.startswith(f"The samples are {words}")


@pytest.mark.parametrize(
    ("fid", "verdict"),
    [((1.0, 0.99), "No difference is visible."), ((6.0, 0.5), "That is 12 times as far.")],
)
def test_distances(fid: tuple[float, float], verdict: str) -> None:
    assert sentence(answer_realism(explored(fid=fid)), "FID").endswith(verdict)
    kid = answer_realism(explored(kid=(0.5, -0.001)))
    assert sentence(kid, "KID").endswith("The samples are farther than chance explains.")


def test_the_nearest_neighbour_test_has_two_sides() -> None:
    for value, verdict in (
        (0.9, "They can be told apart."),
        (0.5, "They cannot be told apart."),
        (0.2, "as copies would."),
    ):
        assert sentence(answer_realism(explored(told_apart=(value, 0.5))), "Nearest-neighbour test").endswith(verdict)


def test_ratios_and_classes() -> None:
    found = explored(vendi=(0.7, 1.0), diversity=(1.015, 1.0), within_classes=(0.8, 1.0), twins=(0.3, 0.01))
    found.class_ratios.update({0: 0.9, 1: 0.7})
    answer = answer_diversity(found)
    assert "is 0.700 (0.690 to 0.710); of the other real images it is 1.000 (" in sentence(answer, "Vendi score")
    assert sentence(answer, "Vendi score").endswith("That is 30 % less.")
    assert sentence(answer, "Distance between samples").endswith("No difference is visible.")
    worst = "That is 20 % less. Least varied: yield (0.70), stop (0.90), of 2 classes."
    assert sentence(answer, "Within classes").endswith(worst)
    assert sentence(answer, "Same image twice").endswith("the generator repeats itself.")
    alike = answer_diversity(explored(twins=(0.01, 0.3)))
    assert sentence(alike, "Same image twice").endswith("Not more than real ones.")


def test_smoothness() -> None:
    path = PathLength(length=about(6.0), ends=about(0.5), detour=about(12.0), cross_fade=about(3.0))
    words = sentence(answer_diversity(dataclasses.replace(explored(), path=path)), "Smoothness of walks")
    assert words.startswith("Perceptual path length 6.000 (5.990 to 6.010) perceptual distances per squared walk")
    assert "Squared speed is 2 times that of a cross-fade, and 12.000 (11.990 to 12.010) times" in words


def projected(distances: list[float]) -> Projections:
    images = np.zeros((len(distances), 2, 2, 3), np.uint8)
    return Projections(
        images=images,
        reconstructions=images,
        latents=torch.zeros(len(distances), 3),
        labels=None,
        squared_errors=np.zeros(len(distances)),
        distances=np.array(distances),
        random_distances=np.ones(len(distances)),
    )


def test_reconstructions_are_compared() -> None:
    low, high = [0.1, 0.12, 0.13, 0.14], [0.4, 0.42, 0.43, 0.44]
    for held_out, verdict in ((high, "as by a generator that remembers them."), (low, "No difference is visible.")):
        found = dataclasses.replace(
            explored(), projections={"held-out": projected(held_out), "training": projected(low)}
        )
        words = sentence(answer_realism(found), "Reconstruction")
        assert words.endswith(verdict) and f"{np.mean(held_out):.3f}" in words and "of random samples 1.00" in words


def test_copies_and_memorisation() -> None:
    for value, verdict in ((0.7, "may be copies"), (0.5, "No difference is visible."), (0.2, "no sign of copies")):
        answer = answer_realism(explored(memorisation=(value, 0), copies=(0.02, 0)))
        assert verdict in sentence(answer, "Nearest training image")
        assert sentence(answer, "Copies").endswith("2.0 % (1.0 to 3.0) of the samples copy a training image (a note).")


def test_the_middle_of_walks() -> None:
    answer = answer_realism(explored(midway=(0.5, 0), cross_fades=(0.1, 0), precision=(0.8, 0.8)))
    assert sentence(answer, "Middle of walks").endswith("Images between two latents are less realistic than samples.")
    faded = answer_realism(explored(midway=(0.28, 0), cross_fades=(0.41, 0), precision=(0.26, 0.8)))
    assert sentence(faded, "Middle of walks").endswith(
        "as realistic as samples. Cross-fades have more, so precision does not see double contours here."
    )


def test_coverage_alone_is_not_called_a_lack_of_diversity_where_realism_explains_it() -> None:
    why = "Only coverage is lower, which unrealistic samples cause too."
    found = {"recall": (0.9, 0.9), "coverage": (0.4, 0.96)}
    unreal = answer_diversity(explored(**found, density=(0.2, 0.97)))
    assert unreal.headline.startswith("The samples are much less diverse") and unreal.headline.endswith(why)
    assert sentence(unreal, "Coverage").endswith("Much less. Samples that are not realistic lower it too.")
    unlike = {**found, "density": (0.2, 0.97)}
    for values in (
        {**found, "precision": (0.9, 0.9)},
        {**unlike, "recall": (0.85, 0.9)},
        {**unlike, "recall": (0, 0.9)},
    ):
        answer = answer_diversity(explored(**values))
        assert answer.headline.endswith("by the worse of recall and coverage.")
    assert sentence(answer_diversity(explored(**found)), "Coverage").endswith("Much less.")
    alike = answer_diversity(explored(within_classes=(1.7, 1.0)))
    assert "That is 70 % more. Wrong details raise the distance too." in sentence(alike, "Within classes")
    same = answer_diversity(explored(within_classes=(1.0, 1.0)))
    assert "Wrong details" not in sentence(same, "Within classes")
