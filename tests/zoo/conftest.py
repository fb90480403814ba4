"""A zoo of one small entry, made by the scripts that make the real ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_zoo import RECIPE, use

# isort: split
from builder import measure, pack, train


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs, entries and manifest of a zoo with one entry, "tiny"."""
    home = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        use(patch, home)
        (home / "recipes").mkdir()
        (home / "recipes" / "tiny.toml").write_text(RECIPE.format(seed=0))
        (home / "recipes" / "other.toml").write_text(RECIPE.format(seed=1))
        (home / "manifest.json").write_text("{}")
        run = train.train_entry("tiny", home, home / "work", home / "none.json")
        half = measure.halve_run(run, home / "work" / "half" / "tiny")
        measurements = measure.measure_entry(half, ["random-conv"], 300)
        rounding = measure.measure_rounding(run, half, measurements[0], 300)
        pack.pack_entry("tiny", half, measurements, rounding, train.read_commit(run))
    return home


@pytest.fixture
def zoo(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that zoo, which a test may damage; the entry is in ``entries``, as if within gansmith."""
    shutil.copytree(built, tmp_path / "zoo", ignore=shutil.ignore_patterns("work"))
    use(monkeypatch, tmp_path / "zoo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "zoo"
