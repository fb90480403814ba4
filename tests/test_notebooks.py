"""The tutorials in notebooks/ run from top to bottom, and hold nothing of the machine on which they were written."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
QUICK = {
    "batch_size": 4,
    "tracking": None,
    "guard": None,
    "model.width": 4,
    "preparation.size": [8, 8],
    "model.depth": 1,
}
INJECTED: dict[str, dict[str, Any]] = {
    "photographs": {"PHOTOS": "photos", "LENGTH": "2 steps", "NUM": 8, "OPTIONS": QUICK},
    "baseline": {
        "DATA": "digits",
        "SIZE": 8,
        "LENGTH": "1 steps",
        "SEEDS": (0, 1),
        "NUM": 40,
        "EXTRACTOR": {"name": "random-conv", "width": 2, "num_features": 4},
        "OPTIONS": QUICK,
    },
}


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def tags(cell: NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", ()))


def run_cells(notebook: NotebookNode, injected: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Execute all cells but the installation, with other values after the cell of parameters, as papermill does."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in notebook.cells:
            if cell.cell_type == "code" and "install" not in tags(cell):
                exec(compile(cell.source, cell.id, "exec"), names)
                names |= injected if "parameters" in tags(cell) else {}
    return names, printed.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with photographs in two classes."""
    random = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "photos" / f"class-{i % 2}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_two() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(INJECTED)


def test_from_photographs_to_a_published_page(folder: Path) -> None:
    names, printed = run_cells(read(ROOT / "notebooks" / "photographs.ipynb"), INJECTED["photographs"])
    assert "40 found" in printed and "class-0" in printed
    assert (folder / "page" / "index.html").exists() and (names["run"].path / "report.html").exists()
    assert names["measured"].values["kid"].value > 0 and len(names["samples"]) == 32


def test_a_baseline_against_spectral_normalisation(folder: Path) -> None:
    names, printed = run_cells(read(ROOT / "notebooks" / "baseline.ipynb"), INJECTED["baseline"])
    assert [model.spectral_norm for model in names["changed"]] == [True, False]
    assert len(names["runs"]) == 4 and printed.count("FID ") == 4
    fids = {key: each.value for key, each in names["fids"].items()}
    differences = [fids["spectral normalisation", seed] - fids["baseline", seed] for seed in (0, 1)]
    mean, half = np.mean(differences), 12.7062 * abs(differences[0] - differences[1]) / 2  # t of 1 degree of freedom
    assert f"difference {mean:.4g}, 95 % interval" in printed
    assert [names["low"], names["high"]] == pytest.approx([mean - half, mean + half], rel=1e-4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stripped_and_ready_for_colab(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert notebook.cells[0].cell_type == "markdown" and f"notebooks/{path.name})" in notebook.cells[0].source
    install = re.fullmatch(
        r'%pip install --quiet "gansmith\[(.*)\] @ git\+https://github.com/OWNER/gansmith"', code[0].source
    )
    assert install is not None and tags(code[0]) == ["install"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(install[1].split(",")) <= set(extras)
    assert [tags(cell) for cell in code].count(["parameters"]) == 1
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|work|root|tmp|Users)\b", text) and os.sep * 2 not in text.replace("https://", "")


def test_sentences_of_the_notebooks_are_short() -> None:
    for path in NOTEBOOKS:
        text = "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        text = re.sub(r"^[#!\[].*$", "", text, flags=re.MULTILINE)
        sentences = re.split(r"(?<=[.!?:;])\s+(?=[A-Z`])", " ".join(text.split()))
        assert [sentence for sentence in sentences if len(sentence.split()) > 32] == []
