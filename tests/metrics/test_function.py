"""Features of a user's own function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.component import from_outside, from_plain, to_plain
from gansmith.data.store import Store
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork
from gansmith.types import ImageSpec

STORE = Store(
    path=Path("nowhere"),
    title="none",
    kind="photos",
    spec=ImageSpec(height=2, width=3, channels=3),
    images=np.zeros((1, 2, 3, 3), np.uint8),
    labels=None,
    class_names=(),
    groups=None,
    digest="none",
)
SOURCE = """
from pathlib import Path
import torch
Path(__file__).with_name("imported").touch()
NUMBER = 3
def means(pixels): return pixels.double().mean(dim=(2, 3))
def too_few(pixels): return pixels.float().mean(dim=(2, 3))[1:]
def flat(pixels): return pixels.float().mean(dim=(1, 2, 3))
def whole(pixels): return pixels.flatten(1)
def array(pixels): return pixels.numpy()
"""
PIXELS = torch.arange(36, dtype=torch.uint8).view(2, 3, 2, 3)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's."""
    path = tmp_path / "users_features.py"
    path.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield path
    sys.modules.pop("users_features", None)


def extractor(function: str) -> Extractor:
    plain = {"name": "function", "path": f"users_features:{function}"}
    made: Extractor = from_plain(Extractor, plain, "extractor")
    return made


def network(function: str) -> FeatureNetwork:
    return extractor(function).network(STORE, np.arange(1))


@pytest.mark.usefixtures("own")
def test_its_values_are_the_features() -> None:
    made = network("means")
    features, logits = made(PIXELS)
    assert features.dtype == torch.float32 and logits is None
    torch.testing.assert_close(features, PIXELS.float().mean(dim=(2, 3)))
    assert (made.name, made.note, made.num_classes) == ("function", "users_features:means", 0)
    assert to_plain(extractor("means")) == {"name": "function", "path": "users_features:means"}


def test_the_digest_is_that_of_the_function_and_its_file(own: Path) -> None:
    first = network("means").digest
    assert network("means").digest == first != network("flat").digest
    own.write_text(SOURCE + "# changed\n")
    assert network("means").digest != first


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("too_few", r"float32 \[1 3\]; expected \[2 d\]"),
        ("flat", r"float32 \[2\]; expected \[2 d\]"),
        ("whole", r"uint8 \[2 18\]; expected floating-point features \[n d\]"),
        ("array", r"a ndarray; expected floating-point features \[n d\]"),
    ],
)
def test_other_values_are_refused(function: str, found: str) -> None:
    with pytest.raises(MetricError, match=f"users_features:{function}: returned {found}"):
        network(function)(PIXELS)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("users_features", "'users_features' names no function; write it as package.module:function"),
        ("users_features:nothing", r"cannot import 'users_features:nothing' \(.*\); write it as package.module:name"),
        ("users_features:NUMBER", "'users_features:NUMBER' is no function; expected one that turns images into"),
        ("no_such_module:f", r"cannot import 'no_such_module:f'"),
    ],
)
def test_a_path_that_names_no_function(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(Extractor, {"name": "function", "path": path}, "extractor")


@pytest.mark.usefixtures("own")
def test_a_function_without_source_is_refused() -> None:
    made = from_plain(Extractor, {"name": "function", "path": "torch:relu"}, "extractor")
    with pytest.raises(MetricError, match="torch:relu: its source cannot be read"):
        made.network(STORE, np.arange(1))


def test_from_outside_it_is_imported_only_if_trusted(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    refusal = "'users_features:means' would run code from outside gansmith; allow it with GANSMITH_TRUST=users_features"
    with from_outside(), pytest.raises(ConfigError, match=refusal):
        extractor("means")
    assert not own.with_name("imported").exists()
    monkeypatch.setenv("GANSMITH_TRUST", "users_features")
    with from_outside():
        extractor("means")
    assert own.with_name("imported").exists()
