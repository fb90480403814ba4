"""gansmith export onnx RUN, gansmith export web RUN"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import tyro

from gansmith.cli.options import (
    Averaged,
    Count,
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

__all__ = ["PageOptions", "export_onnx_file", "export_web_page", "make_judge", "open_run_source", "write_run_page"]


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
    measure: Count = None
    """measure FID and KID of the file and of PyTorch, with this number of images"""
    against: Text = None
    """of --measure: the real images; default: those that the run was trained on"""
    root: OptionalPath = None
    """of --against: the folder with a local copy"""
    extractor: Text = None
    """of --measure: the feature extractor (gansmith list extractors); default: one that suits the data"""
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
    engine: Literal["own", "onnxruntime"] = "own"
    """own: 17 KB; onnxruntime: onnxruntime-web, 14.3 MB"""
    runtime: OptionalPath = None
    """of --engine onnxruntime: the folder of its npm package, or cdn; default: node_modules here or above"""
    snapshot: Literal["best", "last"] = "best"
    """best: the generator that training kept as best; last: that of the newest checkpoint"""
    ema: Averaged = True
    """use the averaged weights"""
    json: Flag = False
    """print JSON only"""


@dataclass(frozen=True)
class WebOptions(PageOptions):
    """Write a page that generates images in the visitor's browser.

    Any static host serves its folder, as does python -m http.server. The page sends and loads nothing from elsewhere,
    except its engine with --runtime cdn.
    """


def export_onnx_file(arguments: Sequence[str]) -> None:
    """Write an ONNX file."""
    options = parse(OnnxOptions, "export onnx", arguments)
    if options.num < 1:
        raise ConfigError(f"--num: {options.num} images cannot be compared; expected at least 1")
    from pathlib import Path

    from gansmith import api
    from gansmith.console import work_progress
    from gansmith.deploy.onnx import export_onnx

    source, name = open_run_source(options)
    path = Path(options.out) if options.out else Path(f"{name}.onnx")
    judge = make_judge(api.open_run(options.run).folder, source.generator.spec, options)
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
    if not options.json:
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
        print(f"against PyTorch: {difference}")
    loss = _measure_loss(judge, source.generator, options) if judge else None
    if options.json:
        found = {"largest_difference": difference.largest, "mean_difference": difference.mean}
        facts = {"path": str(path), "size_bytes": path.stat().st_size, **found, "num_images": difference.num}
        print_json(facts if loss is None else {**facts, "loss": asdict(loss)})
    elif loss is not None:
        print(f"quality: {loss}")


def make_judge(folder: Any, spec: Any, options: Any) -> Any:
    """Return what measures FID and KID of a run's exports; None if --measure is not given."""
    if options.measure is None:
        if options.against or options.root or options.extractor:
            raise ConfigError("--against, --root, --extractor: are of --measure; add that, or leave them out")
        return None
    from gansmith.console import make_console
    from gansmith.deploy.quality import QualityJudge

    return QualityJudge(
        folder,
        spec,
        num=options.measure,
        against=options.against,
        root=options.root,
        extractor=options.extractor,
        console=make_console(quiet=options.json),
    )


def _measure_loss(judge: Any, generator: Any, options: OnnxOptions) -> Any:
    from gansmith.deploy.quality import measure_losses

    ((_, loss),) = measure_losses(judge, generator, (options.precision,), subpixel=options.subpixel)
    return loss


def export_web_page(arguments: Sequence[str]) -> None:
    """Write a page."""
    options = parse(WebOptions, "export web", arguments)
    page, _, _ = write_run_page(options)
    if options.json:
        print_json({"path": str(page.path), "size_bytes": page.size_bytes, "precision": page.precision})
        return
    print(f"{page.path}: {page.size_bytes / 1e6:.2f} MB, weights in {page.precision}")
    if not page.is_small and options.engine == "own" and page.precision != "int8":
        print("that is more than 3 MB, which takes seconds to load: --precision int8 makes it smaller")
    print(f"look at it: python -m http.server --directory {shlex.quote(str(page.path))}, then http://localhost:8000")


def write_run_page(options: PageOptions) -> tuple[Any, Any, str]:
    """Write the page of a run; return the page, the source of its generator, and its title."""
    from pathlib import Path

    from gansmith.deploy.web import write_page
    from gansmith.deploy.web_runtime import find_runtime

    if options.runtime and options.engine == "own":
        raise ConfigError(f"--runtime {options.runtime}: is of --engine onnxruntime; add that, or leave it out")
    runtime = find_runtime(options.runtime) if options.engine == "onnxruntime" else None
    source, name = open_run_source(options)
    title = options.title or name
    folder = Path(options.out) if options.out else Path(f"{name}-web")
    page = write_page(
        source.generator,
        folder,
        title=title,
        provenance=source.provenance,
        precision=options.precision,
        runtime=runtime,
    )
    return page, source, title


def open_run_source(options: Any) -> tuple[Any, str]:
    """Return the generator to export with its provenance, and the run's name."""
    from gansmith import api
    from gansmith.deploy.source import open_source

    source = open_source(api.open_run(options.run).folder, snapshot=options.snapshot, ema=options.ema)
    return source, source.provenance["run"]
