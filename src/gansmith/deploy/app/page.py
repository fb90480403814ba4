"""The page: controls on the left, views in tabs on the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gansmith.deploy.app.controls import (
    ANY_CLASS,
    GENERATOR,
    Controls,
    View,
    clean_text,
    make_spot,
    require_gradio,
    show_safely,
)
from gansmith.deploy.app.explore_view import add_explore_view, name_directions
from gansmith.deploy.app.markup import fill_template, show_alert
from gansmith.deploy.app.picture_views import add_nearest_view, add_projection_view
from gansmith.deploy.app.run_views import LiveReader, add_live_view, add_runs_view
from gansmith.deploy.app.studio import DIRECTIONS, Studio
from gansmith.deploy.app.uploads import PictureStore
from gansmith.deploy.app.views import add_compare_view, add_samples_view, add_walk_view
from gansmith.errors import GansmithError

__all__ = ["build_page"]

TABS = (
    ("runs", "Runs"),
    ("samples", "Samples"),
    ("explore", "Explore"),
    ("walk", "Walk"),
    ("nearest", "Nearest images"),
    ("picture", "Your picture"),
    ("compare", "Side by side"),
    ("training", "Training"),
)


@dataclass(kw_only=True)
class _Parts:
    """Gradio's components of the page, and the views that follow the controls.

    Args:
        controls: what all views share.
        about: text about the run.
        views: in the order of their tabs.
        sliders: of the directions.
        classes: list of classes of the walk.
        runs: list of runs to compare; empty without that view.
    """

    controls: Controls
    about: Any
    views: list[View] = field(default_factory=list)
    sliders: list[Any] = field(default_factory=list)
    classes: Any = None
    runs: list[Any] = field(default_factory=list)


def build_page(studio: Studio, pictures: PictureStore) -> Any:
    """Return the page as Gradio's Blocks.

    Args:
        studio: computes the images.
        pictures: what visitors upload.

    Raises:
        MissingExtra: Gradio is not installed.
    """
    gr = require_gradio()
    names = studio.shelf.names()
    several = len(names) > 1 or studio.shelf.lists_folders
    tabs = [tab for tab in TABS if tab[0] not in ("runs", "compare") or several]
    first = _first_tab(studio, names)
    with gr.Blocks(title="gansmith", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>gansmith</h1>", apply_default_css=False, elem_id="header")
        with gr.Row(elem_id="layout"):
            with gr.Column(scale=1, min_width=240, elem_id="controls"):
                parts = _add_controls(names, first)
            with gr.Column(scale=4, min_width=300, elem_id="views"), gr.Tabs(selected=first):
                for name, title in tabs:
                    with gr.Tab(title, id=name) as tab:
                        _add_view(name, studio, pictures, parts)
                    tab.select(None, None, parts.controls.view, js=f"() => '{name}'", api_visibility="private")
        _follow_controls(studio, parts)
        _follow_run(page, studio, parts)
    page.queue(api_open=False, max_size=studio.settings.most_waiting)
    return page


def _first_tab(studio: Studio, names: Sequence[str]) -> str:
    """Return the view to begin with: a list of several runs, a run that has no generator yet, or samples."""
    if len(names) != 1:
        return "runs"
    try:
        studio.shelf.generator(names[0])
    except GansmithError:
        return "training"
    return "samples"


def _add_controls(names: Sequence[str], view: str) -> _Parts:
    """Add the controls that all views share."""
    gr = require_gradio()
    first = names[0] if names else None
    run = gr.Dropdown(list(names), value=first, label="Run", elem_id="run", filterable=len(names) > 8)
    about = gr.HTML(apply_default_css=False, elem_id="about")
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(0, label="Seed", precision=0, elem_id="seed", min_width=100, scale=3)
        dice = gr.Button("random", elem_id="dice", min_width=70, scale=1)
    dice.click(None, None, seed, js="() => Math.floor(1e6 * Math.random())", api_visibility="private")
    label = gr.Dropdown([("any", ANY_CLASS)], value=ANY_CLASS, label="Class", elem_id="class", visible=False)
    truncation = gr.Slider(
        0.05, 1, 1, step=0.05, label="Truncation", info="less: more typical, less varied", elem_id="truncation"
    )
    opened = gr.Textbox(view, visible="hidden", elem_id="view")
    controls = Controls(run=run, seed=seed, label=label, truncation=truncation, view=opened)
    return _Parts(controls=controls, about=about)


def _add_view(name: str, studio: Studio, pictures: PictureStore, parts: _Parts) -> None:
    """Add the view of a tab."""
    if name == "runs":
        add_runs_view(studio.shelf, parts.controls)
    elif name == "training":
        add_live_view(LiveReader(studio.shelf), parts.controls)
    elif name == "picture":
        add_projection_view(studio, pictures, parts.controls)
    elif name == "samples":
        parts.views.append(add_samples_view(studio, parts.controls))
    elif name == "nearest":
        parts.views.append(add_nearest_view(studio, parts.controls))
    elif name == "explore":
        view, parts.sliders = add_explore_view(studio, parts.controls)
        parts.views.append(view)
    elif name == "walk":
        view, parts.classes = add_walk_view(studio, parts.controls)
        parts.views.append(view)
    else:
        view, runs = add_compare_view(studio, parts.controls)
        parts.views.append(view)
        parts.runs.append(runs)


def _follow_controls(studio: Studio, parts: _Parts) -> None:
    """Let the open view follow the controls."""
    controls = parts.controls
    own = [part for view in parts.views for part in view.inputs if part not in parts.sliders]
    triggers = [controls.view, controls.seed, controls.label, controls.truncation, *own]
    require_gradio().on([part.change for part in triggers], **_show_views(studio, parts))


def _show_views(studio: Studio, parts: _Parts) -> dict[str, Any]:
    """Return the event that shows the open view."""
    gr, controls, views = require_gradio(), parts.controls, parts.views

    def show(opened: str, run: str, seed: int, label: str, truncation: float, *values: Any) -> Iterator[list[Any]]:
        found: list[Any] = []
        spot = (run, seed, label, truncation)
        for view in views:
            own, values = values[: len(view.inputs)], values[len(view.inputs) :]
            skipped = [gr.skip()] * len(view.outputs)
            if view.name != opened:
                found += skipped
                continue
            note = _wait_for(view, spot)
            if note is not None:
                after = sum(len(each.outputs) for each in views) - len(found) - 1
                yield [*found, note, *[gr.skip()] * after]
            found += show_safely(studio.shelf, partial(_show_view, view, spot, own), len(view.outputs))
        yield found

    inputs = [controls.view, *controls.inputs, *(part for view in views for part in view.inputs)]
    outputs = [part for view in views for part in view.outputs]
    return {
        "fn": show,
        "inputs": inputs,
        "outputs": outputs,
        "trigger_mode": "always_last",
        "show_progress": "hidden",
        **GENERATOR,
    }


def _wait_for(view: View, spot: tuple[Any, ...]) -> str | None:
    """Return what a view shows while it computes; None if it is quick or will show an error."""
    try:
        return view.wait(make_spot(*spot)) if view.wait else None
    except GansmithError:
        return None


def _show_view(view: View, spot: tuple[Any, ...], own: tuple[Any, ...]) -> Sequence[Any]:
    return view.show(make_spot(*spot), *own)


def _follow_run(page: Any, studio: Studio, parts: _Parts) -> None:
    """Let the lists follow the run, and the list of runs its folder."""
    gr, controls = require_gradio(), parts.controls

    def choose(run: str) -> list[Any]:
        names = studio.shelf.names()
        chosen = run if run in names else names[0] if names else None
        found = [gr.Dropdown(choices=names, value=chosen), *_describe_run(studio, chosen, anew=True)]
        return [*found, *(gr.Dropdown(choices=names) for _ in parts.runs)]

    lists = [parts.about, controls.label, parts.classes, *parts.sliders]
    show = _show_views(studio, parts)
    for event in (page.load, controls.run.change):
        chosen = event(choose, controls.run, [controls.run, *lists, *parts.runs], show_progress="hidden", **GENERATOR)
        chosen.then(**show)
    # A training may have saved its first generator meanwhile.
    controls.view.change(
        lambda run: _describe_run(studio, run, anew=False), controls.run, lists, show_progress="hidden", **GENERATOR
    )


def _describe_run(studio: Studio, run: str | None, *, anew: bool) -> list[Any]:
    """Return a text, the two lists of classes and the labels of the sliders.

    Args:
        studio: computes the images.
        run: name of the run.
        anew: forget the classes that were chosen for another run.
    """
    gr = require_gradio()
    classes: list[tuple[str, str]] = []
    labels: list[str] = []
    try:
        if run is None:
            raise GansmithError("No run is here yet. It appears as soon as gansmith train makes one.")
        generator = studio.shelf.generator(run)
        names = generator.class_names or tuple(map(str, range(generator.spec.num_classes)))
        counts = generator.class_counts or (1,) * len(names)
        classes = [(name, str(i)) for i, name in enumerate(names) if counts[i]]
        labels = name_directions(studio, run)
        text = fill_template("note", text=str(generator.spec))
    except GansmithError as error:
        text = show_alert(clean_text(studio.shelf, str(error)))
    first = {"value": ANY_CLASS} if anew else {}
    none: dict[str, Any] = {"value": []} if anew else {}
    return [
        text,
        gr.Dropdown(choices=[("any", ANY_CLASS), *classes], visible=bool(classes), **first),
        gr.Dropdown(choices=classes, visible=bool(classes), **none),
        *(gr.Slider(label=label, visible=True) for label in labels),
        *[gr.Slider(visible=False)] * (DIRECTIONS - len(labels)),
    ]
