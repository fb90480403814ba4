"""gansmith report RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import OptionalPath, RunPath, parse

__all__ = ["main"]


@dataclass(frozen=True)
class ReportOptions:
    """Write one page about a run or a study: pictures, curves, figures, configuration. It needs no network."""

    path: RunPath
    """the folder of the run or of the study"""
    out: OptionalPath = None
    """page.html; report.html in that folder if not given"""


def main(arguments: Sequence[str]) -> None:
    """Write the page."""
    options = parse(ReportOptions, "report", arguments)
    from pathlib import Path

    from gansmith.report import write_report

    print(write_report(Path(options.path), Path(options.out) if options.out else None))
