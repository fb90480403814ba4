"""gansmith app [RUN ...]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from gansmith.cli.options import Flag, Output, Text, Whole, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class AppOptions:
    """Show runs on a local page: samples, directions, walks, your own pictures, and trainings while they run.

    The same seed gives the same image as gansmith sample. The page loads and sends nothing from or to other hosts.
    """

    runs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="")
    ] = ()
    """run folders, zoo:NAME, or folders that contain runs; default: the runs in ./runs"""
    host: Output = "127.0.0.1"
    """address to listen on; other than loopback, it needs a password"""
    port: Whole = 7860
    """port to listen on; 0: a free one"""
    password: Text = None
    """visitors must type it; default: the variable GANSMITH_APP_PASSWORD, which ps does not show"""
    allow_anyone: Flag = False
    """listen on any address without a password"""
    most_images: Whole = 64
    """images of one grid"""
    most_frames: Whole = 240
    """images of one walk"""
    most_pixels: Whole = 4_000_000
    """pixels of one answer"""
    most_upload_mb: Whole = 20
    """megabytes of an uploaded picture"""
    most_waiting: Whole = 64
    """requests in the queue"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Show the page."""
    options = parse(AppOptions, "app", arguments)
    from dataclasses import fields

    from gansmith.deploy.app.server import serve_page
    from gansmith.deploy.app.settings import AppSettings

    settings = AppSettings(**{each.name: getattr(options, each.name) for each in fields(AppSettings)})

    def announce(address: str) -> None:
        if options.json:
            print_json({"url": address})
        else:
            print(address, flush=True)

    serve_page(
        options.runs,
        host=options.host,
        port=options.port,
        settings=settings,
        allow_anyone=options.allow_anyone,
        announce=announce,
    )
