"""Output in a notebook without ipywidgets: plain lines, and one line that is replaced while work is done."""

from __future__ import annotations

import io
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from gansmith import console
from gansmith.console import make_console, open_notebook_line, print_plain, show, work_progress
from gansmith.report import ReportPath
from gansmith.schedules import Duration, Progress
from gansmith.training.progress_bar import open_progress


@dataclass
class Notebook:
    """What a kernel's IPython would show: texts of displays, each with those that replaced it."""

    kernel: object = "a kernel"
    shown: list[list[str]] = field(default_factory=list)

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        texts = [data["text/plain"]]
        self.shown.append(texts)
        return SimpleNamespace(update=lambda data, raw: texts.append(data["text/plain"]))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A kernel, in which each look at the clock is a second later."""
    found, module = Notebook(), ModuleType("IPython")
    vars(module).update(get_ipython=lambda: found, display=SimpleNamespace(display=found.display))
    monkeypatch.setitem(sys.modules, "IPython", module)
    seconds = iter(range(1000))
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    return found


def test_a_line_is_replaced_and_emptied_at_the_end(notebook: Notebook) -> None:
    with open_notebook_line() as update:
        assert update is not None and not notebook.shown
        update("one")
        update("two")
    assert notebook.shown == [["one", "two", ""]]


def test_it_is_replaced_four_times_a_second_at_most(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 10.2, 10.3, 10.5, 10.56])
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with open_notebook_line() as update:
        assert update is not None
        for text in ("early", "first", "soon", "second"):
            update(text)
    assert notebook.shown == [["first", "second", ""]]


def test_short_work_shows_nothing(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 1.0))
    with work_progress("preparing images") as progress:
        progress(1, 2)
    assert not notebook.shown


def test_work_is_counted_in_a_notebook(notebook: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as of rich, where ipywidgets is missing
        with work_progress("preparing images") as progress:
            progress(1, 2000)
            progress(2000, 2000)
    assert notebook.shown == [["preparing images 1 of 2,000", "preparing images 2,000 of 2,000", ""]]
    assert capsys.readouterr().out == ""


def test_a_training_is_one_line_in_a_notebook(notebook: Notebook, tmp_path: Path) -> None:
    steps = [Progress(nimg=64 * step, epoch_size=640, step=step, seconds=30 * step) for step in (1, 5, 10)]
    text = io.StringIO()
    with open_progress(Duration(10, "steps"), Console(file=text)) as listener:
        for i, progress in enumerate(steps):
            training: Any = SimpleNamespace(progress=progress)
            listener.step(training)
            record = {"loss/generator": 1.5, "loss/discriminator": 0.5, "speed/images_per_second": 99.4}
            listener.statistics(training, record)
            if i:
                listener.picture(training, tmp_path / "fakes.png")
        listener.notice(training, "a warning")
    assert text.getvalue() == "a warning\n"
    ((first, second, third, end),) = notebook.shown
    assert first == "━━" + "╌" * 22 + "  10% 4:30 left · step 1, 0 kimg"
    assert second == "━" * 12 + "╌" * 12 + "  50% 2:30 left · step 5, 0 kimg · G 1.500 D 0.500, 99 img/s"
    assert third.startswith("━" * 24 + " 100% 0:00 left · step 10, 1 kimg · G 1.5") and third.endswith("fakes.png")
    assert end == ""


@pytest.mark.parametrize("kernel", [True, False])
def test_elsewhere_there_is_no_such_line(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel:  # IPython on a terminal has no kernel
        terminal = ModuleType("IPython")
        vars(terminal).update(get_ipython=lambda: SimpleNamespace(), display=None)
        monkeypatch.setitem(sys.modules, "IPython", terminal)
    else:
        monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with open_notebook_line() as update:
        assert update is None


def test_lines_are_plain_where_rich_would_use_html(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert Console().is_jupyter and not make_console().is_jupyter
    print_plain(make_console(), "data    [digits]")
    print_plain(make_console(quiet=True), "of another rank")
    assert capsys.readouterr().out == "data    [digits]\n"


def test_a_picture_is_named_outside_of_notebooks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    show(Path("x.png"))
    assert capsys.readouterr().out == "x.png\n"


def test_a_report_is_a_path_and_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = ReportPath(tmp_path / "a <run>" / "report.html")
    assert path == tmp_path / "a <run>" / "report.html" and isinstance(path, Path)
    text = str(path).replace("<", "&lt;").replace(">", "&gt;")
    assert path._repr_html_() == f'<a href="a%20%3Crun%3E/report.html" target="_blank">{text}</a>'
