"""The view of one latent: a pad of two directions, and a slider for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gansmith.deploy.app.controls import (
    GENERATOR,
    Controls,
    View,
    make_spot,
    read_asset,
    require_gradio,
    show_safely,
    with_event,
)
from gansmith.deploy.app.markup import data_address, fill_template, list_tiles
from gansmith.deploy.app.studio import DIRECTIONS, REACH, Spot, Studio
from gansmith.errors import ConfigError
from gansmith.images.pixels import png_bytes
from gansmith.images.sheets import grid

__all__ = ["add_explore_view", "name_directions"]

PAD = (
    '<div class="pad" tabindex="0" role="application" aria-label="Pad: drag, or use the arrow keys">'
    '${value}<span class="dot"></span></div>'
)


def add_explore_view(studio: Studio, controls: Controls) -> tuple[View, list[Any]]:
    """Add the pad, the sliders and the picture; return the view and the sliders."""
    gr = require_gradio()
    numbers = [(str(i + 1), str(i)) for i in range(DIRECTIONS)]
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            picture = gr.HTML(apply_default_css=False, elem_id="picture")
        with gr.Column(scale=1, min_width=260):
            pad = gr.HTML(
                apply_default_css=False, html_template=PAD, js_on_load=read_asset("pad.js"), dot="0,0", elem_id="pad"
            )
            with gr.Row():
                across = gr.Dropdown(numbers, value="0", label="Left to right", min_width=100, elem_id="across")
                up = gr.Dropdown(numbers, value="1", label="Bottom to top", min_width=100, elem_id="up")
        with gr.Column(scale=1, min_width=260):
            sliders = [
                gr.Slider(-REACH, REACH, 0.0, step=0.05, label=f"Direction {i + 1}", elem_id=f"direction-{i}")
                for i in range(DIRECTIONS)
            ]
            reset = gr.Button("Back to the sample", size="sm", elem_id="reset")

    def show_picture(spot: Spot, steps: Sequence[float]) -> str:
        samples = studio.move(spot, steps)
        (tile,) = list_tiles(samples, [f"seed {spot.seed}{', moved' if any(steps) else ''}"])
        return fill_template("picture", tile=tile)

    def show(spot: Spot, across: str, up: str, *steps: float) -> tuple[Any, ...]:
        x, y = _axis(across), _axis(up)
        drawn = studio.map(spot, _clear(steps, x, y), x, y)
        source = data_address(png_bytes(grid(drawn.images, columns=math.isqrt(len(drawn)), scale=1)), "image/png")
        return show_picture(spot, steps), gr.HTML(value=fill_template("map", src=source), dot=_dot(steps, x, y))

    def drag(
        event: Any, run: str, seed: int, label: str, truncation: float, across: str, up: str, *steps: float
    ) -> list[Any]:
        def make() -> list[Any]:
            moved, places = [*steps], (_axis(across), _axis(up))
            for place, step in zip(places, (event.x, event.y), strict=True):
                moved[place] = _step(step)
            made = show_picture(make_spot(run, seed, label, truncation), moved)
            turn = event.turn if isinstance(event.turn, int) else 0
            sliders = [moved[i] if i in places else gr.skip() for i in range(DIRECTIONS)]
            return [made, gr.HTML(dot=f"{_dot(moved, *places)},{turn}"), *sliders]

        return show_safely(studio.shelf, make, 2 + DIRECTIONS)

    def slide(run: str, seed: int, label: str, truncation: float, across: str, up: str, *steps: float) -> list[Any]:
        def make() -> list[Any]:
            made = show_picture(make_spot(run, seed, label, truncation), steps)
            return [made, gr.HTML(dot=_dot(steps, _axis(across), _axis(up)))]

        return show_safely(studio.shelf, make, 2)

    inputs = [*controls.inputs, across, up, *sliders]
    live = {"trigger_mode": "always_last", "show_progress": "hidden", **GENERATOR}
    pad.drag(with_event(drag), inputs, [picture, pad, *sliders], **live | {"trigger_mode": "multiple"})
    gr.on([slider.input for slider in sliders], slide, inputs, [picture, pad], **live)
    zeros = reset.click(lambda: [0.0] * DIRECTIONS, None, sliders, show_progress="hidden", api_visibility="private")
    zeros.then(slide, inputs, [picture, pad], **live)
    return View(name="explore", inputs=[across, up, *sliders], outputs=[picture, pad], show=show), sliders


def name_directions(studio: Studio, run: str) -> list[str]:
    """Return a label for each direction of a run with its share of the variance; few if its latents are short."""
    return [f"Direction {i + 1}: {share:.0%} of the variance" for i, share in enumerate(studio.directions(run).shares)]


def _axis(text: object) -> int:
    if text not in {str(i) for i in range(DIRECTIONS)}:
        raise ConfigError("pad: choose a direction of the list")
    return int(str(text))


def _step(value: object) -> float:
    """Return the step along a direction for a place on the pad, -1 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1:
        raise ConfigError("pad: expected places from -1 to 1")
    return round(value * REACH, 2)


def _clear(steps: Sequence[float], *axes: int) -> list[float]:
    return [0.0 if i in axes else step for i, step in enumerate(steps)]


def _dot(steps: Sequence[float], across: int, up: int) -> str:
    return f"{steps[across] / REACH:.3f},{steps[up] / REACH:.3f}"
