"""Fifty steps on real digits give the losses that they gave when these were written down.

A change that moves them on purpose says why in the changelog and writes them anew:
``python tests/golden/test_golden_losses.py``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from gansmith import api

WRITTEN = Path(__file__).with_name("losses.json")
KEYS = ("loss/generator", "loss/discriminator", "logits/real", "logits/fake")
RUNS = {
    "dcgan-r1": {"model.width": 8},
    "sndcgan-64": {"model.width": 8, "preparation.size": [16, 16], "loss": "hinge"},
    "dense-mnist": {"model.width": 64, "callbacks": []},
}


def losses(name: str, folder: Path) -> list[list[float]]:
    """Means of each ten steps."""
    habits = {"batch_size": 32, "log_every": "10 steps", "precision": "float32", "device": "cpu"}
    habits |= {"held_out": 0, "tracking": None}
    run = api.train("digits", preset=name, length="50 steps", run=folder / name, overrides={**habits, **RUNS[name]})
    return [[round(line[key], 5) for key in KEYS] for line in run.stats()]


@pytest.mark.parametrize("name", RUNS)
def test_the_losses_are_those_written_down(name: str, tmp_path: Path) -> None:
    wanted = json.loads(WRITTEN.read_text())[name]
    found = losses(name, tmp_path)
    assert len(found) == len(wanted) == 5
    for mine, theirs in zip(found, wanted, strict=True):  # other processors add in another order
        assert mine == pytest.approx(theirs, rel=0.02, abs=0.01)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        WRITTEN.write_text(json.dumps({name: losses(name, Path(place)) for name in RUNS}, indent=1) + "\n")
