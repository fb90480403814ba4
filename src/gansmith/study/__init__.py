"""Studies: train variants from several seeds on one or more data sets, and compare them."""

from __future__ import annotations

from gansmith.study.folder import StudyFolder
from gansmith.study.results import StudyResults, read_results

__all__ = ["StudyFolder", "StudyResults", "read_results"]
