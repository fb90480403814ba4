"""Features of a user's own function."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from gansmith.component import from_plain, override, to_plain
from gansmith.data.store import Store
from gansmith.errors import ConfigError, MetricError
from gansmith.metrics.extractor import Extractor
from gansmith.metrics.features import FeatureNetwork, extract_store
from gansmith.training.tracking import Tracking
from gansmith.trust import trust_user_input
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
def maxima(pixels): return pixels.double().amax(dim=(2, 3))
def too_few(pixels): return pixels.float().mean(dim=(2, 3))[1:]
def flat(pixels): return pixels.float().mean(dim=(1, 2, 3))
def whole(pixels): return pixels.flatten(1)
def array(pixels): return pixels.numpy()
def random(pixels): return torch.rand(len(pixels), 2)
"""
USES_HELPER = """
import users_helper
def scaled(pixels): return users_helper.scale(pixels).mean(dim=(2, 3))
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
    forget()


def forget() -> None:
    """Let the user's modules be imported again, as another process would."""
    for name in ("users_features", "users_helper"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    sys.path_importer_cache.clear()


def extractor(function: str, version: str | None = None) -> Extractor:
    return extractor_at(f"users_features:{function}", version)


def extractor_at(path: str, version: str | None = None) -> Extractor:
    plain = {"name": "function", "path": path, "version": version}
    with trust_user_input():
        made: Extractor = from_plain(Extractor, plain, "extractor")
    return made


def network(function: str, store: Store = STORE, version: str | None = None) -> FeatureNetwork:
    return extractor(function, version).network(store, np.arange(1))


@pytest.mark.usefixtures("own")
def test_its_values_are_the_features() -> None:
    made = network("means")
    features, logits = made(PIXELS)
    assert features.dtype == torch.float32 and logits is None
    torch.testing.assert_close(features, PIXELS.float().mean(dim=(2, 3)))
    assert (made.name, made.note, made.num_classes) == ("function", "users_features:means", 0)
    assert to_plain(extractor("means")) == {
        "name": "function",
        "path": "users_features:means",
        "version": None,
    }


def test_the_digest_is_that_of_the_function_and_its_file(own: Path) -> None:
    first = network("means").digest
    assert network("means").digest == first != network("maxima").digest
    own.write_text(SOURCE + "# changed\n")
    assert network("means").digest != first


def store_of(channels: int, height: int = 9, width: int = 12) -> Store:
    images = np.random.default_rng(1).integers(0, 256, (40, height, width, channels), np.uint8)
    spec = ImageSpec(height=height, width=width, channels=channels)
    return dataclasses.replace(STORE, spec=spec, images=images, digest=f"noise {channels}")


# What each does to the pixels, before and after a change of a constant in a helper module.
CHANGES = {
    "a factor": ("pixels.float() * 1.0", "pixels.float() * 1.0001"),
    "dark pixels only": ("pixels.float()", "pixels.float().where(pixels > 2, 7)"),
    "bright pixels only": ("pixels.float()", "pixels.float().clamp(max=253)"),
    "flat images only": ("pixels.float()", "pixels.float() + (pixels.float().std(dim=(1, 2, 3), keepdim=True) < 1)"),
    "noise only": ("pixels.float()", "pixels.float() + (pixels.float().std(dim=(1, 2, 3), keepdim=True) > 60)"),
    "the last channel only": (
        "pixels.float()",
        "torch.cat([pixels[:, :-1].float(), pixels[:, -1:].float() * 1.01], dim=1)",
    ),
    "one place only": ("pixels.float()", "pixels.float().index_fill(3, torch.tensor([11]), 3)"),
}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("change", CHANGES)
def test_a_constant_of_a_helper_module_changes_the_digest_and_the_features(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, channels: int
) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    own.write_text(USES_HELPER)
    store, found = store_of(channels), []
    for body in CHANGES[change]:
        own.with_name("users_helper.py").write_text(
            f"import torch\ndef scale(pixels): return {body}  {'#' * len(body)}\n"
        )
        forget()
        made = network("scaled", store)
        features = extract_store(made, store, np.arange(40)).values
        pixels = torch.from_numpy(store.images).permute(0, 3, 1, 2)
        assert torch.equal(features, made(pixels)[0])  # and none that was cached before the change
        found.append(made.digest)
        forget()
        assert network("scaled", store).digest == made.digest  # another process finds the same
    assert found[0] != found[1]


def test_a_named_version_takes_the_place_of_what_is_computed(own: Path) -> None:
    own.write_text(USES_HELPER)
    digests = []
    for factor, version in (("1.0", "a"), ("2.00", "a"), ("2.00", "b"), ("2.00", None)):
        own.with_name("users_helper.py").write_text(f"def scale(pixels): return pixels.float() * {factor}\n")
        forget()
        digests.append(network("scaled", version=version).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


@pytest.mark.usefixtures("own")
def test_the_digest_does_not_depend_on_the_number_of_threads() -> None:
    threads, digests = torch.get_num_threads(), set()
    try:
        for num in (1, 2):
            torch.set_num_threads(num)
            digests.add(network("means", store_of(3, 64, 64)).digest)
            assert torch.get_num_threads() == num
    finally:
        torch.set_num_threads(threads)
    assert len(digests) == 1


@pytest.mark.usefixtures("own")
def test_a_function_that_is_random_is_refused() -> None:
    with pytest.raises(MetricError, match="users_features:random: returned different features for the same images on"):
        network("random")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("too_few", r"float32 \[38 3\]; expected \[39 d\]"),
        ("flat", r"float32 \[39\]; expected \[39 d\]"),
        ("whole", r"uint8 \[39 18\]; expected floating-point features \[n d\]"),
        ("array", r"a ndarray; expected floating-point features \[n d\]"),
    ],
)
def test_other_values_are_refused(function: str, found: str) -> None:
    with pytest.raises(MetricError, match=f"users_features:{function}: returned {found}"):
        network(function)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("users_features", "'users_features' is not the name of a function; write it as package.module:function"),
        ("users_features:nothing", r"cannot import 'users_features:nothing' \(.*\); write it as package.module:name"),
        ("users_features:NUMBER", "'users_features:NUMBER' is not a function; expected one that computes features"),
        ("no_such_module:f", r"cannot import 'no_such_module:f'"),
    ],
)
def test_a_path_that_names_no_function(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        extractor_at(path)


@pytest.mark.usefixtures("own")
def test_a_function_without_source_is_refused() -> None:
    made = extractor_at("torch:relu")
    with pytest.raises(MetricError, match="torch:relu: its source cannot be read"):
        made.network(STORE, np.arange(1))


def test_a_file_that_names_it_does_not_import_it(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    refusal = "'users_features:means' would run code from outside gansmith; allow it with GANSMITH_TRUST=users_features"
    plain = {"name": "function", "path": "users_features:means"}
    with pytest.raises(ConfigError, match=refusal):
        from_plain(Extractor, plain, "extractor")
    assert not own.with_name("imported").exists()
    monkeypatch.setenv("GANSMITH_TRUST", "users_features")
    from_plain(Extractor, plain, "extractor")
    assert own.with_name("imported").exists()


def test_a_text_that_the_user_did_not_write_is_not_trusted_with_what_he_did(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GANSMITH_TRUST", raising=False)
    from_a_file = from_plain(Tracking, {"extractor": {"name": "inception", "path": "users_features:means"}}, "tracking")
    with trust_user_input(), pytest.raises(ConfigError, match="GANSMITH_TRUST=users_features"):
        override(from_a_file, {"extractor.name": "function"})
    assert not own.with_name("imported").exists()
    with trust_user_input():
        changed = override(from_a_file, {"extractor.name": "function", "extractor.path": "users_features:means"})
    assert override(changed, {"num": 7}).extractor == changed.extractor
