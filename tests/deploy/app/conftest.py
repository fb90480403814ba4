"""Runs for the page: a trained generator as a run folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.app.shelf import Shelf
from gansmith.deploy.app.studio import Studio
from gansmith.zoo.places import find_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 43 traffic signs, 32x32 RGB."""
    path = tmp_path_factory.mktemp("homes") / "my runs" / "signs run"
    shutil.copytree(find_run(Path("zoo:signs-32")), path)
    return path


@pytest.fixture(scope="session")
def studio(run: Path) -> Studio:
    return Studio(Shelf([str(run)]), AppSettings(most_images=32, most_frames=40))
