"""The page: controls on the left, views in tabs on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gansmith.deploy.app.controls import (
    ANY_CLASS,
    GENERATOR,
    Controls,
    View,
    make_spot,
    require_gradio,
    show_safely,
)
from gansmith.deploy.app.explore_view import add_explore_view, name_directions
from gansmith.deploy.app.markup import show_alert
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
    ("compare", "Side by side"),
    ("training", "Training"),
)


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
    tabs = [tab for tab in TABS if tab[0] not in ("runs", "compare") or len(names) > 1 or studio.shelf.lists_folders]
    first = _first_tab(studio, names)
    with gr.Blocks(title="gansmith", analytics_enabled=False, fill_width=True) as page:
        gr.HTML("<h1>gansmith</h1>", apply_default_css=False, elem_id="header")
        with gr.Row(elem_id="layout"):
            with gr.Column(scale=1, min_width=240, elem_id="controls"):
                controls, dice, about = _add_controls(names, first)
            with gr.Column(scale=4, min_width=300, elem_id="views"), gr.Tabs(selected=first) as _:
                views, sliders, runs = _add_tabs(studio, controls, tabs)
        dice.click(None, None, controls.seed, js="() => Math.floor(1e6 * Math.random())", api_visibility="private")
        _connect(page, studio, controls, views, sliders, runs, about)
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


def _add_controls(names: Sequence[str], view: str) -> tuple[Controls, Any, Any]:
    """Add the controls that all views share; return them, the dice, and the text about the run."""
    gr = require_gradio()
    run = gr.Dropdown(
        list(names), value=names[0] if names else None, label="Run", elem_id="run", filterable=len(names) > 8
    )
    about = gr.HTML(apply_default_css=False, elem_id="about")
    with gr.Row(elem_id="seed-row"):
        seed = gr.Number(0, label="Seed", precision=0, elem_id="seed", min_width=100, scale=3)
        dice = gr.Button("random", elem_id="dice", min_width=70, scale=1)
    label = gr.Dropdown([("any", ANY_CLASS)], value=ANY_CLASS, label="Class", elem_id="class", visible=False)
    truncation = gr.Slider(
        0.05, 1, 1, step=0.05, label="Truncation", info="less: more typical, less varied", elem_id="truncation"
    )
    opened = gr.Textbox(view, visible="hidden", elem_id="view")
    controls = Controls(run=run, seed=seed, label=label, truncation=truncation, view=opened)
    return controls, dice, about


def _add_tabs(studio: Studio, controls: Controls, tabs: Sequence[tuple[str, str]]) -> tuple[list[View], list[Any], Any]:
    """Add the views; return those that follow the controls, the sliders of directions, and the list to compare."""
    gr = require_gradio()
    views, sliders, runs = [], [], None
    for name, title in tabs:
        with gr.Tab(title, id=name) as tab:
            if name == "runs":
                add_runs_view(studio.shelf, controls)
            elif name == "samples":
                views.append(add_samples_view(studio, controls))
            elif name == "explore":
                view, sliders = add_explore_view(studio, controls)
                views.append(view)
            elif name == "walk":
                views.append(add_walk_view(studio, controls))
            elif name == "compare":
                view, runs = add_compare_view(studio, controls)
                views.append(view)
            else:
                add_live_view(LiveReader(studio.shelf), controls)
        tab.select(None, None, controls.view, js=f"() => '{name}'", api_visibility="private")
    return views, sliders, runs


def _connect(
    page: Any,
    studio: Studio,
    controls: Controls,
    views: Sequence[View],
    sliders: Sequence[Any],
    runs: Any,
    about: Any,
) -> None:
    """Let the open view follow the controls."""
    gr = require_gradio()
    outputs = [component for view in views for component in view.outputs]

    def show(opened: str, run: str, seed: int, label: str, truncation: float, *values: Any) -> list[Any]:
        found: list[Any] = []
        for view in views:
            own, values = values[: len(view.inputs)], values[len(view.inputs) :]
            if view.name != opened:
                found += [gr.skip()] * len(view.outputs)
                continue
            make = view.show

            def make_view(own: tuple[Any, ...] = own, make: Any = make) -> Sequence[Any]:
                return make(make_spot(run, seed, label, truncation), *own)

            found += show_safely(studio.shelf, make_view, len(view.outputs))
        return found

    def follow_run(run: str) -> list[Any]:
        names = studio.shelf.names()
        chosen = run if run in names else names[0] if names else None
        found = [gr.Dropdown(choices=names, value=chosen), *_describe_run(studio, chosen)]
        return [*found, *([] if runs is None else [gr.Dropdown(choices=names)])]

    own = [component for view in views for component in view.inputs if component not in sliders]
    shown = {
        "inputs": [controls.view, *controls.inputs, *(c for view in views for c in view.inputs)],
        "outputs": outputs,
    }
    shown |= {"trigger_mode": "always_last", "show_progress": "hidden", **GENERATOR}
    triggers = [controls.view, controls.seed, controls.label, controls.truncation, *own]
    gr.on([component.change for component in triggers], show, **shown)
    changed = [controls.run, controls.label, about, *sliders, *([] if runs is None else [runs])]
    for event in (page.load, controls.run.change):
        event(follow_run, controls.run, changed, show_progress="hidden", **GENERATOR).then(show, **shown)


def _describe_run(studio: Studio, run: str | None) -> list[Any]:
    """Return the list of classes, the text and the labels of the sliders for a run."""
    gr = require_gradio()
    try:
        if run is None:
            raise GansmithError("No run is here yet.")
        generator = studio.shelf.generator(run)
        names = generator.class_names or tuple(map(str, range(generator.spec.num_classes)))
        counts = generator.class_counts or (1,) * len(names)
        classes = [(name, str(i)) for i, name in enumerate(names) if counts[i]]
        labels = name_directions(studio, run)
        text = f"<p class='note'>{generator.spec}</p>"
    except GansmithError as error:
        from gansmith.deploy.app.controls import clean_text

        classes, labels, text = [], [], show_alert(clean_text(studio.shelf, str(error)))
    hidden = [gr.Slider(visible=False)] * (DIRECTIONS - len(labels))
    return [
        gr.Dropdown(choices=[("any", ANY_CLASS), *classes], value=ANY_CLASS, visible=bool(classes)),
        text,
        *(gr.Slider(label=label, visible=True) for label in labels),
        *hidden,
    ]
