"""Studies: variants trained from several seeds, on one data set or more, and what may be concluded from them."""

from __future__ import annotations

from gansmith.study.folder import StudyFolder
from gansmith.study.results import StudyResults, read_results

__all__ = ["StudyFolder", "StudyResults", "read_results"]
