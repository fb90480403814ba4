"""gansmith: train, evaluate, compare and explore generative adversarial networks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Config",
    "GansmithError",
    "Run",
    "configure",
    "create_app",
    "evaluate",
    "open_run",
    "preview",
    "resume",
    "run_study",
    "serve",
    "train",
]

if TYPE_CHECKING:
    from gansmith.api import Run, open_run, preview, resume, train
    from gansmith.deploy.serve import create_app, serve
    from gansmith.errors import GansmithError
    from gansmith.evaluation import evaluate
    from gansmith.study.run import run_study
    from gansmith.training.config import Config
    from gansmith.training.presets import configure

_HOMES = {
    "Config": "gansmith.training.config",
    "GansmithError": "gansmith.errors",
    "configure": "gansmith.training.presets",
    "create_app": "gansmith.deploy.serve",
    "evaluate": "gansmith.evaluation",
    "run_study": "gansmith.study.run",
    "serve": "gansmith.deploy.serve",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that the command line's help need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'gansmith' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES.get(name, "gansmith.api")), name)
