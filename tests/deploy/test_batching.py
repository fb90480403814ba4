"""Batches of requests: every pass has one size, and who asks beside changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gansmith.deploy.batching import Batcher, QueueFull, find_fixed_size
from gansmith.types import Labels, Latents, PixelArray

SECONDS = 20  # after which a test fails instead of waiting forever


class Network:
    """Draws each latent's first number and label as one pixel; waits at ``door`` if it is closed."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.door, self.entered = threading.Event(), threading.Event()
        self.door.set()
        self.error: Exception | None = None

    def __call__(self, z: Latents, labels: Labels | None) -> PixelArray:
        self.sizes.append(len(z))
        self.entered.set()
        assert self.door.wait(SECONDS)
        if self.error:
            raise self.error
        numbers = z[:, 0] if labels is None else z[:, 0] + 100 * labels
        return numbers.numpy().astype(np.uint8).reshape(-1, 1, 1, 1)


def latents(*numbers: int) -> Latents:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


@contextmanager
def batcher(network: Network, **changes: Any) -> Iterator[Batcher]:
    made = Batcher(network, **{"batch_size": 4, "wait_seconds": 0.0, "most_waiting": 10, **changes})
    try:
        yield made
    finally:
        network.door.set()
        made.close(SECONDS)


def values(images: PixelArray) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_every_pass_has_the_same_size_and_each_job_gets_its_own_images() -> None:
    network, passes = Network(), []
    with batcher(network, wait_seconds=SECONDS) as made:
        made.report = lambda num, seconds: passes.append((num, seconds >= 0))
        network.door.clear()
        first = made.submit(latents(1, 2, 3, 4, 5), None)
        assert network.entered.wait(SECONDS)
        second = made.submit(latents(6, 7), None)
        third = made.submit(latents(8, 9), None)  # fills the second and third pass
        network.door.set()
        made.close(SECONDS)
        assert values(first.result(SECONDS)) == [1, 2, 3, 4, 5]
        assert (values(second.result(SECONDS)), values(third.result(SECONDS))) == ([6, 7], [8, 9])
    assert network.sizes == [4, 4, 4] and passes == [(4, True), (4, True), (1, True)]


def test_labels_stay_beside_their_latents() -> None:
    with batcher(Network()) as made:
        assert values(made.submit(latents(1, 2, 3), torch.tensor([0, 1, 2])).result(SECONDS)) == [1, 102, 203]


def test_a_pass_waits_for_others_only_until_it_is_full() -> None:
    network = Network()
    with batcher(network, wait_seconds=SECONDS / 2) as made:
        jobs = [made.submit(latents(number), None) for number in range(4)]
        assert [values(job.result(SECONDS / 4)) for job in jobs] == [[0], [1], [2], [3]]
    assert network.sizes == [4]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    network = Network()
    with batcher(network, most_waiting=3) as made:
        network.door.clear()
        made.submit(latents(1), None)
        assert network.entered.wait(SECONDS)
        waiting = made.submit(latents(*range(9)), None)  # more than fit, but none waits before them
        assert made.num_waiting == 9
        with pytest.raises(QueueFull, match="9 images are waiting; try again later") as caught:
            made.submit(latents(1), None)
        assert caught.value.retry_seconds == 1
        network.door.set()
        assert values(waiting.result(SECONDS)) == list(range(9))


def test_who_no_longer_waits_is_not_computed() -> None:
    network = Network()
    with batcher(network) as made:
        network.door.clear()
        made.submit(latents(1), None)
        assert network.entered.wait(SECONDS)
        given_up, kept = made.submit(latents(*range(8)), None), made.submit(latents(9), None)
        assert given_up.cancel()
        network.door.set()
        assert values(kept.result(SECONDS)) == [9]
        with pytest.raises(CancelledError):
            given_up.result(0)
    assert len(network.sizes) == 2


def test_an_error_reaches_who_asked_and_the_next_request_is_answered() -> None:
    network = Network()
    with batcher(network) as made:
        network.error = ValueError("broken")
        with pytest.raises(ValueError, match="broken"):
            made.submit(latents(*range(5)), None).result(SECONDS)
        network.error = None
        assert values(made.submit(latents(3), None).result(SECONDS)) == [3] and made.is_alive


def test_closing_finishes_what_waits_and_accepts_nothing_more() -> None:
    network = Network()
    with batcher(network) as made:
        network.door.clear()
        jobs = [made.submit(latents(number), None) for number in range(6)]
        closing = threading.Thread(target=made.close, args=(SECONDS,))
        closing.start()
        network.door.set()
        closing.join(SECONDS)
        assert all(job.done() for job in jobs) and not made.is_alive
        with pytest.raises(QueueFull, match="the service is shutting down"):
            made.submit(latents(1), None)


# --- the size at which the place does not matter -----------------------------------------------------------


def plain(z: Latents, labels: Labels | None) -> Tensor:
    return z * 2


def by_place(z: Latents, labels: Labels | None) -> Tensor:
    return z + 1e-7 * torch.arange(len(z))[:, None]


def by_neighbours(z: Latents, labels: Labels | None) -> Tensor:
    return z + 1e-3 * z.mean()


def by_label(z: Latents, labels: Labels | None) -> Tensor:
    assert labels is not None
    return z + labels[:, None]


@pytest.mark.parametrize(("network", "size"), [(plain, 5), (by_place, 1), (by_neighbours, 1), (by_label, 5)])
def test_a_batch_is_used_only_if_place_and_neighbours_do_not_matter(
    network: Callable[[Latents, Labels | None], Tensor], size: int
) -> None:
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert find_fixed_size(network, z, torch.arange(5)) == size
    assert find_fixed_size(network, z[:1], torch.arange(1)) == 1
