"""Devices and precision: what is chosen, what is refused, and that every downgrade is said."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gansmith import devices
from gansmith.devices import Compute, autocast, autocast_dtype, choose_compute, describe_environment
from gansmith.errors import ConfigError

CPU = torch.device("cpu")


def with_flags(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(devices, "_cpu_flags", lambda: set(flags))


@pytest.mark.parametrize("flag", ["avx512_bf16", "amx_bf16", "bf16"])
def test_a_processor_with_bfloat16_uses_it(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_flags(monkeypatch, "sse2", flag)
    for precision in ("auto", "bfloat16"):
        assert choose_compute("cpu", precision) == Compute(device=CPU, precision="bfloat16")
    assert choose_compute("cpu", "float32") == Compute(device=CPU, precision="float32")


def test_a_processor_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with_flags(monkeypatch, "sse2", "avx2", "avx512f")
    chosen = choose_compute("cpu", "auto")
    assert chosen.precision == "float32"
    assert chosen.notes == ("float32 instead of bfloat16: this processor has no native bfloat16",)
    insisted = choose_compute("cpu", "bfloat16")
    assert insisted.precision == "bfloat16"
    assert insisted.notes == ("bfloat16 will be slow: this processor has no native bfloat16",)
    assert choose_compute("cpu", "float32").notes == ()


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(False, False, "cpu"), (False, True, "mps"), (True, True, "cuda:0")]
)
def test_auto_takes_the_fastest_that_is_there(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_compute("auto", "float32").device == torch.device(expected)


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_compute("auto", "auto") == Compute(device=torch.device("cuda:3"), precision="bfloat16")


def test_mps_trains_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    chosen = choose_compute("mps", "auto")
    assert (chosen.precision, chosen.notes) == ("float32", ("float32 instead of bfloat16: MPS trains in float32",))
    with pytest.raises(ConfigError) as caught:
        choose_compute("mps", "bfloat16")
    assert str(caught.value) == ("config.precision: bfloat16 is not available: MPS trains in float32; use float32")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "config.device: 'gpu' is not a device; expected auto, cpu, cuda, cuda:1 or mps"),
        ("", "config.device: '' is not a device; expected auto, cpu, cuda, cuda:1 or mps"),
        ("cuda:7", "config.device: cuda:7 is not available here; use --device auto"),
        ("mps", "config.device: mps is not available here; use --device auto"),
        ("meta", "config.device: meta is not available here; use --device auto"),
    ],
)
def test_other_devices_are_refused_in_one_line(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        choose_compute(device, "float32")
    assert str(caught.value) == message


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_matrix_products_have_the_precision(precision: str, dtype: torch.dtype) -> None:
    compute = Compute(device=CPU, precision=precision)
    x = torch.ones(2, 2)
    with compute.autocast():
        assert (x @ x).dtype == dtype
    assert (x @ x).dtype == torch.float32


def test_mixed_precision_can_be_asked_for_switched_off_and_is_none_where_a_device_has_none() -> None:
    meta, x = torch.device("meta"), torch.ones(2, 2)
    assert autocast_dtype(CPU) is None
    with autocast(CPU, torch.bfloat16), autocast(meta, torch.bfloat16):
        assert autocast_dtype(CPU) == (x @ x).dtype == torch.bfloat16 and autocast_dtype(meta) is None
        with autocast(CPU, None):
            assert autocast_dtype(CPU) is None and (x @ x).dtype == torch.float32
    assert autocast_dtype(CPU) is None


def test_the_environment_is_described_for_a_reader_later() -> None:
    compute = Compute(device=CPU, precision="float32", notes=("slow because",))
    facts = json.loads(json.dumps(describe_environment(compute)))
    assert facts["torch"] == torch.__version__ and facts["notes"] == ["slow because"]
    assert (facts["device"], facts["precision"], facts["world_size"]) == ("cpu", "float32", 1)
    assert {"gansmith", "python", "numpy", "pillow", "safetensors", "platform", "processor", "cores"} <= facts.keys()
    assert facts["device_name"] == compute.name == "CPU"
    assert facts["threads"] == torch.get_num_threads()


@pytest.mark.gpu
def test_a_gpu_is_found_and_computes() -> None:
    chosen = choose_compute("auto", "auto")
    assert chosen.device.type == "cuda" and torch.cuda.get_device_name() == chosen.name
    x = torch.ones(2, 2, device=chosen.device)
    with chosen.autocast():
        assert ((x @ x).dtype == torch.bfloat16) == (chosen.precision == "bfloat16")


MEBIBYTES = (8, 40)  # of an activation; the second is beyond what glibc keeps at best
FREED_AND_TAKEN_AGAIN = """
import json, resource, sys
import torch
from gansmith.devices import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def steps(mebibytes):
    for _ in range(8 if mebibytes == 8 else 2):
        activations = [torch.ones(mebibytes * 2**18) for _ in range(8)]
        activations.clear()
