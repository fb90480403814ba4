"""Programs that run in two processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def in_two_processes(tmp_path: Path) -> Callable[[str], None]:
    """Runs a program's text in two processes; its one argument is the test's folder."""

    def run(text: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(text, encoding="utf-8")
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANSMITH_CACHE": str(tmp_path / "cache")}
        command = [sys.executable, *launcher, str(program), str(tmp_path)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        print(ended.stderr)  # which pytest shows if the test fails
        ended.check_returncode()

    return run
