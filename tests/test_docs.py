"""What the documentation says is what the code does."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import gansmith
from gansmith import api
from gansmith.cli import COMMANDS
from gansmith.data.signs.source import Signs
from gansmith.metrics import learning
from gansmith.study.plan import list_cells, read_study
from gansmith.training.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GENERATED = ("reference.md", "commands.md")
NOT_PROSE = (*GENERATED, "CHANGELOG.md")
PAGES = [
    page
    for pattern in ("*.md", "docs/*.md", "docs/explain/*.md", "docs/tutorials/*.md")
    for page in sorted(ROOT.glob(pattern))
    if page.name not in NOT_PROSE
]
MOST_WORDS = 32  # of a sentence; about 25 is what we write
# What was found in the pages in place of the field's terms.
OFF_FIELD = (
    "by heart",
    "no number",
    "nobody",
    "not numbers",
    "sighting",
    "sitting",
    "somebody",
    "unseen real",
    "what guessing costs",
    "without a word",
)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"```.*?```", "\n\n", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def read_sentences(page: Path) -> list[str]:
    """Return the sentences of a Markdown page, without code, tables, headings and pictures; inline code is one word."""
    text = read_prose(page)
    text = re.sub(r"^(\||#|!\[).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*([-*]|\d+\.)\s", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`]*`", "CODE", text)
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [part for block in blocks if block for part in re.split(r"(?<=[.!?:;])\s+(?=[A-Z\"*])", block)]


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@functools.cache
def generated_pages() -> dict[str, str]:
    pages: dict[str, str] = load(ROOT / "docs" / "generate.py").pages()
    return pages


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the help is written with Python 3.11")
@pytest.mark.parametrize("name", ["reference.md", "commands.md", "zoo.md", "speed.md"])
def test_the_reference_pages_are_those_of_the_code(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == generated_pages()[name], "run: make docs"


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert '"4 min"' in block and "num=1000" in block
    monkeypatch.setattr(learning, "MOST_EPOCHS", 0.02)  # the judge need not be good
    assert Signs.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Signs.__init__.__kwdefaults__, "num", 43 * 10)
    monkeypatch.chdir(tmp_path)
    few = '"2 steps", overrides={"tracking.num": 50}'
    exec(block.replace('"4 min"', few).replace("num=1000", "num=100"), {})
    assert (tmp_path / "stop.png").exists()
    assert (tmp_path / "walk.png").exists()
    assert list(tmp_path.glob("runs/*/report.html"))


def test_the_callback_that_is_documented_stops_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), re.DOTALL
    )
    (tmp_path / "mymodule.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymodule", raising=False)  # that of another page
    monkeypatch.setenv("GANSMITH_TRUST", "mymodule")
    metric = {"tracking.extractor": {"name": "random-conv", "width": 2, "num_features": 4}, "tracking.num": 20}
    changes = {
        **metric, "tracking.every": "1 steps", "tracking.max_share": 1, "batch_size": 4, "preparation.size": [8, 8],
        "guard": None, "generator_optimizer.lr": 1e-9, "discriminator_optimizer.lr": 1e-9, "ema_halflife_kimg": 0,
        "callbacks": "mymodule:StopWhenFlat", "callbacks.0.patience": 2,
    }  # fmt: skip
    run = api.train("digits", preset="dcgan-r1", length="60 steps", run=tmp_path / "run", overrides=changes)
    assert run.status()["state"] == "stopped" and 3 <= run.status()["step"] < 60


@pytest.mark.parametrize("page", ["README.md", "docs/metrics.md"])
@pytest.mark.parametrize("width", [None, 6])
def test_the_metrics_of_two_arrays_run(
    page: str, width: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On images; in the README also on features, which have no pixels."""
    monkeypatch.setattr(learning, "MOST_EPOCHS", 0.02)  # the extractor need not be good
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "gansmith.metrics import" in block)
    assert len(block.splitlines()) <= 6
    draw = np.random.default_rng(0)
    num = 330 if page == "README.md" else 130  # FID through the default extractor needs more images than features
    names: dict[str, Any] = {
        name: draw.integers(0, 256, (num, 16, 16, 3), np.uint8) for name in ("real", "fake", "held_out")
    }
    if width is not None:
        names |= {"real": draw.normal(size=(90, width)), "fake": draw.normal(size=(90, width))}
        block = "\n".join(line for line in block.splitlines() if "measure_arrays(" not in line)
    exec(block, names)
    assert re.search(r"[\d.]+ \([\d.]+ to [\d.]+\)", capsys.readouterr().out)
    assert 0 <= names["precision"].value <= 1