found = {}
for how in ("returned", "kept"):
    if how == "kept":
        keep_freed_memory()
    found[how] = []
    for mebibytes in map(int, sys.argv[1:]):
        steps(mebibytes)
        before = faults()
        steps(mebibytes)
        found[how].append(faults() - before)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def page_faults() -> dict[str, list[int]]:
    """How many pages are asked of the system again for activations of each size, if memory is kept and if not."""
    eager = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}  # where glibc itself starts
    words = [sys.executable, "-c", FREED_AND_TAKEN_AGAIN, *map(str, MEBIBYTES)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **eager})
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have their own ways")
@pytest.mark.parametrize("place", range(len(MEBIBYTES)), ids=MEBIBYTES)
def test_freed_memory_is_kept_for_the_next_step(place: int, page_faults: dict[str, list[int]]) -> None:
    assert page_faults["kept"][place] < 0.1 * page_faults["returned"][place]


# --- free memory -------------------------------------------------------------------------------------------


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


V2 = "sys/fs/cgroup/job/step"
V1 = "sys/fs/cgroup/memory/docker/a"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8_192_000),
        ({"proc/self/cgroup": "0::/\n"}, 8_192_000),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                f"{V2}/memory.max": "5000000\n",
                f"{V2}/memory.current": "3000000\n",
                f"{V2}/memory.stat": "anon 9\ninactive_file 500000\n",
            },
            2_500_000,
        ),
        (
            {  # the limit of a group above it
                "proc/self/cgroup": "0::/job/step\n",
                f"{V2}/memory.max": "max\n",
                f"{V2}/memory.current": "3000000\n",
                f"{V2}/memory.stat": "anon 9\n",
                "sys/fs/cgroup/job/memory.max": "4000000\n",
                "sys/fs/cgroup/job/memory.current": "3900000\n",
                "sys/fs/cgroup/job/memory.stat": "anon 9\n",
            },
            100_000,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/\n",
                f"{V1}/memory.limit_in_bytes": "6000000\n",
                f"{V1}/memory.usage_in_bytes": "5000000\n",
                f"{V1}/memory.stat": "cache 7\ninactive_file 1\ntotal_inactive_file 2000000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000000\n",
                "sys/fs/cgroup/memory/memory.stat": "",
            },
            3_000_000,
        ),
        (
            {  # from inside of a container the group's path is that outside: only the root is there
                "proc/self/cgroup": "4:memory:/docker/a\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "6000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000000\n",
                "sys/fs/cgroup/memory/memory.stat": "",
            },
            0,
        ),
    ],
)
def test_free_memory_is_what_the_system_and_the_limits_of_a_container_leave(
    files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, files)
    monkeypatch.setattr(devices, "_ROOT", tmp_path)
    assert devices.free_bytes(CPU) == free


def test_free_memory_may_be_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_ROOT", tmp_path)
    assert devices.free_bytes(CPU) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_free_memory_of_this_machine_is_a_number() -> None:
    free = devices.free_bytes(CPU)
    assert free is not None and free > 2**20
