"""gansmith export FORMAT RUN"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from gansmith.cli.export_data import export_data_set
from gansmith.cli.export_hub import export_hub_folder
from gansmith.cli.export_network import export_onnx_file, export_web_page
from gansmith.cli.options import Flag, parse, print_json
from gansmith.errors import ConfigError, did_you_mean

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
    json: Flag = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Export."""
    if arguments and arguments[0] in FORMATS:
        FORMATS[arguments[0]](arguments[1:])
        return
    options = parse(ExportOptions, "export", arguments)
    if options.benchmark and len(options.words) == 1:
        _benchmark(options.words[0], only_json=options.json)
        return
    if not options.words:
        raise ConfigError("gansmith export: no format; name one and a run: gansmith export onnx RUN")
    raise ConfigError(f"gansmith export {options.words[0]}: no such format; {did_you_mean(options.words[0], FORMATS)}")


def _benchmark(run: str, *, only_json: bool) -> None:
    from dataclasses import asdict

    from gansmith import api
    from gansmith.deploy.benchmark import measure_formats

    rows = []
    if not only_json:
        print(f"{'format':12} {'size':>9} {'images/s':>9} {'in 32s':>9} {'largest difference':>19}")
    for row in measure_formats(api.open_run(run).generator()):
        rows.append(asdict(row))
        if not only_json:
            speeds = ["-" if each is None else f"{each:.0f}" for each in (row.single, row.batched)]
            largest = "-" if row.largest is None else f"{row.largest:.0f}/255"
            size = f"{row.size_bytes / 1e6:.2f} MB"
            print(f"{row.name:12} {size:>9} {speeds[0]:>9} {speeds[1]:>9} {largest:>19}", flush=True)
    if only_json:
        print_json(rows)


FORMATS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "onnx": export_onnx_file,
    "web": export_web_page,
    "hub": export_hub_folder,
    "data": export_data_set,
}
