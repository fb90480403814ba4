"""Views of samples: a grid of seeds, the same seeds from several runs, a walk between seeds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from gansmith.deploy.app.controls import Controls, View, clean_text, parse_label, read_asset, require_gradio, with_event
from gansmith.deploy.app.markup import data_address, fill_template, list_tiles, show_player
from gansmith.deploy.app.studio import MOST_COMPARED, MOST_STOPS, Spot, Studio
from gansmith.errors import ConfigError, GansmithError, command
from gansmith.images.pixels import png_bytes
from gansmith.sampling.paths import Method

__all__ = ["add_compare_view", "add_samples_view", "add_walk_view", "find_label"]

NUM = 16
NUM_COMPARED = 8
FRAMES = 24
WAYS = (("spherical", "slerp"), ("straight", "lerp"))
SEEDS = re.compile(r"-?\d{1,15}")


def add_samples_view(studio: Studio, controls: Controls) -> View:
    """Add a grid of the seeds from the chosen one on."""
    gr = require_gradio()
    num = gr.Slider(1, studio.settings.most_images, NUM, step=1, label="Pictures", elem_id="num")
    shown = gr.HTML(apply_default_css=False, js_on_load=read_asset("tiles.js"), elem_id="samples")
    shown.pick(with_event(_picked), None, controls.seed, show_progress="hidden", api_visibility="private")

    def show(spot: Spot, num: float) -> tuple[str]:
        samples = studio.sample(spot, int(num))
        words: list[str] = ["sample", spot.run, "--num", str(int(num)), "--seed", str(spot.seed)]
        words += [] if spot.label is None else ["--label", str(spot.label)]
        words += [] if spot.truncation == 1 else ["--truncation", f"{spot.truncation:g}"]
        return (
            fill_template(
                "samples",
                shown=list_tiles(samples),
                sheet=data_address(png_bytes(samples.sheet()), "image/png"),
                sheet_file=f"seeds{spot.seed}-{spot.seed + int(num) - 1}.png",
                command=command(*words),
            ),
        )

    return View(name="samples", inputs=[num], outputs=[shown], show=show)


def _picked(event: Any) -> int:
    """Return the seed of the picture that was clicked."""
    text = str(getattr(event, "seed", ""))
    if not SEEDS.fullmatch(text):
        raise ConfigError("seed: this picture has none")
    return int(text)


def add_compare_view(studio: Studio, controls: Controls) -> tuple[View, Any]:
    """Add the same seeds from several runs; return the view and the list of runs."""
    gr = require_gradio()
    names = studio.shelf.names()
    with gr.Row():
        runs = gr.Dropdown(
            names, value=names[:3], multiselect=True, max_choices=MOST_COMPARED, label="Runs", scale=3, elem_id="runs"
        )
        num = gr.Slider(1, 32, NUM_COMPARED, step=1, label="Pictures of each", scale=1)
    shown = gr.HTML(apply_default_css=False, elem_id="compare")

    def show(spot: Spot, runs: list[str] | None, num: float) -> tuple[str]:
        if not runs:
            raise ConfigError("runs: choose one or more")
        if len(runs) > MOST_COMPARED:
            raise ConfigError(f"runs: got {len(runs)}; expected at most {MOST_COMPARED}")
        wanted = _class_name(studio, spot)
        return (
            fill_template(
                "compare", rows=[_row(studio, replace(spot, run=str(run)), wanted, int(num)) for run in runs]
            ),
        )

    return View(name="compare", inputs=[runs, num], outputs=[shown], show=show), runs


def _class_name(studio: Studio, spot: Spot) -> str | None:
    """Return the name of the chosen class, by which other runs find theirs."""
    if spot.label is None:
        return None
    names = studio.shelf.generator(spot.run).class_names
    return names[spot.label] if spot.label < len(names) else str(spot.label)


def _row(studio: Studio, spot: Spot, wanted: str | None, num: int) -> dict[str, Any]:
    """Return a run's images for the template, or why there are none."""
    try:
        label = None if wanted is None else find_label(studio, spot.run, wanted)
        tiles = list_tiles(studio.sample(replace(spot, label=label), num))
        return {"name": spot.run, "tiles": tiles, "why": ""}
    except GansmithError as error:
        return {"name": spot.run, "tiles": [], "why": clean_text(studio.shelf, str(error))}


def find_label(studio: Studio, run: str, wanted: str) -> int | None:
    """Return the number of a class by its name; None for a run without classes.

    Raises:
        ConfigError: the run has classes, but not this one.
    """
    generator = studio.shelf.generator(run)
    return generator.class_number(wanted) if generator.spec.num_classes else None


def add_walk_view(studio: Studio, controls: Controls) -> tuple[View, Any]:
    """Add a player of a walk between seeds and classes; return the view and the list of classes."""
    gr = require_gradio()
    with gr.Row():
        seeds = gr.Textbox(
            "", label="Seeds to visit", placeholder="this seed and the next three", max_length=400, elem_id="seeds"
        )
        classes = gr.Dropdown(
            [], multiselect=True, max_choices=MOST_STOPS, label="Classes to visit", visible=False, elem_id="classes"
        )
        frames = gr.Slider(2, 60, FRAMES, step=1, label="Pictures from one to the next", elem_id="frames")
    with gr.Row():
        method = gr.Radio(list(WAYS), value="slerp", label="Way between two seeds", elem_id="method")
        loop = gr.Checkbox(True, label="Return to the first", elem_id="loop")
    shown = gr.HTML(apply_default_css=False, js_on_load=read_asset("player.js"), elem_id="walk")

    def show(spot: Spot, text: str, classes: list[str] | None, frames: float, method: str, loop: bool) -> tuple[str]:
        numbers = [parse_label(each) for each in classes or ()]
        visited = _parse_seeds(text, spot, single=len(numbers) > 1)
        if method not in ("slerp", "lerp"):
            raise ConfigError("way: expected slerp or lerp")
        way: Method = "lerp" if method == "lerp" else "slerp"
        samples = studio.walk(spot, visited, int(frames), classes=numbers, method=way, loop=bool(loop))
        return (show_player(samples, visited, loop=bool(loop)),)

    return View(name="walk", inputs=[seeds, classes, frames, method, loop], outputs=[shown], show=show), classes


def _parse_seeds(text: str, spot: Spot, *, single: bool) -> list[int]:
    """Return the seeds of a text; without any, the chosen one and, unless it is to be a single one, the next three."""
    words = re.split(r"[\s,;]+", (text or "").strip())
    if words == [""]:
        return [spot.seed + i for i in range(1 if single else 4)]
    if not all(SEEDS.fullmatch(word) for word in words):
        raise ConfigError("seeds: expected whole numbers with commas between, such as 1, 5, 12")
    return [int(word) for word in words]