def test_the_service_that_is_documented_can_be_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "serve.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    changes = {"batch_size": 4, "preparation.size": [8, 8], "guard": None, "tracking": None}
    run = tmp_path / "runs" / "gtsrb-auto-001"
    api.train("digits", preset="dcgan-r1", length="1 steps", run=run, overrides=changes)
    names: dict[str, Any] = {}
    exec(block, names)
    assert [route.path for route in names["app"].routes if route.path == "/signs"]


def test_the_latent_tools_that_are_documented_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "latents.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(block, {"gansmith": gansmith})
    written = {path.stem for path in tmp_path.iterdir()}
    assert written == {"walk", "random", "classes", "truncation", "layers", "directions"}


def test_the_study_that_is_documented_can_be_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "study.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "study.toml").write_text(block, encoding="utf-8")
    assert len(list(list_cells(read_study(tmp_path / "study.toml")))) == 2 * 5


@pytest.mark.parametrize("file", sorted(ROOT.glob("studies/*.toml")), ids=lambda file: file.name)
def test_the_studies_can_be_read(file: Path) -> None:
    study = read_study(file)
    assert len(list(list_cells(study))) == len(study.variants) * len(study.data) * len(study.seed_numbers)


def test_the_readme_names_every_command_and_preset() -> None:
    for verb in COMMANDS:
        assert f"gansmith {verb}" in README
    for name in PRESETS:
        assert f"`{name}`" in README


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "docs" / name for name in GENERATED)], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read_prose(page)):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_into_a_page_lead_to_a_heading(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", read_prose(page)):
        file = page.parent / target if target else page
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in map(anchor_of, headings), f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short_and_use_the_fields_terms(page: Path) -> None:
    sentences = read_sentences(page)
    assert sentences
    long = [sentence for sentence in sentences if len(sentence.split()) > MOST_WORDS]
    assert not long, f"{page.name}: more than {MOST_WORDS} words: {long[0]}"
    off = [(term, sentence) for sentence in sentences for term in OFF_FIELD if term in sentence.lower()]
    assert not off, f"{page.name}: '{off[0][0]}' in: {off[0][1]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_only_the_page_of_requirements_names_the_source_documents(page: Path) -> None:
    if page.name != "requirements.md":
        assert not re.search(
            r"document 00\d|five (project )?descriptions|source documents", page.read_text(encoding="utf-8")
        )


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: page.name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    path = page.relative_to(ROOT)
    assert f"]({path.as_posix()})" in README or f"]({path.parent.as_posix()}/)" in README


def test_the_navigation_of_the_site_names_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"(\S+\.md)$", text, re.MULTILINE)
    pages = [*ROOT.glob("docs/**/*.md"), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
    assert sorted(named) == sorted(page.relative_to(ROOT).as_posix() for page in pages), "add the page to mkdocs.yml"


def test_the_log_has_dated_entries_newest_first() -> None:
    text = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    dates = [re.fullmatch(r"(\d{4}-\d\d-\d\d): \S.*", heading) for heading in headings]
    assert all(dates)
    found = [date[1] for date in dates if date is not None]
    assert found == sorted(found, reverse=True)
    assert len(set(headings)) == len(headings)


def test_the_licence_is_mit() -> None:
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_parts_alone_run_and_the_tutorials_step_is_that_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    step, batches, loop = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert step in (ROOT / "examples" / "bigan.py").read_text(encoding="utf-8")
    parts: dict[str, Any] = {}
    exec(batches + loop, parts)
    assert parts["images"].shape == (64, 1, 8, 8) and parts["state"].step == 2
    second = list(itertools.islice(parts["batches"], 2))[1]
    assert torch.equal(second.images, parts["batches"].batch(64).images)


def test_the_loss_penalty_and_model_that_are_documented_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "ownparts.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GANSMITH_TRUST", "ownparts")
    (line,) = re.findall(r"gansmith train PHOTOS (.*?)\n(?=PYTHONPATH)", page, re.DOTALL)
    words = line.replace("\\\n", " ").replace("mymodule", "ownparts").split()
    overrides = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    preset = overrides.pop("preset")
    assert set(overrides) >= {"model", "model.width", "loss", "loss.margin", "penalties", "penalties.0.gamma"}
    typed: dict[str, Any] = {name: value if ":" in value else json.loads(value) for name, value in overrides.items()}
    quick = {"batch_size": 4, "preparation.size": [8, 8], "guard": None, "tracking": None}
    run = api.train("digits", preset=preset, length="2 steps", run=tmp_path / "run", overrides={**typed, **quick})
    stats = run.stats()[-1]
    assert stats["penalty/drift"] > 0
    loss, penalty = run.config.loss, run.config.penalties[0]
    assert (loss.margin, penalty.gamma, run.config.model.width) == (0.5, 0.001, 128)  # type: ignore[attr-defined]
    values = loss.discriminator(torch.tensor([0.2, 2.0]), torch.tensor([-1.0, 0.5]))
    assert values.tolist() == pytest.approx([0.3, 1.0])
