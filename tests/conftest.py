"""What many tests need: a cache of their own, and generators that are small and untrained."""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import jaxtyped

from gansmith.types import ImageSpec

# One thread a test process: several of them share the cores, and threads that wait for each other waste both.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


# A suite that runs in the background ignores Ctrl-C and hang-ups, and so would all that it starts.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float


def check_shapes(module: ModuleType) -> None:
    """Let each function and method of a module check its tensors' shapes against its annotations."""
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    owners: list[Any] = [module, *classes]
    for owner in owners:
        for name, function in list(vars(owner).items()):
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("__"):
                setattr(owner, name, jaxtyped(typechecker=typechecker)(function))


# In the order of their imports: who imports a function later imports the checked one.
for _name in (
    *("images.pixels", "images.sheets", "augment.colour", "augment.cover", "augment.geometry", "augment.operations"),
    *("augment.transform", "augment.control", "losses", "penalties", "models.model", "models.layers"),
    *(
        "models.dense",
        "models.dcgan",
        "models.resnet",
        "models.r3",
        "models.mixing",
        "sampling.generator",
        "sampling.walks",
        "sampling.directions",
    ),
    *("training.state", "training.steps", "training.loop"),
):
    check_shapes(importlib.import_module(f"gansmith.{_name}"))

from gansmith.models.dcgan import DCGAN  # noqa: E402
from gansmith.sampling.generator import TrainedGenerator  # noqa: E402


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked gpu need one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def small_generator() -> TrainedGenerator:
    """Untrained, unconditional, 16x12 RGB; its images differ clearly from seed to seed."""
    return _generator(ImageSpec(height=12, width=16, channels=3))


@pytest.fixture
def class_generator() -> TrainedGenerator:
    """The same with three classes, whose images differ too; the second class is the most frequent, the third absent."""
    spec = ImageSpec(height=12, width=16, channels=3, num_classes=3)
    return _generator(spec, class_names=("stop", "yield", "go"), class_counts=(1, 3, 0))


def _generator(
    spec: ImageSpec, class_names: tuple[str, ...] = (), class_counts: tuple[int, ...] = ()
) -> TrainedGenerator:
    model = DCGAN(width=4, z_dim=8, depth=2, init="torch")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = model.generator(spec)
        for parameter in network.parameters():  # as training would, set classes and seeds apart
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return TrainedGenerator(network=network, model=model, spec=spec, class_names=class_names, class_counts=class_counts)
