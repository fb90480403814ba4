"""Train an entry of the zoo by its recipe, recipes/NAME.toml."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from builder.photos import collect_photos
from gansmith import api
from gansmith.devices import choose_compute
from gansmith.training.algorithm_choices import repeat_choices

__all__ = ["RECIPES", "Recipe", "read_commit", "train_entry"]

RECIPES = Path(__file__).parents[1] / "recipes"
# Nothing depends on the clock, so that the same processor repeats the training exactly; the last generator is kept.
REPEATABLE = {"tracking": None, "checkpoint_every": "50 %", "device": "cpu", "init": None}
PHOTOS = "photos.zip"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How an entry is trained, and what is known about its data.

    Args:
        title: what it generates.
        data: a data set's name, or "photos.zip", which ``photos.collect_photos`` makes.
        root: where the data set lies below the root of the data; "" for none.
        described: the data in a few words, for tables.
        license: of the weights: an SPDX identifier, or "other".
        rights: what is known about the licence of the data, in sentences.
        limits: what the generator cannot do, in sentences.
        place: the distribution that contains the entry.
        size: pixels of a side.
        length: of the training.
        seed: of the training.
        preset: of the training.
        settings: further fields of the configuration by dotted path.
    """

    title: str
    data: str
    described: str
    license: str
    rights: str
    limits: str
    place: Literal["gansmith", "gansmith-zoo"]
    size: int
    length: str
    root: str = ""
    seed: int = 0
    preset: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, name: str) -> Recipe:
        """Read recipes/NAME.toml."""
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
            raise SystemExit(f"{name}: no recipe of this name; expected one of {names}")
        return cls(**tomllib.loads(path.read_text(encoding="utf-8")))


def train_entry(name: str, data_root: Path, work: Path, earlier: Path, length: str | None = None) -> Path:
    """Train an entry, or continue its training.

    Args:
        name: of the recipe.
        data_root: the folder with the data sets.
        work: the folder for runs and caches.
        earlier: environment.json of the entry that is rebuilt; its algorithms are used again on the same machine.
        length: instead of the recipe's.

    Returns:
        The run folder.
    """
    recipe, run = Recipe.read(name), work / "runs" / name
    if (run / "config.json").exists():
        return api.resume(run).path
    if repeat_choices(choose_compute("cpu", "auto"), earlier):
        print(f"{name}: convolutions are computed as for the entry, which was trained on a processor like this one")
    data: str | Path = recipe.data
    if recipe.data == PHOTOS:
        data = work / PHOTOS
        collect_photos(data_root, data)
    folder = api.train(
        data,
        root=data_root / recipe.root if recipe.root else None,
        preset=recipe.preset,
        size=recipe.size,
        length=length or recipe.length,
        seed=recipe.seed,
        run=run,
        overrides={**REPEATABLE, **recipe.settings},
    ).path
    _commit_file(run).write_text(_commit_now(), encoding="utf-8")
    return folder


def read_commit(run: Path) -> str:
    """Return the commit that a run was trained with."""
    return _commit_file(run).read_text(encoding="utf-8").strip()


def _commit_file(run: Path) -> Path:
    return run.with_name(f"{run.name}.commit")


def _commit_now() -> str:
    words = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
