"""Traces of networks that are made once: torch.onnx takes seconds for each."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from gansmith.data.integrity import hash_tensors
from gansmith.deploy.onnx import _require, trace
from gansmith.sampling.generator import TrainedGenerator

__all__ = ["share_traces"]

_KEPT: dict[tuple[Any, ...], bytes] = {}


def share_traces(patch: pytest.MonkeyPatch) -> None:
    """Let every export trace equal networks, with equal arguments, once in this process."""
    for module in ("onnx", "web", "benchmark", "quality"):
        patch.setattr(f"gansmith.deploy.{module}.trace", _trace_once)


def _trace_once(generator: TrainedGenerator, **how: Any) -> Any:
    _require("onnx")
    import onnx

    bound = inspect.signature(trace).bind(generator, **how)
    bound.apply_defaults()
    given = tuple(value for name, value in bound.arguments.items() if name != "generator")
    key = (hash_tensors(generator.network.state_dict()), str(generator.model), generator.spec, *given)
    if key not in _KEPT:
        _KEPT[key] = bytes(trace(generator, **how).SerializeToString())
    return onnx.load_from_string(_KEPT[key])
