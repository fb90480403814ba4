"""gansmith export onnx RUN, gansmith export web RUN"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from gansmith.cli.options import (
    Averaged,
    Flag,
    OptionalPath,
    RunPath,
    Text,
    Whole,
    parse,
    print_json,
    quiet_if,
)
from gansmith.errors import ConfigError

__all__ = ["PageOptions", "export_onnx_file", "export_web_page", "open_run_source", "write_run_page"]


@dataclass(frozen=True)
class OnnxOptions:
    """Write an ONNX file and compare its images with PyTorch's.

    Its inputs are z, truncation, and labels if there are classes; its output is images. The file's properties describe
    them, the classes and the run.
    """

    run: RunPath
    """the run's folder, zoo:NAME or hf:USER/NAME"""
    out: OptionalPath = None
    """the file; default: the run's name with .onnx"""
    pixels: Literal["uint8", "float32"] = "uint8"
    """uint8: images [n h w c], 0 to 255; float32: [n c h w] in the network's range"""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """of the stored weights: fp16 halves the file, int8 quarters it; computed in float32"""
    subpixel: Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: --subpixel)")] = True
    """rewrite transposed convolutions as convolutions, which all browser backends have"""
    num: Whole = 1000
    """latents whose images are compared with PyTorch's"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


@dataclass(frozen=True)
class PageOptions:
    """What a page is made of, for the commands that write one."""

    run: RunPath
    """the run's folder, zoo:NAME or hf:USER/NAME"""
    out: OptionalPath = None
    """the folder; default: the run's name with -web"""
    title: Text = None
    """of the page; default: the run's name"""
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, tyro.conf.arg(metavar="{fp32,fp16,int8}", help_behavior_hint="")
    ] = None
    """of the stored weights; default: fp32, or fp16 if the page would exceed 3 MB"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


@dataclass(frozen=True)
class WebOptions(PageOptions):
    """Write a page that generates images in the visitor's browser.

    Any static host serves its folder, as does python -m http.server. The page sends and loads nothing from elsewhere.
    """


def export_onnx_file(arguments: Sequence[str]) -> None:
    """Write an ONNX file."""
    options = parse(OnnxOptions, "export onnx", arguments)
    if options.num < 1:
        raise ConfigError(f"--num: {options.num} images cannot be compared; expected at least 1")
    from pathlib import Path

    from gansmith.console import work_progress
    from gansmith.deploy.onnx import export_onnx

    source, name = open_run_source(options)
    path = Path(options.out) if options.out else Path(f"{name}.onnx")
    with quiet_if(options.json), work_progress("comparing with PyTorch") as progress:
        difference = export_onnx(
            source.generator,
            path,
            provenance=source.provenance,
            pixels=options.pixels,
            precision=options.precision,
            subpixel=options.subpixel,
            num=options.num,
            progress=progress,
        )
    if options.json:
        found = {"largest_difference": difference.largest, "mean_difference": difference.mean}
        print_json({"path": str(path), "size_bytes": path.stat().st_size, **found, "num_images": difference.num})
        return
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    print(f"against PyTorch: {difference}")


def export_web_page(arguments: Sequence[str]) -> None:
    """Write a page."""
    options = parse(WebOptions, "export web", arguments)
    page, _, _ = write_run_page(options)
    if options.json:
        print_json({"path": str(page.path), "size_bytes": page.size_bytes, "precision": page.precision})
        return
    print(f"{page.path}: {page.size_bytes / 1e6:.2f} MB, weights in {page.precision}")
    print(f"look at it: python -m http.server --directory {shlex.quote(str(page.path))}, then http://localhost:8000")


def write_run_page(options: PageOptions) -> tuple[Any, Any, str]:
    """Write the page of a run; return the page, the source of its generator, and its title."""
    from pathlib import Path

    from gansmith.deploy.web import write_page

    source, name = open_run_source(options)
    title = options.title or name
    folder = Path(options.out) if options.out else Path(f"{name}-web")
    page = write_page(source.generator, folder, title=title, provenance=source.provenance, precision=options.precision)
    return page, source, title


def open_run_source(options: Any) -> tuple[Any, str]:
    """Return the generator to export with its provenance, and the run's name."""
    from gansmith import api
    from gansmith.deploy.source import open_source

    source = open_source(api.open_run(options.run).folder, snapshot=options.snapshot, ema=options.ema)
    return source, source.provenance["run"]
