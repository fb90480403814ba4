"""gansmith export FORMAT RUN"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from gansmith.cli.export_data import export_data_set
from gansmith.cli.export_hub import export_hub_folder
from gansmith.cli.export_network import export_onnx_file, export_web_page, make_judge
from gansmith.cli.options import Count, Flag, OptionalPath, Text, parse, print_json
from gansmith.errors import ConfigError, ExportError, did_you_mean

__all__ = ["FORMATS", "main"]


@dataclass(frozen=True)
class ExportOptions:
    """Write a trained generator, or its images, for use outside gansmith.

    Each format has its own options: gansmith export onnx --help.
    """

    words: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="FORMAT RUN", help_behavior_hint=""),
    ]
    """onnx: a file for ONNX runtimes; web: a page for browsers; hub: a folder for the Hugging Face Hub; data: labelled
    images; then the run's folder"""
    benchmark: Flag = False
    """measure size, speed and difference of every format: gansmith export --benchmark RUN"""
    measure: Count = None
    """of --benchmark: measure FID and KID too, with this number of images"""
    against: Text = None
    """of --measure: the real images; default: those that the run was trained on"""
    root: OptionalPath = None
    """of --against: the folder with a local copy"""
    extractor: Text = None
    """of --measure: the feature extractor (gansmith list extractors); default: one that suits the data"""
    runtime: OptionalPath = None
    """of --benchmark: the folder of onnxruntime-web's npm package; default: node_modules here or above"""
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Export."""
    if arguments and arguments[0] in FORMATS:
        FORMATS[arguments[0]](arguments[1:])
        return
    options = parse(ExportOptions, "export", arguments)
    if options.benchmark and len(options.words) == 1:
        _benchmark(options)
        return
    if not options.words:
        raise ConfigError("gansmith export: no format; name one and a run: gansmith export onnx RUN")
    raise ConfigError(f"gansmith export {options.words[0]}: no such format; {did_you_mean(options.words[0], FORMATS)}")


def _benchmark(options: ExportOptions) -> None:
    from dataclasses import asdict

    from gansmith import api
    from gansmith.deploy.benchmark import measure_formats

    run = api.open_run(options.words[0])
    generator = run.generator()
    judge = make_judge(run.folder, generator.spec, options)
    rows = []
    if not options.json:
        heading = f"{'format':23} {'size':>9} {'images/s':>9} {'in 32s':>9} {'largest difference':>19}"
        print(heading + (f" {'FID':>9} {'KID':>9}" if judge else ""))
    for row in measure_formats(generator, run.folder, judge=judge, runtime=_find_runtime(options.runtime)):
        rows.append(asdict(row))
        if not options.json:
            print(_show_row(row), flush=True)
    if options.json:
        print_json(rows)


def _find_runtime(named: str | None) -> Any:
    from gansmith.deploy.web_runtime import find_runtime

    try:
        return find_runtime(named)
    except ExportError:
        if named:
            raise
        return None  # the table has no row for it


def _show_row(row: Any) -> str:
    speeds = ["-" if each is None else f"{each:.0f}" for each in (row.single, row.batched)]
    largest = "-" if row.largest is None else f"{row.largest:.0f}/255"
    line = f"{row.name:23} {f'{row.size_bytes / 1e6:.2f} MB':>9} {speeds[0]:>9} {speeds[1]:>9} {largest:>19}"
    return line + (f" {row.fid:>9.4g} {row.kid:>9.4g}" if row.fid is not None else "")


FORMATS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "onnx": export_onnx_file,
    "web": export_web_page,
    "hub": export_hub_folder,
    "data": export_data_set,
}
