"""The controls of the page, its views, and how answers reach them without a path or a trace."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from gansmith.deploy.app.markup import show_alert
from gansmith.deploy.app.shelf import Shelf
from gansmith.deploy.app.studio import Spot
from gansmith.errors import ConfigError, GansmithError, MissingExtra

__all__ = [
    "ANY_CLASS",
    "GENERATOR",
    "Controls",
    "View",
    "clean_text",
    "make_spot",
    "parse_label",
    "read_asset",
    "require_gradio",
    "show_safely",
    "with_event",
]

ANY_CLASS = ""  # value of the list of classes
GENERATOR = {"concurrency_id": "generator", "concurrency_limit": 1, "api_visibility": "private"}  # of an event
LARGEST_SEED = 2**53 - 1  # which a browser counts exactly
FOLDERS = re.compile(r"(?<![\w.])(?:[A-Za-z]:)?[/\\][^:;,()'\"]*[/\\]")  # the folders of an absolute path

_LOG = logging.getLogger("gansmith")


@dataclass(frozen=True, kw_only=True)
class Controls:
    """Gradio's components that all views read: the values of a ``Spot``, and which view is open."""

    run: Any
    seed: Any
    label: Any
    truncation: Any
    view: Any

    @property
    def inputs(self) -> list[Any]:
        """Components in the order of ``make_spot``."""
        return [self.run, self.seed, self.label, self.truncation]


@dataclass(frozen=True, kw_only=True)
class View:
    """A view that follows the controls while it is open.

    Args:
        name: of its tab.
        inputs: its own components.
        outputs: the components that show it; the first also shows errors.
        show: returns their values from a ``Spot`` and the values of ``inputs``.
        wait: returns what the first output shows until ``show`` has returned; None if that takes no time.
    """

    name: str
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    show: Callable[..., Sequence[Any]]
    wait: Callable[[Spot], str | None] | None = None


def require_gradio() -> Any:
    """Return Gradio.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import gradio
    except ImportError as error:
        raise MissingExtra("gradio", "app", "to show the page") from error
    return gradio


def read_asset(name: str) -> str:
    """Return the text of a script or style."""
    return resources.files("gansmith.deploy.app").joinpath("assets", name).read_text("utf-8")


def make_spot(run: object, seed: object, label: object, truncation: object) -> Spot:
    """Return what the controls say.

    Raises:
        ConfigError: a value is missing, of another type or out of range.
    """
    if not isinstance(run, str) or not run:
        raise ConfigError("run: choose a run")
    if isinstance(seed, bool) or not isinstance(seed, int | float) or seed != seed or abs(seed) > LARGEST_SEED:
        raise ConfigError("seed: expected a whole number of at most 15 digits")
    if isinstance(truncation, bool) or not isinstance(truncation, int | float):
        raise ConfigError("truncation: expected a number of more than 0 and at most 1")
    number = None if label is None or label == ANY_CLASS else parse_label(label)
    return Spot(run=run, seed=int(seed), label=number, truncation=float(truncation))


def parse_label(label: object) -> int:
    """Return the number of a class from the value of a list of classes.

    Raises:
        ConfigError: it is none of them.
    """
    if not (isinstance(label, str) and label.isascii() and label.isdecimal() and len(label) < 10):
        raise ConfigError("class: choose one of the list")
    return int(label)


def show_safely(shelf: Shelf, show: Callable[[], Sequence[Any]], num: int) -> list[Any]:
    """Return what ``show`` returns; after an error a message in the first place, and nothing new in the others.

    Args:
        shelf: the runs, whose folders are hidden.
        show: returns values of ``num`` components.
        num: number of components.
    """
    try:
        return list(show())
    except GansmithError as error:
        said = clean_text(shelf, str(error))
    except Exception:
        _LOG.exception("an error that gansmith did not expect")
        said = "This did not work, for a reason that gansmith did not expect. The log of the page has it."
    skip = require_gradio().skip
    return [show_alert(said), *(skip() for _ in range(num - 1))]


def clean_text(shelf: Shelf, text: str) -> str:
    """Return a message for visitors: on one line, with names of runs and files in place of paths."""
    return FOLDERS.sub("", shelf.hide_paths(" ".join(text.split())))


def with_event(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let Gradio give what the page's script says of an event as the parameter ``event``, which its type decides."""
    function.__annotations__["event"] = require_gradio().EventData
    return function
