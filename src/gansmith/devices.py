"""Chooses device and precision, and reports downgrades and memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from gansmith import __version__, dist
from gansmith.errors import ConfigError

__all__ = [
    "Compute",
    "autocast",
    "autocast_dtype",
    "choose_compute",
    "describe_environment",
    "free_bytes",
    "is_out_of_memory",
    "keep_freed_memory",
    "require_bytes",
    "return_freed_memory",
]

# Constants of glibc's mallopt: when freed memory is returned to the system, and how many blocks are returned at once.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4

_ROOT = Path("/")
# Of a control group: its limit, what is used, and the entry of memory.stat for pages that can be dropped.
_V1_FILES = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
_V2_FILES = "memory.max", "memory.current", "inactive_file"


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Device and precision of the networks.

    Args:
        device: device of the networks.
        precision: precision of convolutions and matrix products; everything else is float32.
        notes: downgrades with their reasons, a sentence each.
    """

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    notes: tuple[str, ...] = ()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the autocast context for bfloat16; a null context for float32."""
        return nullcontext() if self.precision == "float32" else autocast(self.device, torch.bfloat16)

    @property
    def name(self) -> str:
        """The device's name for people, such as "NVIDIA A100" or "CPU"."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return self.device.type.upper()


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Return the context in which convolutions and matrix products on a device are computed in ``dtype``.

    Args:
        device: of the tensors; on a device that has no mixed precision, such as "meta", the context changes nothing.
        dtype: None switches mixed precision off.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """Return the dtype that convolutions on a device are to be computed in; None outside mixed precision."""
    if not (torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)):
        return None
    return torch.get_autocast_dtype(device.type)


def choose_compute(device: str, precision: str) -> Compute:
    """Choose device and precision, where either may be "auto".

    Raises:
        ConfigError: the device is not available, or does not support the precision.
    """
    chosen = _device(device)
    native, reason = _native_bfloat16(chosen)
    if precision == "auto":
        notes = () if native else (f"float32 instead of bfloat16: {reason}",)
        return Compute(device=chosen, precision="bfloat16" if native else "float32", notes=notes)
    if precision == "bfloat16" and chosen.type == "mps":
        raise ConfigError(f"config.precision: bfloat16 is not available: {reason}; use float32")
    slow = (f"bfloat16 will be slow: {reason}",) if precision == "bfloat16" and not native else ()
    return Compute(device=chosen, precision="bfloat16" if precision == "bfloat16" else "float32", notes=slow)


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a device in bytes; None if unknown.

    For the CPU, it is what the system has and what the limits of a container leave, whichever is less.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min((*_free_in_system(), *_free_in_control_groups()), default=None)


def _free_in_system() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError), (_ROOT / "proc/meminfo").open(encoding="utf-8") as file:
        yield from (int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def _free_in_control_groups() -> Iterator[int]:
    """Yield what each memory limit of this process leaves: of its control group and of those above.

    File pages that the system can drop at once count as free, as in MemAvailable.
    """
    for folder, (limit, usage, droppable) in _control_groups():
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit; a folder may be invisible from inside
            pages = dict(line.split() for line in (folder / "memory.stat").read_text("utf-8").splitlines())
            used = int((folder / usage).read_text("utf-8")) - int(pages.get(droppable, 0))
            yield max(0, int((folder / limit).read_text("utf-8")) - used)


def _control_groups() -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Yield the folders of this process's control groups for memory, with their files' names of version 1 or 2."""
    try:
        lines = (_ROOT / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        home = _ROOT / "sys/fs/cgroup" / ("memory" if controllers else "")
        for part in (Path(path), *Path(path).parents):
            yield home / part.relative_to("/"), _V1_FILES if controllers else _V2_FILES


def require_bytes(num_bytes: int, device: torch.device, where: str, what: str) -> None:
    """Raise ConfigError if something cannot fit into free memory.

    Args:
        num_bytes: the least number of bytes that it needs.
        device: the device.
        where: the field to change, for the message.
        what: what needs the memory, in the plural, for the message.

    Raises:
        ConfigError: ``num_bytes`` exceeds the free memory.
    """
    free = free_bytes(device)
    if free is not None and num_bytes > free:
        needed = f"need at least {num_bytes / 2**20:,.0f} MiB of memory, but {free / 2**20:,.0f} MiB are free"
        raise ConfigError(f"{where}: {what} {needed}; choose a smaller value")


def keep_freed_memory() -> None:
    """Make glibc keep the memory that a training step frees for the next step; do nothing with other C libraries.

    By default, glibc returns large blocks at once. Every 4 KiB that it then requests again costs a page fault, up to
    100,000 per second.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Make glibc return freed memory to the system; do nothing with other C libraries."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error says that the memory of a GPU or of the CPU is exhausted."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def describe_environment(compute: Compute) -> dict[str, Any]:
    """Return the content of environment.json: machine, versions and downgrades."""
    packages = ("numpy", "pillow", "safetensors")
    return {
        "gansmith": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,  # with the build, as "2.13.0+cpu"
        **{name: metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(compute.device),
        "device_name": compute.name,
        "precision": compute.precision,
        "world_size": dist.world_size(),
        "notes": list(compute.notes),
    }


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        expected = "expected auto, cpu, cuda, cuda:1 or mps"
        raise ConfigError(f"config.device: {wanted!r} is not a device; {expected}") from error
    missing = (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
        device.type == "mps" and not torch.backends.mps.is_available()
    )
    if missing or device.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f"config.device: {wanted} is not available here; use --device auto")
    return device


def _native_bfloat16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False), "this GPU has no native bfloat16"
    if device.type == "mps":
        return False, "MPS trains in float32"
    flags = _cpu_flags()
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}), "this processor has no native bfloat16"


def _cpu_flags() -> set[str]:
    """Return the CPU's features as Linux names them; empty on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [line for line in file if line.lower().startswith(("flags", "features"))]
    except OSError:
        return set()
    return set(lines[0].partition(":")[2].split()) if lines else set()


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
