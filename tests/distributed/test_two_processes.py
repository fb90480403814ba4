"""Two processes equal one: the same weights but for the order of floating-point sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from forks import run_forked, run_ranks
from gansmith.runs import RunFolder

STEPS = 6
WORDS = ["--length", f"{STEPS} steps", "--batch_size", "8", "--precision", "float32", "--log_every", "2 steps"]
WORDS += ["--tracking.extractor", "random-conv", "--tracking.every", "3 steps", "--tracking.max_share", "1"]
WORDS += ["--tracking.num", "9"]  # which two processes cannot share evenly
NETWORKS = {
    "dense": ["--model", "dense", "--model.width", "16", "--ema_factors", "[0.5,2]"],
    "dcgan": ["--model.width", "4", "--model.generator_norm", "none", "--model.conditioning", "embedding"],
}


def train(data: Path, run: Path, processes: int, more: list[str]) -> RunFolder:
    words = ["-m", "gansmith", "train", str(data), "--run", str(run), *WORDS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if processes > 1:
        run_ranks(words, run.parent, processes, environment)
    else:
        run_forked(words, run.parent / "one.log", environment)
    return RunFolder.open(run)


def launch(data: Path, run: Path, processes: int, more: list[str]) -> RunFolder:
    """The same as a user starts it: three new processes that import torch."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    words = [*launcher, "-m", "--", "gansmith", "train", str(data), "--run", str(run), *WORDS, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=120)
    print(ended.stderr)  # which pytest shows if the test fails
    ended.check_returncode()
    return RunFolder.open(run)


@pytest.mark.parametrize(
    ("network", "start"),
    [("dense", train), ("dcgan", train), pytest.param("dense", launch, marks=pytest.mark.slow)],
)
def test_two_processes_equal_one(network: str, start: Callable[..., RunFolder], tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    data = tmp_path / "pictures.npz"
    np.savez(data, images=draw.integers(0, 256, (32, 16, 16, 3), np.uint8), labels=np.arange(32) % 4)
    one = train(data, tmp_path / "one", 1, NETWORKS[network])
    two = start(data, tmp_path / "two", 2, NETWORKS[network])
    assert two.latest_checkpoint().name == f"{STEPS:06d}"
    other = ["generator_ema_x0_5", "generator_ema_x2_0"] if network == "dense" else []
    for name in ("generator", "generator_ema", "discriminator", *other):
        wanted = load_file(one.latest_checkpoint() / f"{name}.safetensors")
        found = load_file(two.latest_checkpoint() / f"{name}.safetensors")
        assert wanted.keys() == found.keys()
        for key in wanted:
            np.testing.assert_allclose(found[key], wanted[key], atol=2e-5, err_msg=key)
    for mine, theirs in zip(one.read_stats(), two.read_stats(), strict=True):
        assert mine["logits/real"] == pytest.approx(theirs["logits/real"], abs=1e-4)
        assert mine["loss/generator.std"] == pytest.approx(theirs["loss/generator.std"], abs=1e-4)
    for mine, theirs in zip(one.read_measurements(), two.read_measurements(), strict=True):
        assert mine["generated"]["step"] == theirs["generated"]["step"]
        assert mine["values"]["kid"]["value"] == pytest.approx(theirs["values"]["kid"]["value"], rel=1e-3)
    assert len(two.read_measurements()) == 2
    assert json.loads(two.environment.read_text())["world_size"] == 2


def test_processes_agree_on_the_time(tmp_path: Path) -> None:
    """Each has its own clock; one that stopped a step before the other would leave it waiting for ever."""
    data = tmp_path / "pictures.npz"
    np.savez(data, images=np.zeros((32, 8, 8, 1), np.uint8))
    more = ["--log_every", "0.1 s", "--samples.every", "0.3 s", "--checkpoint_every", "0.2 s"]
    for seconds in (2, 20):  # a busy machine makes few steps in two
        run = train(data, tmp_path / f"run-{seconds}", 2, ["--length", f"{seconds} s", *more])
        assert json.loads(run.status.read_text())["state"] == "finished"
        if len(run.read_stats()) > 5:
            return
    pytest.fail("hardly anything was logged")


def test_a_batch_that_cannot_be_shared_is_one_clear_line(tmp_path: Path) -> None:
    data = tmp_path / "pictures.npz"
    np.savez(data, images=np.zeros((32, 8, 8, 1), np.uint8))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        train(data, tmp_path / "run", 2, ["--batch_size", "7"])
    assert "--batch_size: 7 is not a multiple of the 2 processes" in caught.value.stderr
