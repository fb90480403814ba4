"""One self-contained page of a run or a study: samples, curves, metrics, configuration."""

from __future__ import annotations

import html
import os
import urllib.parse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Console

from gansmith import __version__
from gansmith.errors import RunError
from gansmith.evaluation.exploration import ExplorationOptions
from gansmith.files import replace_file
from gansmith.report.explore_page import gather_explore_page
from gansmith.report.run_page import gather_run_page
from gansmith.report.study_page import gather_study_page
from gansmith.runs import RunFolder
from gansmith.study.folder import StudyFolder
from gansmith.zoo.places import entry_name

__all__ = ["ReportPath", "write_exploration", "write_report"]

EXPLORATION = "explore.html"


class ReportPath(type(Path())):  # type: ignore[misc]
    """The path of a report, which shows a link to it in a notebook."""

    def _repr_html_(self) -> str:
        try:
            target = urllib.parse.quote(os.path.relpath(self).replace(os.sep, "/"))
        except ValueError:  # on another drive of Windows
            target = self.absolute().as_uri()
        return f'<a href="{target}" target="_blank">{html.escape(str(self))}</a>'


def write_report(path: Path, out: Path | None = None) -> ReportPath:
    """Write the page of a run or a study.

    Args:
        path: its folder.
        out: the file; default: report.html in that folder, or NAME-report.html here for ``zoo:NAME``.

    Returns:
        The file.

    Raises:
        RunError: no run or study is there, or the page cannot be written.
    """
    study = StudyFolder(path)
    if study.plan.exists() or study.results.exists():
        return _write(out or study.report, "study.html.j2", gather_study_page(study))
    folder = RunFolder.open(path)
    name = entry_name(folder.path)
    own = folder.report if name is None else Path(f"{name}-{folder.report.name}")  # files of the zoo are pinned
    return _write(out or own, "run.html.j2", gather_run_page(folder))


def write_exploration(
    path: Path, out: Path | None = None, options: ExplorationOptions | None = None, console: Console | None = None
) -> ReportPath:
    """Write the page that explores the latent space of a run.

    Args:
        path: its folder.
        out: the file; default: explore.html in that folder, or NAME-explore.html here for ``zoo:NAME``.
        options: how much is measured; None takes the defaults.
        console: for progress bars.

    Returns:
        The file.

    Raises:
        GansmithError: no run is there, its training images are missing, or the page cannot be written.
    """
    folder = RunFolder.open(path)
    name = entry_name(folder.path)
    own = folder.report.with_name(EXPLORATION) if name is None else Path(f"{name}-{EXPLORATION}")
    return _write(out or own, "explore.html.j2", gather_explore_page(folder, options or ExplorationOptions(), console))


def _write(path: Path, template: str, page: Any) -> ReportPath:
    if path.is_dir():
        raise RunError(f"{path}: is a folder; name a file with --out page.html")
    environment = Environment(
        loader=PackageLoader("gansmith.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    now = datetime.now(UTC)
    text = environment.get_template(template).render(page=page, version=__version__, now=now)
    try:
        with replace_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error}); choose another file with --out") from error
    return ReportPath(path)
