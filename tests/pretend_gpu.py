"""A GPU that is not there: tensors on "meta", and every wait for them noticed.

On a GPU, a program waits whenever it reads a value, and a tensor that was left on the CPU is an error or a copy. Here
both raise ``Waited``, in forward and backward passes alike. Tensors on "meta" have shapes and dtypes, but no values, so
a whole training step takes milliseconds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import gansmith
from gansmith.devices import Compute

__all__ = ["PRETEND_GPU", "PretendGpu", "Waited", "pretend_compute", "pretend_gpu"]

PRETEND_GPU = torch.device("meta")
HOME = Path(gansmith.__file__).parent

aten = torch.ops.aten
WAITS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
CONVOLUTIONS = {aten.convolution.default, aten.convolution_backward.default}
COPIES = {aten._to_copy.default, aten.copy_.default}

# What autocast does on CUDA: by name, the functions in the lower precision, and those in float32.
LOWER = {"conv2d", "conv_transpose2d", "linear", "matmul", "__matmul__", "mm", "bmm", "baddbmm", "addmm", "einsum"}
FLOAT32 = {"softplus", "group_norm", "layer_norm", "exp", "log", "pow", "rsqrt", "cdist", "softmax", "sum"}


class Waited(Exception):  # no subclass of RuntimeError, which stands for memory that ran out
    """Something that would wait for a GPU, or fail on one."""


def pretend_compute(precision: Any = "float32") -> Compute:
    """The pretended GPU, with a precision."""
    return Compute(device=PRETEND_GPU, precision=precision)


class PretendGpu(TorchDispatchMode):
    """Notices what happens to tensors on "meta".

    Args:
        readers: functions of the package that may wait and read, as "images.pixels:to_array".
        movers: functions that may move networks to the device, or create numbers there, and wait.

    Attributes:
        sent: the shape of each tensor that ``types.send`` has copied from the CPU.
        read: for each read, the function that is allowed it.
        convolved: the dtypes in which convolutions and their gradients were computed.
    """

    def __init__(self, readers: Iterable[str] = (), movers: Iterable[str] = ()) -> None:
        super().__init__()
        self.readers, self.movers = set(readers), set(movers)
        self.sent: list[tuple[int, ...]] = []
        self.read: list[str] = []
        self.convolved: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = [tensor for tensor in tensors if tensor.is_meta]
        if func in CONVOLUTIONS:
            self.convolved.add(args[0].dtype)
        if func in COPIES:
            return self.copy(func, args, kwargs)
        if there and len(there) < len(tensors):
            raise Waited(f"{func}: tensors on the GPU meet tensors left on the CPU")
        if there and waits(func, args):
            return self.wait(func, args[0])
        return func(*args, **kwargs)

    def copy(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A copy, which may lead from one side to the other."""
        if func is aten.copy_.default:
            source, target = args[1], args[0].device
        else:
            source, target = args[0], torch.device(kwargs.get("device") or args[0].device)
        if not source.is_meta and target == PRETEND_GPU:
            if self.movers & callers().keys():
                return func(*args, **kwargs)
            if "types:send" not in callers():
                raise Waited(f"{func}: a copy from the CPU that is not made by types.send, and so waits")
            if any(size > 1 and not step for size, step in zip(source.shape, source.stride(), strict=True)):
                raise Waited(f"{func}: an expanded tensor, which cannot be pinned")
            self.sent.append(tuple(source.shape))
        if not source.is_meta or target == PRETEND_GPU:
            return func(*args, **kwargs)
        self.note(f"{func}: a copy to the CPU")
        values = torch.zeros(source.shape, dtype=kwargs.get("dtype") or source.dtype)
        return args[0].copy_(values) if func is aten.copy_.default else values

    def wait(self, func: Any, source: Tensor) -> Any:
        """A value that decides what comes next: 1, where reading is allowed."""
        self.note(f"{func}: the value of a tensor")
        if func is not aten._local_scalar_dense.default:
            raise Waited(f"{func}: no value can be made up")
        return torch.ones((), dtype=source.dtype).item()

    def note(self, what: str) -> None:
        """Note a read where it is allowed."""
        allowed = [name for name in callers() if name in self.readers]
        if not allowed:
            raise Waited(f"{what} is waited for by {next(iter(callers()), 'a test')}")
        self.read.append(allowed[0])


def waits(func: Any, args: Any) -> bool:
    """Whether values decide what an operation returns, or its shape."""
    if func in INDEXED:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return bool(WAITS & set(func.tags))


def callers() -> dict[str, None]:
    """The functions of the package that run now, the innermost first: "training.steps:update"."""
    found, frame = {}, sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if HOME in path.parents:
            module = ".".join(path.relative_to(HOME).with_suffix("").parts)
            found[f"{module}:{frame.f_code.co_name}"] = None
        frame = frame.f_back  # type: ignore[assignment]
    return found


class _Functions(TorchFunctionMode):
    """What is decided before the dispatcher: autocast, and values that are made on the CPU and sent at once."""

    def __init__(self, movers: Iterable[str]) -> None:
        super().__init__()
        self.movers = set(movers)
        self.dtypes: list[torch.dtype | None] = [None]  # of the autocast contexts, the innermost last

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made_there = (
            func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == PRETEND_GPU
        )
        if made_there and not self.movers & callers().keys():
            raise Waited("torch.tensor: values are copied from the CPU, which waits; create them on the GPU")
        dtype, name = self.dtypes[-1], getattr(func, "__name__", "")
        if dtype is None or not (name in LOWER or name in FLOAT32):
            return func(*args, **kwargs)
        return func(*in_dtype(dtype if name in LOWER else torch.float32, args), **in_dtype(dtype, kwargs))

    @contextmanager
    def autocast(self, _: str, dtype: torch.dtype | None = None, enabled: bool = True) -> Iterator[None]:
        """Stands in for torch.autocast."""
        self.dtypes.append(dtype if enabled else None)
        try:
            yield
        finally:
            self.dtypes.pop()


def in_dtype(dtype: torch.dtype, values: Any) -> Any:
    """The same arguments, those of a floating-point dtype in this one."""

    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    return tree_map(cast, values)


@contextmanager
def pretend_gpu(*readers: str, movers: Iterable[str] = ()) -> Iterator[PretendGpu]:
    """Watch tensors on "meta", with mixed precision as CUDA has it, until the block ends."""
    functions, gpu = _Functions(movers), PretendGpu(readers, movers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", functions.autocast)
        patch.setattr(torch, "is_autocast_enabled", lambda _: functions.dtypes[-1] is not None)
        patch.setattr(torch, "get_autocast_dtype", lambda _: functions.dtypes[-1])
        patch.setattr(torch.amp, "is_autocast_available", lambda _: True)
        optimizers = importlib.import_module("torch.optim.optimizer")  # torch.optim hides it
        patch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["meta"])
        with functions, gpu:
            yield gpu
