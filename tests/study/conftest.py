"""A data set of noise on which trainings take no time, and what is written into run folders by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference
from gansmith.metrics.metric import Estimate


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Sixteen images of 8x8, in an .npz."""
    path = tmp_path / "noise.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8))
    return path


@pytest.fixture
def measurement() -> Callable[..., Measurement]:
    """Makes a line of metrics.jsonl: of tracking, unless a snapshot is named."""

    def make(nimg: int, figures: dict[str, float], snapshot: str = "now", network: str = "d", num: int = 10) -> Any:
        return Measurement(
            kind="tracking" if snapshot == "now" else "evaluation",
            when="2024-01-01T00:00:00+00:00",
            generated=Generated(path="run", num=num, snapshot=snapshot, nimg=nimg, seconds=nimg / 100),  # type: ignore[arg-type]
            reference=Reference(title="x", split="training", num=10, digest="a", selection="b"),
            extractor=ExtractorFacts(name="e", digest=network),
            values={name: Estimate(value=value, low=0, high=0, interval="none") for name, value in figures.items()},
            gansmith="0",
        )

    return make
