"""Views of runs: the list of a folder, and how a training goes."""

from __future__ import annotations

from typing import Any

from gansmith.deploy.app.controls import Controls, clean_text, read_asset, require_gradio, show_safely, with_event
from gansmith.deploy.app.live import read_live, take_fingerprint
from gansmith.deploy.app.markup import fill_template, show_runs
from gansmith.deploy.app.shelf import Shelf

__all__ = ["LiveReader", "add_live_view", "add_runs_view"]

LIVE_SECONDS = 3.0
LOOKING = {"concurrency_id": "folders", "concurrency_limit": 2, "api_visibility": "private"}


class LiveReader:
    """Reads how trainings go, once for all visitors."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self._known: dict[str, tuple[str, str]] = {}

    def read(self, name: str, seen: str) -> tuple[str | None, str]:
        """Return the HTML of a run, and its age; None if the visitor has seen this age.

        Args:
            name: of the run.
            seen: the age that the visitor has seen.
        """
        folder = self.shelf.open(name)
        age = f"{name} {take_fingerprint(folder)}"
        if age == seen:
            return None, age
        known = self._known.get(name)
        if known is None or known[0] != age:
            live = read_live(folder, lambda text: clean_text(self.shelf, text))
            known = self._known[name] = (age, fill_template("live", live=live))
            for other in list(self._known)[:-8]:
                del self._known[other]
        return known[1], age


def add_live_view(reader: LiveReader, controls: Controls) -> tuple[Any, Any]:
    """Add the view of a training, which renews itself; return the inputs and the outputs of ``show_live``."""
    gr = require_gradio()
    shown = gr.HTML(apply_default_css=False, elem_id="live")
    seen = gr.Textbox("", visible="hidden", elem_id="seen")

    def show(view: str, run: str, seen: str) -> list[Any]:
        if view != "training":
            return [gr.skip(), gr.skip()]

        def make() -> list[Any]:
            made, age = reader.read(str(run), str(seen))
            return [gr.skip() if made is None else made, age]

        return show_safely(reader.shelf, make, 2)

    inputs, outputs = [controls.view, controls.run, seen], [shown, seen]
    timer = _add_timer("training", controls)
    gr.on(
        [timer.tick, controls.view.change, controls.run.change],
        show,
        inputs,
        outputs,
        show_progress="hidden",
        trigger_mode="once",
        **LOOKING,
    )
    return inputs, outputs


def add_runs_view(shelf: Shelf, controls: Controls) -> Any:
    """Add the list of runs; a click on a name chooses it. Return the component."""
    gr = require_gradio()
    shown = gr.HTML(apply_default_css=False, js_on_load=read_asset("tiles.js"), elem_id="run-list")

    def show(view: str, run: str) -> list[Any]:
        if view != "runs":
            return [gr.skip()]
        return show_safely(shelf, lambda: [show_runs(shelf.summaries(), run)], 1)

    def choose(event: Any) -> Any:
        name = str(getattr(event, "run", ""))
        return gr.Dropdown(value=name, choices=shelf.names()) if name in shelf.names() else gr.skip()

    shown.choose(with_event(choose), None, controls.run, show_progress="hidden", api_visibility="private")
    timer = _add_timer("runs", controls)
    gr.on(
        [timer.tick, controls.view.change, controls.run.change],
        show,
        [controls.view, controls.run],
        [shown],
        show_progress="hidden",
        trigger_mode="once",
        **LOOKING,
    )
    return shown


def _add_timer(name: str, controls: Controls) -> Any:
    """Add a timer that ticks only while a view is open, so that the others ask nothing of the server."""
    gr = require_gradio()
    timer = gr.Timer(LIVE_SECONDS, active=controls.view.value == name)
    controls.view.change(
        lambda view: gr.Timer(active=view == name), controls.view, timer, show_progress="hidden", **LOOKING
    )
    return timer
