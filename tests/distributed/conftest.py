"""Programs that run in two processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forks import run_ranks


@pytest.fixture
def in_two_processes(tmp_path: Path) -> Callable[[str], None]:
    """Runs a program's text in two processes; its one argument is the test's folder."""

    def run(text: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(text, encoding="utf-8")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANSMITH_CACHE": str(tmp_path / "cache")}
        run_ranks([str(program), str(tmp_path)], tmp_path, environment=environment)

    return run
