"""Two processes go back together, and go on with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gansmith.runs import RunFolder
from gansmith.training.config import load_config

PROGRAM = """
import os
import sys
from pathlib import Path

import torch

from gansmith.training import session, stages
from gansmith.training.presets import configure

folder, states = Path(sys.argv[1]), []
changes = {
    "length": "12 steps", "batch_size": 8, "log_every": "2 steps", "checkpoint_every": "8 steps", "tracking": None,
    "model.width": 4, "generator_optimizer.lr": 1.0, "discriminator_optimizer.lr": 1.0, "guard.num": 2,
}
config = configure(folder / "pictures.npz", preset="dcgan-r1", overrides=changes)
create = stages.TrainState.create
stages.TrainState.create = lambda *given, **named: states.append(create(*given, **named)) or states[0]
session.begin(config, folder / "run")
weights = torch.cat([each.flatten() for each in states[0].generator.parameters()])
lines = f"{states[0].config.generator_optimizer.lr} {weights.sum().item()!r} {weights.abs().sum().item()!r}"
rank = os.environ["RANK"]
(folder / f"rank{rank}").write_text(lines)
"""


def test_two_processes_go_back_together(in_two_processes: Callable[[str], None], tmp_path: Path) -> None:
    np.savez(tmp_path / "pictures.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8))
    in_two_processes(PROGRAM)
    run = RunFolder.open(tmp_path / "run")
    rollbacks = [event for event in run.read_events() if event["what"] == "rollback"]
    assert rollbacks and run.read_events()[0]["severity"] == "failure"
    first, second = ((tmp_path / f"rank{rank}").read_text() for rank in range(2))
    assert first == second
    assert float(first.split()[0]) == load_config(run.config).generator_optimizer.lr < 1.0
