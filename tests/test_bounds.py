"""What a configuration or a command asks for is bounded: one line at once instead of memory without end."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import torch

import gansmith
from gansmith import devices
from gansmith.component import Component, from_plain, override
from gansmith.data.npz import Npz
from gansmith.devices import choose_compute, require_bytes
from gansmith.errors import ConfigError
from gansmith.models.dcgan import DCGAN
from gansmith.models.dense import Dense
from gansmith.sampling.generator import TrainedGenerator
from gansmith.training.config import Config
from gansmith.training.state import TrainState
from gansmith.types import ImageSpec

SPEC = ImageSpec(height=16, width=16, channels=3)
CONFIG = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), batch_size=8)


def components() -> Iterator[type[Component]]:
    for module in pkgutil.walk_packages(gansmith.__path__, "gansmith."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting = Component.__subclasses__()
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if found.__module__.startswith("gansmith."):
            yield found


def bounds_of_whole_numbers(annotation: Any, bounds: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The bounds of each whole number in an annotation."""
    if get_origin(annotation) is Annotated:
        base, *own = get_args(annotation)
        yield from bounds_of_whole_numbers(base, (*own, *bounds))
    elif annotation is int:
        yield bounds
    else:
        for part in get_args(annotation):
            yield from bounds_of_whole_numbers(part)


def test_no_whole_number_of_any_component_is_without_bound() -> None:
    seen, unbounded = 0, []
    for component in components():
        for field, annotation in get_type_hints(component, include_extras=True).items():
            for bounds in bounds_of_whole_numbers(annotation) if field not in ("table", "kind", "native_size") else ():
                seen += 1
                if not any(hasattr(bound, "__contains__") and 10**30 not in bound for bound in bounds):
                    unbounded.append(f"{component.__name__}.{field}")
    assert seen > 40 and not unbounded


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples.rows", 10**9),
        ("samples.columns", 10**9),
        ("batch_size", 10**9),
        ("micro_batch", 10**9),
        ("model.width", 10**9),
        ("model.z_dim", 10**9),
        ("preparation.size", [10**6, 10**6]),
        ("tracking.num_real", 10**12),
        ("guard.num", 10**12),
        ("keep_checkpoints", 10**12),
        ("seed", 10**30),
        ("batch_size", 1e300),
    ],
)
def test_absurd_sizes_are_refused_in_one_line(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="is out of range; expected from") as caught:
        override(CONFIG, {field: value})
    assert "\n" not in str(caught.value) and field.rpartition(".")[2] in str(caught.value)


def test_what_cannot_fit_into_memory_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 10**6)
    compute = choose_compute("cpu", "float32")
    large = override(CONFIG, {"batch_size": 4096})
    message = r"config.batch_size: batches of 4,096 images of 16x16 RGB need at least 24 MiB .* 1 MiB are free"
    with pytest.raises(ConfigError, match=message):
        TrainState.create(large, SPEC, compute, epoch_size=8)
    wide = override(CONFIG, {"model": {"name": "dense", "width": 16_384}})
    with pytest.raises(ConfigError, match=r"config.model: networks of [0-9,]+ weights need at least [0-9,]+ MiB"):
        TrainState.create(wide, SPEC, compute, epoch_size=8)


def test_the_check_of_memory_changes_no_weight_and_no_random_number() -> None:
    compute = choose_compute("cpu", "float32")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    state = TrainState.create(CONFIG, SPEC, compute, epoch_size=8)
    assert torch.equal(torch.get_rng_state(), before)
    made = TrainState.create(
        CONFIG,
        SPEC,
        compute,
        8,
        lambda: {name: build() for name, build in CONFIG.recipe.networks(CONFIG, SPEC).items()},
    )
    for one, other in zip(state.generator.parameters(), made.generator.parameters(), strict=True):
        assert torch.equal(one, other)


def test_where_free_memory_is_unknown_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: None)
    require_bytes(10**18, torch.device("cpu"), "num", "images")  # raises nothing
    monkeypatch.setattr(devices, "free_bytes", lambda device: 10**18 - 1)
    with pytest.raises(ConfigError, match="num: images need at least"):
        require_bytes(10**18, torch.device("cpu"), "num", "images")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num": 10**12}, "num: 1000000000000 images cannot be sampled; expected 1 to 10,000,000"),
        ({"num": 10**7}, r"num: 10,000,000 images of 16x16 RGB need at least [0-9,]+ MiB of memory"),
        ({"seed": 10**30}, "seed: 1000000000000000000000000000000 is out of range"),
        ({"seed": 2**63 - 1, "num": 2}, "seed: 9223372036854775807 is out of range"),
    ],
)
def test_samples_without_end_are_refused(asked: dict[str, int], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "free_bytes", lambda device: 10**9)
    model = Dense(width=4, z_dim=2)
    generator = TrainedGenerator(network=model.generator(SPEC), model=model, spec=SPEC)
    with pytest.raises(ConfigError, match=message):
        generator.sample(**asked)


def test_an_evaluation_without_end_is_refused() -> None:
    from gansmith.evaluation.options import EvaluationOptions

    with pytest.raises(ConfigError, match="num: 1000000000000 is out of range; expected from 2 to 1000000"):
        from_plain(EvaluationOptions, {"num": 10**12}, "evaluate")
