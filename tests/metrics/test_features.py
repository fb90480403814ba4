"""Features: the same however images come, refused if they are no numbers, computed once and then read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from gansmith.data.source import cache_folder
from gansmith.data.store import Store
from gansmith.errors import MetricError
from gansmith.metrics.features import (
    BATCH_SIZE,
    FeatureNetwork,
    Features,
    Selection,
    choose_subset,
    extract,
    extract_batches,
    extract_store,
)
from gansmith.types import ImageSpec, PixelArray, Pixels


class Looking(FeatureNetwork):
    """A small convolution that remembers how many images it was shown at a time."""

    name = "looking"

    def __init__(self, digest: str = "a") -> None:
        self.digest = digest
        self.seen: list[int] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.head = nn.Linear(5, 4)

    def __call__(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        self.seen.append(len(pixels))
        values = self.layers(pixels.float() / 255)
        return values, self.head(values)


class Broken(Looking):
    """Takes dark images for no numbers."""

    def __call__(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        values, logits = super().__call__(pixels)
        dark = pixels.float().mean(dim=(1, 2, 3)) < 100
        return values.masked_fill(dark[:, None], float("nan")), logits


class Bare(Looking):
    """Classifies nothing."""

    def __call__(self, pixels: Pixels) -> tuple[Tensor, None]:  # type: ignore[override]
        return super().__call__(pixels)[0], None


def noise(num: int, seed: int = 0) -> PixelArray:
    return np.random.default_rng(seed).integers(0, 256, (num, 6, 7, 3), np.uint8)


def store_of(images: PixelArray, digest: str = "d", labels: NDArray[np.int64] | None = None) -> Store:
    return Store(
        path=Path("nowhere"),
        title="noise",
        kind="photos",
        spec=ImageSpec(height=6, width=7, channels=3),
        images=images,
        labels=labels,
        class_names=(),
        groups=None,
        digest=digest,
    )


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path))


def in_batches(images: PixelArray, sizes: list[int]) -> Iterator[PixelArray]:
    for part in np.split(images, np.cumsum(sizes)):
        if len(part):
            yield part


# --- batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1] * 299, [7] * 42, [128, 128], [200], [3, 250, 1], [127, 1, 129]])
def test_features_are_the_same_bit_for_bit_in_whatever_batches_images_come(sizes: list[int]) -> None:
    images, network = noise(300), Looking()
    wanted = extract(Looking(), [images])
    found = extract(network, in_batches(images, sizes))
    assert network.seen == [BATCH_SIZE, BATCH_SIZE, 300 - 2 * BATCH_SIZE]
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine is not None and theirs is not None and torch.equal(mine, theirs)


def test_features_of_generated_batches_keep_images_and_labels_in_their_order() -> None:
    images, labels, counts = noise(300), np.arange(300), []
    batches = [(images[start : start + 90], labels[start : start + 90]) for start in range(0, 300, 90)]
    found = extract_batches(Looking(), batches, counts.append)
    values, logits = extract(Looking(), [images])
    assert torch.equal(found.values, values)
    assert found.logits is not None and logits is not None and torch.equal(found.logits, logits)
    assert found.labels is not None and (found.labels == labels).all()
    np.testing.assert_array_equal(found.images[np.array([5, 299])], images[[5, 299]])
    assert sum(counts) == 300


def test_unlabelled_images_and_networks_without_logits_have_none() -> None:
    found = extract_batches(Bare(), [(noise(5), None), (noise(4), None)])
    assert found.labels is None and found.logits is None and len(found) == 9


def test_no_images_are_one_clear_line() -> None:
    for batches in ([], [noise(0)]):
        with pytest.raises(MetricError, match="there are no images; expected at least 1"):
            extract(Looking(), batches)


def test_features_that_are_no_numbers_are_one_clear_line() -> None:
    images = noise(10)
    images[[2, 5, 6]] //= 4
    with pytest.raises(
        MetricError, match=r"features of 3 of 10 images contain NaN or infinity;.* choose another --extractor"
    ):
        extract_batches(Broken(), [(images, None)])
    with pytest.raises(MetricError, match="features of 1 of 2 images contain NaN or infinity"):
        Features(values=torch.tensor([[0.0, 1.0], [torch.inf, 0.0]]), logits=None, labels=None, images=images[:2])


# --- selections --------------------------------------------------------------------------------------------


def test_a_selection_is_looked_up_in_the_order_of_its_indices() -> None:
    images = noise(40)
    selection = Selection(images, np.array([30, 2, 17]))
    assert len(selection) == 3
    np.testing.assert_array_equal(selection[np.array([2, 0])], images[[17, 30]])
    np.testing.assert_array_equal(np.concatenate(list(selection.batches(2))), images[[30, 2, 17]])


def test_some_of_few_are_all_and_some_of_many_always_the_same() -> None:
    few = np.array([9, 3, 5])
    assert choose_subset(few, 3) is few
    many = np.arange(100, 1100)
    chosen = choose_subset(many, 50)
    assert len(set(chosen.tolist())) == 50 and set(chosen) <= set(many) and (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, choose_subset(many, 50))


# --- the cache ---------------------------------------------------------------------------------------------


def cached() -> list[Path]:
    return sorted((cache_folder() / "features").iterdir())


def test_features_of_a_store_are_computed_once_then_read() -> None:
    store, network, counts = store_of(noise(20), labels=np.arange(20) % 3), Looking(), []
    first = extract_store(network, store, np.array([3, 1, 19]), counts.append)
    second = extract_store(network, store, np.array([3, 1, 19]), counts.append)
    assert network.seen == counts == [3]
    assert torch.equal(first.values, second.values)
    assert first.logits is not None and second.logits is not None and torch.equal(first.logits, second.logits)
    assert second.labels is not None and second.labels.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(second.images[np.array([1])], store.images[[1]])
    assert len(cached()) == 1


def test_another_network_store_or_choice_of_images_is_not_taken_for_this_one() -> None:
    indices = np.array([3, 1, 2])
    extract_store(Looking("a"), store_of(noise(20)), indices)
    for network, store, which in (
        (Looking("b"), store_of(noise(20)), indices),
        (Looking("a"), store_of(noise(20, seed=1), digest="e"), indices),
        (Looking("a"), store_of(noise(20)), np.array([1, 3, 2])),
    ):
        found = extract_store(network, store, which)
        assert network.seen == [3]
        assert torch.equal(found.values, extract(Looking(), [store.images[which]])[0])
    assert len(cached()) == 4


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def overwritten(path: Path) -> None:
    path.write_bytes(b"\xff" * 200)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_fewer_images(path: Path) -> None:
    save_file({"values": torch.zeros(2, 5)}, path)


def of_another_type(path: Path) -> None:
    save_file({"values": torch.zeros(3, 5, dtype=torch.int32)}, path)


def of_another_thing(path: Path) -> None:
    save_file({"weights": torch.zeros(3, 5)}, path)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(content)


def of_an_earlier_version(path: Path) -> None:
    save_file({"values": torch.zeros(3, 5), "logits": torch.zeros(3, 4)}, path)


def of_other_images(path: Path) -> None:
    content = path.read_bytes()
    extract_store(Looking("b"), store_of(noise(20, seed=1), digest="e"), np.array([3, 1, 2]))
    (other,) = set(cached()) - {path}
    other.replace(path)
    assert path.read_bytes() != content


@pytest.mark.parametrize(
    "damage",
    [
        flipped,
        of_an_earlier_version,
        of_other_images,
        cut,
        overwritten,
        emptied,
        of_fewer_images,
        of_another_type,
        of_another_thing,
    ],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_is_made_anew(damage: Callable[[Path], None]) -> None:
    store, indices = store_of(noise(20)), np.array([3, 1, 19])
    wanted = extract_store(Looking(), store, indices)
    (path,) = cached()
    damage(path)
    for expected in ([3], []):  # made anew once, and whole again
        network = Looking()
        found = extract_store(network, store, indices)
        assert torch.equal(found.values, wanted.values) and found.logits is not None
        assert network.seen == expected


def test_two_that_write_at_once_do_not_meet() -> None:
    store, indices, both_looked = store_of(noise(200)), np.arange(200), Barrier(2)

    class Slow(Looking):
        def __call__(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
            both_looked.wait(timeout=30)  # neither has written when the other begins
            return super().__call__(pixels)

    networks = [Slow(), Slow()]  # here, as building one seeds the random numbers of all threads
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda network: extract_store(network, store, indices), networks)
    assert torch.equal(one.values, two.values)
    assert [path.suffix for path in cached()] == [".safetensors"]
    network = Looking()
    assert torch.equal(extract_store(network, store, indices).values, one.values) and not network.seen


def test_a_write_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        extract_store(Looking(), store_of(noise(5)), np.arange(5))
    assert cached() == []
