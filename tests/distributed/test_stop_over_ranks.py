"""A callback, which lives in the main process, stops all processes after the same step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gansmith.runs import RunFolder

PROGRAM = """
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["GANSMITH_TRUST"] = "__main__"

from gansmith.schedules import Duration
from gansmith.training import session
from gansmith.training.callbacks import Callback
from gansmith.training.presets import configure


@dataclass(frozen=True, kw_only=True)
class StopAfterThree(Callback):
    every: Duration = Duration(1, "steps")

    def call(self, training):
        if training.progress.step == 3:
            training.ask_to_stop("three are enough")


folder = Path(sys.argv[1])
changes = {
    "length": "500 steps", "batch_size": 8, "tracking": None, "guard": None, "model.width": 4,
    "samples.at_start": False,
    "callbacks": [StopAfterThree()],
}
session.begin(configure(folder / "pictures.npz", preset="dcgan-r1", overrides=changes), folder / "run")
"""


def test_a_callback_stops_both_processes(in_two_processes: Callable[[str], None], tmp_path: Path) -> None:
    np.savez(tmp_path / "pictures.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8))
    in_two_processes(PROGRAM)
    run = RunFolder.open(tmp_path / "run")
    assert '"stopped"' in run.status.read_text()
    assert run.latest_checkpoint().name == "000003"
