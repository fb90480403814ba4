"""gansmith demo"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gansmith.cli.options import OptionalPath, parse_with_overrides

__all__ = ["main"]

NUM_JUDGED = 5000


@dataclass(frozen=True)
class DemoOptions:
    """Train a GAN on drawn traffic signs of 43 classes, at 32 pixels, judge it, and put it all on one page."""

    length: str = "3 min"
    """how long"""
    run: OptionalPath = None
    """the folder to write; demo, or demo-2 and so on"""


def main(arguments: Sequence[str]) -> None:
    """Run the demonstration."""
    options, overrides = parse_with_overrides(DemoOptions, "demo", arguments)
    from rich.console import Console

    from gansmith import api
    from gansmith.errors import command
    from gansmith.evaluation import list_metrics
    from gansmith.evaluation.table import show_measurements
    from gansmith.sampling import walks

    run = api.train("signs", length=options.length, run=options.run or _free_folder(), size=32, overrides=overrides)
    sheet = run.generator().sample(172, seed=1).save(run.path / "samples.png")
    walk = run.path / "walk.gif"
    walks.save_walk(run.interpolate(1, 2, steps=24, label="stop"), walk)
    measurement = run.evaluate(num=NUM_JUDGED)
    show_measurements([measurement], list_metrics(), Console())
    page = run.report()
    print(f"""
all on one page    {page}
the GAN's signs    {run.folder.images}, newest last; {sheet}
it learning        {run.folder.animation("gif")}
a walk             {walk}

next:
  gansmith train path/to/photos --length "20 min"          your own images, any folder or zip
  gansmith train gtsrb --length "20 min"                   the real traffic signs; --root if you have them
  {command("sample", run.path, "--label", "stop", "--out", "stop.png")}
  gansmith list presets""")


def _free_folder() -> str:
    from pathlib import Path

    names = ["demo", *(f"demo-{i}" for i in range(2, 1000))]
    return next(name for name in names if not Path(name).exists())
