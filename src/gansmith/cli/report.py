"""gansmith report RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import Flag, OptionalPath, RunPath, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class ReportOptions:
    """Write an HTML report of a run or a study: images, curves, metrics, configuration.

    The file contains everything that it shows, so it can be opened offline and sent by mail.
    """

    path: RunPath
    """the folder of the run or of the study, zoo:NAME or hf:USER/NAME"""
    out: OptionalPath = None
    """the file to write; default: report.html in that folder; NAME-report.html for zoo:NAME"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Write the report."""
    options = parse(ReportOptions, "report", arguments)
    from pathlib import Path

    from gansmith.report import write_report

    path = write_report(Path(options.path), Path(options.out) if options.out else None)
    if options.json:
        print_json({"path": str(path)})
    else:
        print(path)
