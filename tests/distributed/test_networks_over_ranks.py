"""Of several processes the main one alone lets a feature network learn; the others take what it has made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from gansmith import dist
from gansmith.data.digits import Digits
from gansmith.data.store import prepare
from gansmith.metrics.classifier import Classifier

folder = Path(sys.argv[1])
with dist.process_group(torch.device("cpu")):
    with dist.main_first():
        store = prepare(Digits())
    steps = []
    network = Classifier(width=8, kimg=0.3).network(store, np.arange(500), lambda *done: steps.append(done))
    (folder / f"rank{dist.rank()}.txt").write_text(f"{network.digest} {network.note} {len(steps)}")
"""


def test_the_main_process_alone_learns(in_two_processes: Callable[[str], None], tmp_path: Path) -> None:
    in_two_processes(PROGRAM)
    main, other = ((tmp_path / f"rank{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1))
    assert main.rsplit(" ", 1) == [other.rsplit(" ", 1)[0], "5"]
    assert other.endswith(" 0")
