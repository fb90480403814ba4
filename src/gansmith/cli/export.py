"""gansmith export FORMAT RUN"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from gansmith.cli.export_data import export_data_set
from gansmith.cli.export_network import export_onnx_file, export_web_page
from gansmith.cli.options import OnlyJson, parse
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
    """onnx: a file for ONNX runtimes; web: a page for browsers; data: labelled images; then the run's folder"""
    json: OnlyJson = False
    """print JSON only"""


def main(arguments: Sequence[str]) -> None:
    """Export."""
    if arguments and arguments[0] in FORMATS:
        FORMATS[arguments[0]](arguments[1:])
        return
    options = parse(ExportOptions, "export", arguments)
    if not options.words:
        raise ConfigError("gansmith export: no format; name one and a run: gansmith export onnx RUN")
    raise ConfigError(f"gansmith export {options.words[0]}: no such format; {did_you_mean(options.words[0], FORMATS)}")


FORMATS: Mapping[str, Callable[[Sequence[str]], None]] = {
    "onnx": export_onnx_file,
    "web": export_web_page,
    "data": export_data_set,
}
