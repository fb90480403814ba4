"""Counts and times of the service, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gansmith.errors import MissingExtra

__all__ = ["Gauges"]

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Gauges:
    """The numbers of one service.

    Args:
        num_waiting: returns the number of images in the queue.

    Raises:
        MissingExtra: prometheus_client is not installed.
    """

    def __init__(self, num_waiting: Callable[[], int]) -> None:
        try:
            import prometheus_client as prometheus
        except ImportError as error:
            raise MissingExtra("prometheus_client", "serve", "to serve images") from error

        self._latest = prometheus.generate_latest
        self.media_type = prometheus.CONTENT_TYPE_LATEST
        self._registry = registry = prometheus.CollectorRegistry()

        def make(kind: Any, name: str, text: str, **options: Any) -> Any:
            return kind(f"gansmith_{name}", text, registry=registry, **options)

        answered = ["path", "status"]
        self.requests = make(prometheus.Counter, "requests", "Requests that were answered", labelnames=answered)
        self.seconds = make(
            prometheus.Histogram, "request_seconds", "Time to answer", labelnames=["path"], buckets=SECONDS
        )
        self.images = make(prometheus.Counter, "images", "Images that were generated")
        self.passes = make(prometheus.Counter, "passes", "Passes of the generator")
        self.pass_seconds = make(prometheus.Counter, "pass_seconds", "Time that the generator computed")
        make(prometheus.Gauge, "waiting_images", "Images in the queue").set_function(num_waiting)

    def add_request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests.labels(path=path, status=str(status)).inc()
        self.seconds.labels(path=path).observe(seconds)

    def add_pass(self, num: int, seconds: float) -> None:
        """Count a pass of the generator with ``num`` images."""
        self.passes.inc()
        self.images.inc(num)
        self.pass_seconds.inc(seconds)

    def text(self) -> bytes:
        """Return all numbers in Prometheus's text format."""
        return bytes(self._latest(self._registry))
