"""gansmith resume RUN"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gansmith.cli.options import (
    Count,
    Flag,
    Rate,
    RunPath,
    Text,
    choose_app,
    parse_with_overrides,
    print_json,
    quiet_if,
)

__all__ = ["main"]


@dataclass(frozen=True)
class ResumeOptions:
    """Continue a stopped run; on the same CPU, the result is identical to an uninterrupted one.

    Settings keep their values unless you change them with an option, such as --generator_optimizer.lr 1e-4.
    """

    run: RunPath
    """the run's folder"""
    length: Text = None
    """new length of the whole training, the part before included: "20 min", "100 epochs", "3000 steps", "500 kimg\""""
    minutes: Rate = None
    """--minutes 20 is --length "20 min" """
    epochs: Rate = None
    """passes over the data: --epochs 100 is --length "100 epochs" """
    steps: Count = None
    """updates of the generator: --steps 3000 is --length "3000 steps" """
    kimg: Rate = None
    """thousands of real images: --kimg 500 is --length "500 kimg" """
    lr: Rate = None
    """new learning rate of both networks"""
    app: Flag = False
    """show the training on a local page (gansmith app), in a process of its own"""
    app_port: Count = None
    """port of that page; default: 7860, or a free one"""
    json: Flag = False
    """print the run's state as JSON; progress goes to standard error"""


def main(arguments: Sequence[str]) -> None:
    """Continue a run."""
    options, overrides = parse_with_overrides(ResumeOptions, "resume", arguments)
    from gansmith import api
    from gansmith.run_list import summarize_run
    from gansmith.training.keywords import expand_short_names

    names = ("length", "minutes", "epochs", "steps", "kimg", "lr")
    short = expand_short_names(**{name: getattr(options, name) for name in names}, prefix="--")
    with quiet_if(options.json):
        run = api.resume(options.run, app=choose_app(options.app, options.app_port), overrides=short | overrides)
    if options.json:
        print_json(asdict(summarize_run(run.path)))
