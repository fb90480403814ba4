"""Where the tests of the zoo find its scripts, and how they use another zoo than the real one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "zoo"))

from builder import measure, pack, train  # noqa: E402

from gansmith.zoo import manifest, places  # noqa: E402

RECIPE = """
title = "Digits."
data = "digits"
size = 8
length = "3 steps"
seed = {seed}
preset = "dcgan-r1"
place = "gansmith"
described = "scikit-learn's digits"
license = "BSD-3-Clause"
rights = "They belong to scikit-learn."
limits = "It has hardly been trained."
[settings]
"model.width" = 4
"model.z_dim" = 4
batch_size = 8
"""


def use(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Let gansmith and the scripts use the zoo below a folder."""
    patch.setattr(train, "RECIPES", home / "recipes")
    patch.setattr(measure, "SPACES", {"random-conv": {"name": "random-conv", "width": 4}})
    patch.setattr(measure, "METRICS", {"random-conv": "fid,precision-recall,memorisation"})
    patch.setattr(measure, "NUM_COMPARED", 64)
    patch.setattr(
        pack, "HOMES", {"gansmith": home / "entries", "gansmith-zoo": home / "site" / "gansmith_zoo" / "entries"}
    )
    patch.setattr(manifest, "MANIFEST", home / "manifest.json")
    patch.setattr(places, "PACKAGED", home / "entries")
    patch.delenv("GANSMITH_ZOO_URL", raising=False)
