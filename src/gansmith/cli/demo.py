"""gansmith demo"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from gansmith.cli.options import Flag, OptionalPath, parse_with_overrides, print_json, quiet_if

__all__ = ["main"]

NUM_EVALUATED = 5000
NEXT = """
all on one page    {report}
generated images   {images}, newest last; {samples}
training           {animation}
an interpolation   {interpolation}

next:
  gansmith train path/to/photos --length "20 min"          your own images, any folder or zip
  gansmith train gtsrb --length "20 min"                   real traffic signs; --root if you have them
  {sample}
  gansmith list presets"""


@dataclass(frozen=True)
class DemoOptions:
    """Train a GAN on synthetic traffic signs (43 classes, 32 pixels), evaluate it and write a report."""

    length: Annotated[str, tyro.conf.arg(metavar="TEXT", help_behavior_hint='(default: "3 min")')] = "3 min"
    """how long to train"""
    run: OptionalPath = None
    """the folder to write; default: demo, or demo-2 and so on"""
    json: Flag = False
    """print the paths of all results as JSON; progress goes to standard error"""


def main(arguments: Sequence[str]) -> None:
    """Run the demonstration."""
    options, overrides = parse_with_overrides(DemoOptions, "demo", arguments)
    from gansmith.errors import command

    with quiet_if(options.json):
        paths = _make(options, overrides)
    if options.json:
        print_json(paths)
        return
    sample = command("sample", Path(paths["run"]), "--label", "stop", "--out", "stop.png")
    print(NEXT.format(**paths, sample=sample))


def _make(options: DemoOptions, overrides: dict[str, Any]) -> dict[str, str]:
    """Train, sample, interpolate, evaluate and report; return the paths of what was written."""
    from rich.console import Console

    from gansmith import api
    from gansmith.evaluation.table import show_measurements
    from gansmith.metrics import list_metrics
    from gansmith.metrics.extractor import choose_settings
    from gansmith.sampling import walks
    from gansmith.schedules import Duration

    run = api.train("signs", length=options.length, run=options.run or _free_folder(), size=32, overrides=overrides)
    samples = run.generator().sample(172, seed=1).save(run.path / "samples.png")
    walk = walks.save_walk(run.interpolate(1, 2, steps=24, label="stop"), run.path / "walk.gif")
    tracked_by = choose_settings("classifier", Duration.from_text(options.length))  # no other has to be trained
    show_measurements([run.evaluate(num=NUM_EVALUATED, extractor=tracked_by)], list_metrics(), Console())
    paths = {
        "run": run.path,
        "report": run.report(),
        "images": run.folder.images,
        "samples": samples,
        "animation": run.folder.animation("gif"),
        "interpolation": walk,
    }
    return {name: str(path) for name, path in paths.items()}


def _free_folder() -> str:
    names = ["demo", *(f"demo-{i}" for i in range(2, 1000))]
    return next(name for name in names if not Path(name).exists())
