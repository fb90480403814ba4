"""Views of real pictures: a visitor's own beside the generator's nearest, training images nearest to a sample."""

from __future__ import annotations

import math
from dataclasses import replace
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
from gansmith.deploy.app.markup import Tile, fill_template, list_tiles, name_class
from gansmith.deploy.app.studio import MOST_NEAREST, Spot, Studio
from gansmith.deploy.app.uploads import PictureStore
from gansmith.evaluation.nearest import Neighbours
from gansmith.metrics.copies import COPY
from gansmith.numerals import number
from gansmith.sampling.generator import Samples
from gansmith.sampling.projections import Projections

__all__ = ["add_nearest_view", "add_projection_view", "show_neighbours"]

SEARCHING = {**GENERATOR, "concurrency_id": "projection"}
WAIT = "Searching for the generator's nearest picture. This takes about half a minute."
NUM = 4  # samples
NEAREST = 5  # training images of each
READING = (
    "Reading the training images of this run and computing their features. This takes seconds, and up to some minutes "
    "the first time on this machine; then pictures come at once."
)


def add_nearest_view(studio: Studio, controls: Controls) -> View:
    """Add samples, each beside the training images that are nearest to it."""
    gr = require_gradio()
    most = studio.settings.most_images
    near = max(1, min(NEAREST, most - 1))
    with gr.Row():
        num = gr.Slider(1, 16, max(1, min(NUM, most // (1 + near))), step=1, label="Pictures", elem_id="num-nearest")
        neighbours = gr.Slider(1, MOST_NEAREST, near, step=1, label="Training images of each", elem_id="neighbours")
    shown = gr.HTML(apply_default_css=False, elem_id="nearest")

    def show(spot: Spot, num: float, neighbours: float) -> tuple[str]:
        return (show_neighbours(studio.nearest(spot, int(num), int(neighbours))),)

    def wait(spot: Spot) -> str | None:
        return None if studio.knows_training_images(spot.run) else fill_template("note", text=READING)

    return View(name="nearest", inputs=[num, neighbours], outputs=[shown], show=show, wait=wait)


def show_neighbours(found: Neighbours) -> str:
    """Return a row for each sample: itself, whether it is a copy, and its training images with their distances."""
    rows = [
        {
            "name": tile.alt,
            "is_copy": bool(found.are_copies[i]),
            "difference": number(float(found.differences[i])),
            "tiles": [replace(tile, caption="generated", seed=None), *_list_neighbours(found, i)],
        }
        for i, tile in enumerate(list_tiles(found.samples))
    ]
    return fill_template("nearest", rows=rows, typical=number(found.typical), extractor=found.extractor, limit=COPY)


def _list_neighbours(found: Neighbours, i: int) -> list[Tile]:
    """Return the training images of a sample, with their classes and distances."""
    captions = [f"distance {number(float(distance))}" for distance in found.distances[i]]
    if found.labels is not None and found.class_names:
        names = [found.class_names[label] for label in found.labels[i]]
        captions = [f"{caption}, {name_class(name)}" for name, caption in zip(names, captions, strict=True)]
    tiles = list_tiles(Samples(images=found.images[i]), captions)
    return [replace(tile, alt=f"training image, {tile.caption}") for tile in tiles]


def add_projection_view(studio: Studio, pictures: PictureStore, controls: Controls) -> None:
    """Add a place for a visitor's picture, and its reconstruction."""
    gr = require_gradio()
    drop = fill_template("drop", most=studio.settings.most_upload_mb * 1_000_000)
    chooser = gr.HTML(drop, apply_default_css=False, js_on_load=read_asset("upload.js"), elem_id="drop")
    again = gr.Button("Search again with this run and class", size="sm", elem_id="again")
    shown = gr.HTML(apply_default_css=False, elem_id="projection")
    name = gr.Textbox("", visible="hidden", elem_id="uploaded")

    def find(name: str, run: str, seed: int, label: str, truncation: float) -> list[Any]:
        def make() -> list[Any]:
            spot = make_spot(run, seed, label, truncation)
            return [_show_projection(studio.project(spot, pictures.find(str(name))))]

        return show_safely(studio.shelf, make, 1)

    def take(event: Any) -> tuple[str, str]:
        return str(getattr(event, "name", ""))[:64], fill_template("note", text=WAIT)

    given = chooser.upload(with_event(take), None, [name, shown], show_progress="hidden", api_visibility="private")
    asked = again.click(
        lambda: fill_template("note", text=WAIT), None, shown, show_progress="hidden", api_visibility="private"
    )
    for event in (given, asked):
        event.then(find, [name, *controls.inputs], [shown], show_progress="hidden", **SEARCHING)


def _show_projection(found: Projections) -> str:
    label = None if found.labels is None else int(found.labels[0])
    name = "" if label is None or not found.class_names else f", class {found.class_names[label]}"
    given, made = Samples(images=found.images), Samples(images=found.reconstructions)
    return fill_template(
        "projection",
        given=list_tiles(given, ["your picture, as the generator would see it"])[0],
        made=list_tiles(made, [f"the generator's nearest{name}"])[0],
        distance=number(float(found.distances[0])),
        random=number(float(found.random_distances[0])),
        psnr=f"{found.psnr[0]:.1f} dB" if math.isfinite(found.psnr[0]) else "exact",
        verdict=_judge(float(found.distances[0]), float(found.random_distances[0])),
    )


def _judge(distance: float, random: float) -> str:
    """Return what the distance means, relative to that of random pictures."""
    if distance < 0.25 * random:
        return "The generator can make a picture very much like yours."
    if distance < 0.6 * random:
        return "The generator comes near, but misses details of your picture."
    return "The generator cannot make this picture: its nearest one is hardly nearer than a random one."
