"""Pages that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import make_run, make_study

from gansmith.report import write_report


@pytest.fixture(scope="session")
def run_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that lacks nothing."""
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "signs-001").path)


@pytest.fixture(scope="session")
def study_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study."""
    path = tmp_path_factory.mktemp("studies") / "norms"
    make_study(path)
    return write_report(path)
