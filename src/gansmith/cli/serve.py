"""gansmith serve RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gansmith.cli.options import Averaged, Flag, Number, Output, RunPath, Text, Whole, parse, print_json

__all__ = ["main"]


@dataclass(frozen=True)
class ServeOptions:
    """Serve generated images by HTTP, until Ctrl-C or SIGTERM.

    GET /v1/sample?seed=5 is a PNG; /docs shows all paths and parameters. The same seed gives the same image in every
    request.
    """

    run: RunPath
    """the run's folder, zoo:NAME (gansmith list zoo) or hf:USER/NAME"""
    host: Output = "127.0.0.1"
    """address to listen on; other than loopback, it needs a token"""
    port: Whole = 8000
    """port to listen on; 0: a free one"""
    token: Text = None
    """clients must send it as a bearer token; default: the variable GANSMITH_SERVE_TOKEN, which ps does not show"""
    allow_anyone: Flag = False
    """listen on any address without a token"""
    batch_size: Whole = 8
    """images that the generator computes at once"""
    wait_ms: Number = 0.0
    """milliseconds that a free place in a batch waits for a request; with 0, only a busy generator collects them"""
    most_images: Whole = 64
    """images of one request"""
    most_frames: Whole = 120
    """frames of one interpolation"""
    most_pixels: Whole = 4_000_000
    """pixels of one answer"""
    most_waiting: Whole = 512
    """images in the queue; beyond it, the answer is 503"""
    timeout_seconds: Number = 30.0
    """time until the answer is 504"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    device: Output = "cpu"
    """where the generator runs: cpu, cuda, mps"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Serve."""
    options = parse(ServeOptions, "serve", arguments)
    from dataclasses import fields

    from gansmith.deploy.serve import serve
    from gansmith.deploy.service import ServiceSettings

    settings = ServiceSettings(**{each.name: getattr(options, each.name) for each in fields(ServiceSettings)})

    def announce(url: str) -> None:
        if options.json:
            print_json({"url": url})
        else:
            print(f"{url}/docs", flush=True)

    serve(
        options.run,
        host=options.host,
        port=options.port,
        settings=settings,
        snapshot=options.snapshot,
        ema=options.ema,
        device=options.device,
        allow_anyone=options.allow_anyone,
        announce=announce,
    )
