"""What many tests need: a cache of their own, and generators that are small and untrained."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gansmith.sampling.generator import TrainedGenerator

# One thread a test process: several of them share the cores, and threads that wait for each other waste both.
os.environ["OMP_NUM_THREADS"] = "1"

# A suite that runs in the background ignores Ctrl-C and hang-ups, and so would all that it starts.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

# In the order of their imports: who imports a function later imports the checked one.
CHECKED = (
    *("images.pixels", "images.sheets", "augment.colour", "augment.cover", "augment.geometry", "augment.operations"),
    *("augment.transform", "augment.control", "losses", "penalties", "models.model", "models.layers"),
    *("models.dense", "models.dcgan", "models.resnet", "models.r3", "models.mixing"),
    *("sampling.generator", "sampling.paths", "sampling.walks", "sampling.directions"),
    *("training.state", "training.steps", "training.loop"),
)
# Files with tests of many seconds: they begin first, so that at the end no process is left alone with one of them.
LONGEST = {
    *("test_faults", "test_app_page", "test_queue", "test_docs", "test_mutants", "test_serve", "test_two_processes"),
    *("test_mirror_asymmetry", "test_trust", "test_examples", "test_export_command", "test_notebooks", "test_resume"),
    *("test_gpu_benchmark", "test_self_supervised", "test_guarded_training", "test_projected", "test_onnx", "test_web"),
    *("test_devices", "test_meta_reads", "test_commands", "test_stop_over_ranks", "test_guard_over_ranks"),
}


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests; the one that only distributes them to others needs no torch."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    prepare_process()


@functools.cache
def prepare_process() -> None:
    """Compute with one thread, and check shapes."""
    import torch

    torch.set_num_threads(1)
    for name in CHECKED:
        check_shapes(importlib.import_module(f"gansmith.{name}"))


def check_shapes(module: ModuleType) -> None:
    """Let each function and method of a module check its tensors' shapes against its annotations."""
    from beartype import BeartypeConf, beartype
    from jaxtyping import jaxtyped

    typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__]
    owners: list[Any] = [module, *classes]
    for owner in owners:
        for name, function in list(vars(owner).items()):
            if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("__"):
                setattr(owner, name, jaxtyped(typechecker=typechecker)(function))


def pytest_collection(session: pytest.Session) -> None:
    """Let one of two processes compile the tests from the last file to the first.

    Each imports all of them. In a fresh clone, most of that time goes into rewriting assertions, and what one process
    has written, the other reads.
    """
    if os.environ.get("PYTEST_XDIST_WORKER") != "gw1" or sys.dont_write_bytecode:
        return
    folders = [Path(name) for name in session.config.args if Path(name).is_dir()]
    for path in sorted((path for folder in folders for path in folder.resolve().rglob("test_*.py")), reverse=True):
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))  # as pytest does
        with suppress(Exception, pytest.skip.Exception):  # which pytest will tell when it collects the file
            importlib.import_module(path.stem)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the longest tests first."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked gpu need one."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _cheap_pictures() -> Iterator[None]:
    """Trainings lay out losses.png but do not draw it, and write no progress.mp4: both take longer than their steps."""
    from matplotlib.figure import Figure
    from PIL import Image

    class Undrawn(Figure):
        def savefig(self, fname: Any, **_: Any) -> None:
            Image.new("RGB", (9, 3)).save(fname, "png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gansmith.images.plots.Figure", Undrawn)
        patch.setattr("gansmith.training.sample_sheets.can_write_mp4", lambda: False)
        yield


@pytest.fixture
def real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of this test draw losses.png and write progress.mp4, as those of users do."""
    from matplotlib.figure import Figure

    from gansmith.images.video import can_write_mp4

    monkeypatch.setattr("gansmith.images.plots.Figure", Figure)
    monkeypatch.setattr("gansmith.training.sample_sheets.can_write_mp4", can_write_mp4)


@pytest.fixture
def small_generator() -> TrainedGenerator:
    """Untrained, unconditional, 16x12 RGB; its images differ clearly from seed to seed."""
    return _generator()


@pytest.fixture
def class_generator() -> TrainedGenerator:
    """The same with three classes, whose images differ too; the second class is the most frequent, the third absent."""
    return _generator(class_names=("stop", "yield", "go"), class_counts=(1, 3, 0))


def _generator(class_names: tuple[str, ...] = (), class_counts: tuple[int, ...] = ()) -> TrainedGenerator:
    import torch

    from gansmith.models.dcgan import DCGAN
    from gansmith.sampling.generator import TrainedGenerator
    from gansmith.types import ImageSpec

    spec = ImageSpec(height=12, width=16, channels=3, num_classes=len(class_names))
    model = DCGAN(width=4, z_dim=8, depth=2, init="torch")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = model.generator(spec)
        for parameter in network.parameters():  # as training would, set classes and seeds apart
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return TrainedGenerator(network=network, model=model, spec=spec, class_names=class_names, class_counts=class_counts)
