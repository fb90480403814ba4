"""The Inception export: nothing but the true file is ever run, and it is called as its makers call it."""

from __future__ import annotations

import dataclasses
import hashlib
import socket
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gansmith.data.store import Store
from gansmith.errors import DataError, MetricError
from gansmith.metrics import inception
from gansmith.metrics.features import FeatureNetwork
from gansmith.metrics.inception import INCEPTION, Inception
from gansmith.types import ImageSpec

STORE = Store(
    path=Path("nowhere"),
    title="none",
    kind="photos",
    spec=ImageSpec(height=4, width=4, channels=3),
    images=np.zeros((1, 4, 4, 3), np.uint8),
    labels=None,
    class_names=(),
    groups=None,
    digest="none",
)


class Miniature(nn.Module):
    """Is called as the true export is: pixels from 0 to 255 in, features or probabilities out."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(3, 5)

    def forward(
        self, img: Tensor, return_features: bool = False, use_fp16: bool = False, no_output_bias: bool = False
    ) -> Tensor:
        assert img.size(1) == 3
        features = img.to(torch.float32).mean(dim=[2, 3])
        if return_features:
            return features
        if no_output_bias:
            return torch.nn.functional.linear(features, self.output.weight).softmax(dim=1)
        return self.output(features).softmax(dim=1)


class Handler(BaseHTTPRequestHandler):
    """Serves what the test has put into ``content``."""

    content = b""
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/file"
        running.shutdown()
        thread.join()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small module in a file of any name."""
    path = tmp_path / "a copy.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.manual_seed(0)
        torch.jit.script(Miniature()).save(path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pin(content: bytes, monkeypatch: pytest.MonkeyPatch, url: str = "http://127.0.0.1:9/nothing") -> None:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    pinned = dataclasses.replace(INCEPTION, urls=(url,), digest=digest, size_bytes=len(content))
    monkeypatch.setattr(inception, "INCEPTION", pinned)


def network(path: Path | None = None) -> FeatureNetwork:
    return Inception(path=path).network(STORE, np.arange(1), lambda done, total: None)


def never(*_: object, **__: object) -> None:
    raise AssertionError("an unchecked file was run")


def test_the_pinned_file_is_the_published_one() -> None:
    assert INCEPTION.digest == "sha256:f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
    assert INCEPTION.size_bytes == 95_607_719


def test_it_is_downloaded_once(server: str, copy: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Handler.content = copy.read_bytes()
    pin(Handler.content, monkeypatch, server)
    made = network()
    assert (cache / "inception" / INCEPTION.name).read_bytes() == Handler.content
    assert network().digest == made.digest == hashlib.sha256(Handler.content).hexdigest()
    assert Handler.asked == 1


def test_features_are_of_pixels_from_0_to_255(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(copy.read_bytes(), monkeypatch)
    made = network(copy)
    pixels = torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features, logits = made(pixels)
    torch.testing.assert_close(features, pixels.float().mean(dim=(2, 3)))
    torch.manual_seed(0)
    probabilities = Miniature()(pixels, no_output_bias=True)
    assert logits is not None and made.num_classes == 5
    torch.testing.assert_close(logits.softmax(dim=1), probabilities)


def test_gray_is_shown_as_three_equal_channels(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(copy.read_bytes(), monkeypatch)
    gray = torch.arange(32, dtype=torch.uint8).view(2, 1, 4, 4)
    features, _ = network(copy)(gray)
    assert torch.equal(features, gray.float().mean(dim=(2, 3)).expand(2, 3))


def test_transparency_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin(copy.read_bytes(), monkeypatch)
    with pytest.raises(MetricError, match="images have 4 channels, but inception takes gray or RGB"):
        network(copy)(torch.zeros(1, 4, 8, 8, dtype=torch.uint8))


def test_another_file_is_never_run(copy: Path, server: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = copy.read_bytes()
    pin(content, monkeypatch, server)
    monkeypatch.setattr(torch.jit, "load", never)
    copy.write_bytes(content[:-1] + b"x")
    with pytest.raises(
        DataError, match=r"a copy\.pt: sha256 is \w+, expected \w+; name an intact copy with --inception"
    ):
        network(copy)
    Handler.content = copy.read_bytes()
    with pytest.raises(DataError, match=r"sha256 is \w+, expected \w+\); name an intact copy with --inception, or"):
        network()
    assert not list(cache.rglob("*.pt"))


def test_a_path_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.pt: no such file; expected a copy of inception-2015-12-05\.pt"):
        network(tmp_path / "none.pt")


def test_offline_it_says_what_to_do_in_one_line(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    pin(copy.read_bytes(), monkeypatch, closed)
    with pytest.raises(DataError) as failed:
        network()
    message = str(failed.value)
    assert message.startswith("inception: cannot download inception-2015-12-05.pt (offline? 127.0.0.1")
    assert message.endswith("; name an intact copy with --inception, or choose another --extractor")
    assert "\n" not in message and "--root" not in message
