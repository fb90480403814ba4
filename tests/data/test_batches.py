"""Batches: a function of seed and position only, fair to every image; splits that part no group."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gansmith.data.batches import ENOUGH_HELD_OUT, RUN, Batches, split
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.store import Store
from gansmith.errors import ConfigError
from gansmith.types import ImageSpec


def make_store(num: int, labels: Any = None, groups: Any = None, channels: int = 3) -> Store:
    """Images whose first two bytes are their index."""
    images = np.zeros((num, 4, 5, channels), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(num) % 256, np.arange(num) // 256
    labels = None if labels is None else np.asarray(labels)
    classes = 0 if labels is None else int(labels.max()) + 1
    return Store(
        path=Path("nowhere"),
        title="made up",
        kind="photos",
        spec=ImageSpec(height=4, width=5, channels=channels, num_classes=classes),
        images=images,
        labels=labels,
        class_names=tuple(map(str, range(classes))),
        groups=None if groups is None else np.asarray(groups),
        digest="",
    )


def stream(batches: Batches, start: int, stop: int) -> list[int]:
    step = batches.batch_size
    return [int(i) for nimg in range(start, stop, step) for i in batches.indices(nimg)]


LABELS = np.array([0] * 70 + [1] * 20 + [3] * 10)  # class 2 has no images
BALANCES = [0.0, 0.5, 1.0]


@pytest.mark.parametrize("balance", BALANCES)
def test_a_batch_depends_on_seed_and_position_only(balance: float) -> None:
    store = make_store(100, LABELS)
    once = Batches(store=store, batch_size=8, seed=3, balance=balance)
    all_in_order = [once.indices(nimg) for nimg in range(0, 4000, 8)]
    for nimg in (3992, 0, 1600, 8):
        fresh = Batches(store=store, batch_size=8, seed=3, balance=balance)
        assert np.array_equal(fresh.indices(nimg), all_in_order[nimg // 8])
        assert np.array_equal(once.indices(nimg), all_in_order[nimg // 8])
    assert not np.array_equal(Batches(store=store, batch_size=8, seed=4).indices(0), all_in_order[0])


@pytest.mark.parametrize("balance", BALANCES)
def test_the_batch_size_changes_nothing_of_the_stream(balance: float) -> None:
    store = make_store(100, LABELS)
    streams = [
        stream(Batches(store=store, batch_size=size, seed=0, balance=balance), 0, 6000) for size in (5, 60, 3000)
    ]
    assert streams[0] == streams[1] == streams[2]


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_ranks_shares_in_a_row_are_the_batch(world_size: int, balance: float) -> None:
    batches = Batches(store=make_store(100, LABELS), batch_size=12, balance=balance)
    whole = batches.batch(96)
    shares = [batches.batch(96, rank, world_size) for rank in range(world_size)]
    assert torch.equal(torch.cat([share.images for share in shares]), whole.images)
    assert torch.equal(torch.cat([share.labels for share in shares if share.labels is not None]), _labels(whole))


def _labels(batch: Any) -> torch.Tensor:
    assert batch.labels is not None
    return batch.labels


@pytest.mark.parametrize("num", [1, 7, 1000, RUN, 3000])
def test_each_epoch_shows_each_image_once_in_another_order(num: int) -> None:
    batches = Batches(store=make_store(num), batch_size=num)
    epochs = [batches.indices(epoch * num).tolist() for epoch in range(4)]
    assert all(sorted(epoch) == list(range(num)) for epoch in epochs)
    if num > 100:
        assert len({tuple(epoch) for epoch in epochs}) == 4


def test_batches_run_across_the_ends_of_epochs() -> None:
    shown = stream(Batches(store=make_store(10), batch_size=7), 0, 700)
    assert all(sorted(shown[i : i + 10]) == list(range(10)) for i in range(0, 700, 10))


def test_full_balance_shows_every_class_and_every_image_of_it_equally_often() -> None:
    batches = Batches(store=make_store(100, LABELS), batch_size=6, balance=1.0)
    shown = np.array(stream(batches, 0, 3 * 140))
    for run in LABELS[shown].reshape(-1, 3):
        assert sorted(run) == [0, 1, 3]
    counts = np.bincount(shown, minlength=100)
    assert set(counts[:70]) == {2} and set(counts[70:90]) == {7} and set(counts[90:]) == {14}
    assert len({tuple(run) for run in LABELS[shown].reshape(-1, 3)}) > 1  # the classes' order varies


def test_between_the_extremes_every_run_has_each_class_as_often_as_its_share() -> None:
    batches = Batches(store=make_store(100, LABELS), batch_size=20, balance=0.5)
    runs = LABELS[stream(batches, 0, 3000)].reshape(-1, 100)
    for run in runs:  # the roots of 70, 20 and 10 are in proportion to 52.29, 27.95 and 19.76
        assert np.bincount(run).tolist() == [52, 28, 0, 20]
    assert len({tuple(run) for run in runs}) == len(runs)


@pytest.mark.parametrize("balance", [0.1, 0.37, 0.9])
def test_shares_are_exact_to_one_image_whatever_the_classes_sizes(balance: float) -> None:
    sizes = np.random.default_rng(0).integers(1, 300, 40)
    sizes[7] = 1
    labels = np.repeat(np.arange(40), sizes)
    shown = Batches(store=make_store(len(labels), labels), batch_size=len(labels), balance=balance).indices(0)
    due = sizes ** (1 - balance) / (sizes ** (1 - balance)).sum() * len(labels)
    assert np.abs(np.bincount(labels[shown], minlength=40) - due).max() < 1


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_no_image_comes_again_before_all_others_of_its_class(balance: float) -> None:
    shown = np.array(stream(Batches(store=make_store(100, LABELS), batch_size=10, balance=balance), 0, 5000))
    for label in (0, 1, 3):
        members = np.flatnonzero(np.equal(LABELS, label))
        of_class = shown[LABELS[shown] == label]
        for one_pass in of_class[: len(of_class) // len(members) * len(members)].reshape(-1, len(members)):
            assert sorted(one_pass) == members.tolist()


def test_the_least_balance_shows_each_image_once_a_run() -> None:
    batches = Batches(store=make_store(100, LABELS), batch_size=100, balance=1e-9)
    assert all(sorted(batches.indices(nimg)) == list(range(100)) for nimg in range(0, 1000, 100))


@pytest.mark.skipif("GANSMITH_DATA" not in os.environ, reason="GANSMITH_DATA names no folder of real data")
def test_the_long_tail_of_gtsrb() -> None:
    labels = Gtsrb(root=Path(os.environ["GANSMITH_DATA"]) / "gtsrb").records().labels
    assert labels is not None
    sizes = np.bincount(labels)
    assert len(sizes) == 43 and sizes.max() / sizes.min() > 10
    batches = Batches(store=make_store(len(labels), labels), batch_size=len(labels), balance=0.5)
    for nimg in (0, 3 * len(labels)):
        counts = np.bincount(labels[batches.indices(nimg)])
        assert counts.max() / counts.min() == pytest.approx(np.sqrt(sizes.max() / sizes.min()), rel=0.01)


def test_the_stream_stays_what_it_is() -> None:
    """Resuming a run needs the very same order from later versions; change it only with a new major version."""
    store = make_store(100, LABELS)
    assert Batches(store=store, batch_size=6, seed=1).indices(5000).tolist() == [53, 11, 17, 87, 34, 52]
    assert Batches(store=store, batch_size=6, seed=1, balance=0.5).indices(5000).tolist() == [90, 50, 95, 31, 11, 83]
    assert Batches(store=store, batch_size=6, seed=1, balance=1.0).indices(5000).tolist() == [97, 84, 58, 93, 99, 12]


def test_many_images_come_in_one_permutation_an_epoch() -> None:
    batches = Batches(store=make_store(1500), batch_size=1500, seed=7)
    for epoch in range(3):
        wanted = np.random.default_rng([7, 1, epoch]).permuted(np.arange(1500)[None], axis=1)[0]
        assert np.array_equal(batches.indices(1500 * epoch), wanted)


def test_permutations_of_few_images_are_drawn_as_many_as_make_1024() -> None:
    batches = Batches(store=make_store(5), batch_size=5, seed=7)
    for block, first in ((0, 0), (1, 204 * 5)):
        wanted = np.random.default_rng([7, 1, block]).permuted(np.tile(np.arange(5), (204, 1)), axis=1)
        assert np.array_equal(batches.indices(first), wanted[0])


def test_images_of_a_class_are_counted_in_the_order_of_the_store() -> None:
    labels = np.random.default_rng(0).integers(0, 5, 700)
    batches = Batches(store=make_store(700, labels), batch_size=5, balance=1.0)
    assert len(batches._members) == 5
    for label, members in enumerate(batches._members):
        assert np.array_equal(members, np.flatnonzero(np.equal(labels, label)))


def test_where_shares_are_rounded_alike_the_first_classes_are_rounded_up() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 10))
    subset = np.concatenate([np.flatnonzero(labels == label)[: 2 + label % 2] for label in range(40)])
    batches = Batches(store=make_store(400, labels), batch_size=100, balance=0.999999, subset=subset)
    assert np.bincount(labels[batches.indices(0)]).tolist() == [2, 3] * 20  # 2.5 each, but for a hair


def test_a_block_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []
    real = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda seed: drawn.append(seed) or real(seed))
    batches = Batches(store=make_store(2000), batch_size=100, seed=4)
    for nimg in (0, 100, 200, 2000, 2100):
        batches.indices(nimg)
    assert drawn == [[4, 1, 0], [4, 1, 1]]


@pytest.mark.parametrize("balance", BALANCES)
def test_a_subset_is_all_there_is(balance: float) -> None:
    subset = np.array([95, 3, 75, 5])
    batches = Batches(store=make_store(100, LABELS), batch_size=12, balance=balance, subset=subset)
    assert len(batches) == 4 and set(batches.indices(0).tolist()) == set(subset.tolist())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_arrive_as_channels_last_uint8(channels: int) -> None:
    store = make_store(300, np.arange(300) % 7, channels=channels)
    batches = Batches(store=store, batch_size=16)
    batch, indices = batches.batch(64), batches.indices(64)
    assert batch.images.shape == (16, channels, 4, 5) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), store.images[indices])
    assert _labels(batch).dtype == torch.int64 and _labels(batch).tolist() == (indices % 7).tolist()


def test_a_mapped_store_gives_the_same_and_stays_untouched(tmp_path: Path) -> None:
    store = make_store(300)
    np.save(tmp_path / "images.npy", store.images)
    object.__setattr__(store, "images", np.load(tmp_path / "images.npy", mmap_mode="r"))
    batch = Batches(store=store, batch_size=8).batch(0)
    batch.images.zero_()
    assert batch.labels is None and store.images.any()


def test_what_is_kept_is_no_business_of_others() -> None:
    batches = Batches(store=make_store(4), batch_size=2)
    batches.indices(0)
    assert "_blocks" not in repr(batches) and Batches(store=batches.store, batch_size=2)._blocks == {}
    with pytest.raises(TypeError, match="_blocks"):
        Batches(store=batches.store, batch_size=2, _blocks={})  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"balance": 0.5}, "balance: expected 0, because made up has no classes"),
        ({"balance": 1.5}, "balance: expected a share from 0 to 1, got 1.5"),
        ({"balance": float("nan")}, "balance: expected a share from 0 to 1, got nan"),
        ({"subset": np.array([], int)}, "subset: expected at least one image"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Batches(**{"store": make_store(4), "batch_size": 2} | changes)


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match="10 is not a multiple of 4 ranks"):
        Batches(store=make_store(20), batch_size=10).batch(0, 0, 4)


# --- splits ------------------------------------------------------------------------------------------------


def parts(store: Store, held_out: float = 0.1, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    kept, held = split(store, held_out, seed)
    assert sorted([*kept, *held]) == list(range(len(store)))
    assert np.array_equal(kept, np.sort(kept)) and np.array_equal(held, np.sort(held))
    return kept, held


def test_a_split_keeps_the_classes_shares() -> None:
    held = parts(make_store(100, LABELS), 0.1)[1]
    assert np.bincount(LABELS[held]).tolist() == [7, 2, 0, 1]


@pytest.mark.parametrize(("num", "held"), [(99, 5), (100, 20), (300, 20), (1000, 50)])
def test_enough_is_held_out_wherever_there_are_100(num: int, held: int) -> None:
    for labels in (None, np.arange(num) % 3):
        kept, rest = split(make_store(num, labels), 0.05, least=20)
        assert held <= len(rest) <= held + 6 and len(kept) + len(rest) == num
    assert not len(split(make_store(num), 0.0, least=20)[1])


def test_what_is_enough_is_met_and_no_more() -> None:
    assert ENOUGH_HELD_OUT == 20
    for num, least, held in ((400, 20, 20), (400, 21, 24), (100, 20, 20), (100, 21, 5), (1000, 20, 50), (1000, 60, 60)):
        assert len(split(make_store(num), 0.05, least=least)[1]) == held


def test_a_share_is_raised_to_a_half_at_most() -> None:
    """Groups of 10, 81 and 9 in this order: at 0.5 the first comes nearest, at 0.51 the first two."""
    store = make_store(100, groups=np.repeat(np.arange(3), (10, 81, 9)))
    assert 10 in {len(split(store, 0.5, seed, least=20)[1]) for seed in range(20)}


def test_a_split_parts_no_group() -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 30))
    store = make_store(1200, groups % 4, groups)
    kept, held = parts(store, 0.2)
    assert not set(groups[kept]) & set(groups[held])
    assert np.bincount(groups[held] % 4).tolist() == [60] * 4


def test_groups_of_any_size_come_near_the_share() -> None:
    groups = np.repeat(np.arange(60), np.random.default_rng(0).integers(1, 40, 60))
    held = parts(make_store(len(groups), groups=groups), 0.25)[1]
    assert abs(len(held) / len(groups) - 0.25) < 0.03


def test_small_classes_are_on_both_sides_where_they_can_be() -> None:
    store = make_store(6, [0, 0, 1, 1, 1, 2])
    kept, held = parts(store, 0.01)
    assert store.labels is not None
    assert set(store.labels[kept]) == {0, 1, 2} and set(store.labels[held]) == {0, 1}


def test_a_split_is_a_function_of_its_seed() -> None:
    store = make_store(100)
    assert np.array_equal(parts(store)[1], parts(store)[1])
    assert not np.array_equal(parts(store, seed=0)[1], parts(store, seed=1)[1])


def test_nothing_may_be_held_out_but_not_everything() -> None:
    assert len(parts(make_store(10), 0.0)[1]) == 0
    with pytest.raises(ConfigError, match="held_out: expected a share from 0 to below 1"):
        split(make_store(10), 1.0)
