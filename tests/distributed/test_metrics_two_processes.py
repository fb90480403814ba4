"""Rows and features of two processes, which bring unequal shares, are on both what one process has of all images."""

from __future__ import annotations

import os
from typing import TypeAlias

import pytest
import torch
from safetensors.torch import load_file

from forks import run_forked, run_ranks
from gansmith.metrics import list_quantities

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from safetensors.torch import save_file
from gansmith import dist
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics import image_sequence, list_metrics
from gansmith.metrics.features import FeatureNetwork, Features, extract_batches, extract_store
from gansmith.metrics.metric import MetricInputs
from gansmith.types import ImageSpec

class Means(FeatureNetwork):
    name = digest = "means"

    def __call__(self, pixels):
        print(f"rank {dist.rank()} looks at {len(pixels)}", flush=True)
        values = pixels.double().flatten(2).mean(dim=2).float()
        return values, values[:, :2] - 100

ROWS = {"unequal": (3, 8), "one has none": (0, 5), "none at all": (0, 0), "equal": (4, 4)}
IMAGES = np.random.default_rng(0).integers(0, 256, (333, 5, 6, 3), np.uint8)

with dist.process_group(torch.device("cpu")):
    rank, found = dist.rank(), {}
    for name, counts in ROWS.items():
        numbers = torch.arange(sum(counts)).split(list(counts))[rank] if sum(counts) else torch.arange(0)
        found[f"numbers {name}"] = dist.gather_rows(numbers)
        found[f"rows {name}"] = dist.gather_rows(numbers[:, None].expand(-1, 3).float() + 0.5)
        found[f"bytes {name}"] = dist.gather_rows(numbers[:, None, None].expand(-1, 2, 2).to(torch.uint8))

    mine = np.array_split(IMAGES, [200])[rank] if dist.world_size() > 1 else IMAGES
    labels = np.array_split(np.arange(333), [200])[rank] if dist.world_size() > 1 else np.arange(333)
    batches = [(mine[i : i + 50], labels[i : i + 50]) for i in range(0, len(mine), 50)]
    features = extract_batches(Means(), batches)
    found |= {"values": features.values, "logits": features.logits, "labels": torch.from_numpy(features.labels)}
    images = features.images
    found["held"] = torch.tensor([images.own.nbytes, len(images)])
    image_sequence.MOST_FETCHED_BYTES = 40 * 90  # 40 images a request

    def look_up():
        mixed = np.random.default_rng(1).permutation(333)[:100]
        return {"images": images[np.arange(333)], "mixed": images[mixed], "none": images[mixed[:0]]}

    looked_up = image_sequence.run_on_main(images, look_up)
    found |= {f"looked up {name}": torch.from_numpy(pixels) for name, pixels in looked_up.items()}

    def fail():
        images[np.arange(5)]
        raise MetricError(f"rank {dist.rank()} fails")

    try:
        image_sequence.run_on_main(images, fail)
    except MetricError as error:
        print(f"raised on {dist.rank()}: {error}", flush=True)

    draw = np.random.default_rng(2)
    real = Features(
        values=torch.from_numpy(draw.normal(120, 20, (300, 3))).float(),
        logits=torch.from_numpy(draw.normal(20, 9, (300, 2))).float(),
        labels=np.arange(300) % 2,
        images=draw.integers(0, 256, (300, 16, 16, 3), np.uint8),
    )
    own = np.array_split(draw.integers(0, 256, (60, 16, 16, 3), np.uint8), dist.world_size())[rank]
    classes = np.array_split(np.arange(60) % 2, dist.world_size())[rank]
    fake = extract_batches(Means(), [(own[:7], classes[:7]), (own[7:], classes[7:])])
    inputs = MetricInputs(real=real, fake=fake, training=real, held_out=real, class_names=("a", "b"))
    for metric in list_metrics():
        try:
            measured = image_sequence.run_on_main(fake.images, lambda: metric.measure(inputs))
            for name, each in measured.items():
                found[f"metric {name}"] = torch.tensor([each.value, each.low, each.high])
        except MetricError as error:
            print(f"failed {type(metric).__name__}: {error}", flush=True)

    store = Store(path=Path("nowhere"), title="noise", kind="photos", spec=ImageSpec(height=5, width=6, channels=3),
                  images=IMAGES, labels=None, class_names=(), groups=None, digest="noise")
    found["stored"] = extract_store(Means(), store, np.arange(9, 40)).values
    save_file({key: tensor.contiguous() for key, tensor in found.items()}, f"{sys.argv[1]}-{rank}.safetensors")
"""


Outcome: TypeAlias = tuple[dict[str, torch.Tensor], list[dict[str, torch.Tensor]], str]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What one process found, what each of two did, and what the two said."""
    folder = tmp_path_factory.mktemp("ranks")
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GANSMITH_CACHE": str(folder / "cache")}
    run_forked([str(program), str(folder / "one")], folder / "one.log", environment)
    environment["GANSMITH_CACHE"] = str(folder / "cache-two")
    said = run_ranks([str(program), str(folder / "two")], folder, environment=environment).stdout
    one, *two = (load_file(folder / f"{title}.safetensors") for title in ("one-0", "two-0", "two-1"))
    return one, two, said


@pytest.mark.parametrize(("shares", "num"), [("unequal", 11), ("one has none", 5), ("none at all", 0), ("equal", 8)])
def test_rows_of_all_ranks_lie_below_each_other_on_each(outcome: Outcome, shares: str, num: int) -> None:
    for rank in outcome[1]:
        assert rank[f"numbers {shares}"].tolist() == list(range(num))
        assert torch.equal(rank[f"rows {shares}"], torch.arange(num)[:, None].expand(-1, 3) + 0.5)
        assert torch.equal(
            rank[f"bytes {shares}"], torch.arange(num, dtype=torch.uint8)[:, None, None].expand(-1, 2, 2)
        )


def test_features_of_two_ranks_are_those_of_one(outcome: Outcome) -> None:
    one, two, _ = outcome
    for rank in two:
        for key in ("values", "logits", "labels", "looked up images", "looked up mixed", "looked up none"):
            assert torch.equal(rank[key], one[key]), key


def test_a_rank_holds_its_own_images_alone(outcome: Outcome) -> None:
    one, two, _ = outcome
    assert one["held"].tolist() == [333 * 90, 333]
    assert [rank["held"].tolist() for rank in two] == [[200 * 90, 333], [133 * 90, 333]]


def test_an_error_of_the_main_process_is_raised_on_every_rank(outcome: Outcome) -> None:
    assert "raised on 0: rank 0 fails" in outcome[2] and "raised on 1: rank 0 fails" in outcome[2]


def test_every_metric_of_two_ranks_is_that_of_one(outcome: Outcome) -> None:
    one, two, said = outcome
    names = {key for key in one if key.startswith("metric ")}
    assert "failed" not in said and names == {f"metric {name}" for name in list_quantities()}
    for rank in two:
        for name in names:
            assert torch.equal(rank[name], one[name]), name


def test_the_main_process_alone_looks_at_a_store(outcome: Outcome) -> None:
    one, two, said = outcome
    assert all(torch.equal(rank["stored"], one["stored"]) for rank in two)
    assert said.count("looks at 31") == 1 and "rank 0 looks at 31" in said
