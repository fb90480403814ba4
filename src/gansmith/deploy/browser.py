"""A page measured in headless Chromium, if Playwright and a browser are on this machine."""

from __future__ import annotations

import functools
import importlib
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["QUIET_BROWSER", "PageVisit", "serve_folder", "visit_page"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET_BROWSER = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
TIMEOUT_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class PageVisit:
    """What a page's self-test found.

    Args:
        speed: images a second, one at a time.
        largest: largest difference from PyTorch in steps of 1/255.
    """

    speed: float
    largest: float


def visit_page(folder: Path) -> PageVisit | None:
    """Open a page from loopback and wait for its self-test; None without a browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        player = importlib.import_module("playwright.sync_api")
    except ImportError:
        return None
    if browser is None:
        return None
    with serve_folder(folder) as address, player.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=list(QUIET_BROWSER))
        try:
            tab = opened.new_page()
            tab.goto(address)
            tab.wait_for_selector("body[data-self-test][data-speed]", timeout=TIMEOUT_MS)
            speed, largest = (float(tab.get_attribute("body", f"data-{name}")) for name in ("speed", "difference"))
        except player.Error:
            return None
        finally:
            opened.close()
    return PageVisit(speed=speed, largest=largest)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """Serve a folder's files on a free port of loopback; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
