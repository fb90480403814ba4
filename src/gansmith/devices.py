"""Which device trains, in which precision, and what was downgraded and why."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import torch

from gansmith import __version__, dist
from gansmith.errors import ConfigError

__all__ = [
    "Compute",
    "choose_compute",
    "describe_environment",
    "free_bytes",
    "keep_freed_memory",
    "out_of_memory",
    "require_bytes",
    "return_freed_memory",
]

# Of glibc's malloc.h, for mallopt: how much freed memory is given back, and which blocks are given back at once.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where and how the networks run.

    Args:
        device: of the networks.
        precision: of convolutions and matrix products; everything else is float32.
        notes: each downgrade, with its reason.
    """

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    notes: tuple[str, ...] = ()

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision, or nothing in float32."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def name(self) -> str:
        """The device as a person would call it."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return self.device.type.upper()


def choose_compute(device: str, precision: str) -> Compute:
    """Settle "auto".

    Raises:
        ConfigError: no such device here, or a precision that it has not.
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
    """Memory that is free on a device; None where nobody can say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None


def require_bytes(num_bytes: int, device: torch.device, where: str, what: str) -> None:
    """Refuse at once what cannot fit into the memory that is free.

    Args:
        num_bytes: the least that it takes.
        device: where.
        where: the option to change, for the message.
        what: what takes the memory, in the plural.

    Raises:
        ConfigError: more than is free.
    """
    free = free_bytes(device)
    if free is not None and num_bytes > free:
        needed = f"need at least {num_bytes / 2**20:,.0f} MiB of memory, of which {free / 2**20:,.0f} MiB are free"
        raise ConfigError(f"{where}: {what} {needed}; choose less")


def keep_freed_memory() -> None:
    """Let this process keep the memory that a step frees for the next step, where the C library is glibc.

    It would give large blocks back at once, and every 4 KiB of what it then asks for anew costs a page fault: up to
    100,000 a second.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another library, which has its own ways
        return
    mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)  # the most that is allowed
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Give memory that this process has freed back to the system, where the C library is glibc."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another library, which has its own ways
        ctypes.CDLL(None).malloc_trim(0)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory is exhausted, the device's or the processor's."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def describe_environment(compute: Compute) -> dict[str, Any]:
    """What environment.json holds: the machine, the versions, and every downgrade."""
    packages = ("torch", "numpy", "pillow", "safetensors")
    return {
        "gansmith": __version__,
        "python": platform.python_version(),
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
        raise ConfigError(f"config.device: {wanted!r} is no device; expected auto, cpu, cuda, cuda:1 or mps") from error
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
    """The processor's features as Linux names them; empty where there is no such list."""
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
