"""The server of the page: on loopback by default, and nothing of it reaches another host."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from gansmith.console import stop_on_signal
from gansmith.deploy.app.controls import read_asset, require_gradio
from gansmith.deploy.app.gate import LOOPBACK, PageGate
from gansmith.deploy.app.page import build_page
from gansmith.deploy.app.settings import APP_PORT, AppSettings
from gansmith.deploy.app.shelf import Shelf
from gansmith.deploy.app.studio import Studio
from gansmith.deploy.app.uploads import PictureStore
from gansmith.deploy.listening import is_loopback, listen, web_address
from gansmith.errors import ConfigError

__all__ = ["create_page", "serve_page"]

PASSWORD = "GANSMITH_APP_PASSWORD"  # environment variable; a command line can be read by all users of a machine
MOST_CONNECTIONS = 500


def serve_page(
    runs: Sequence[str | Path] = (),
    *,
    host: str = "127.0.0.1",
    port: int = APP_PORT,
    settings: AppSettings | None = None,
    allow_anyone: bool = False,
    listening: socket.socket | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Show runs on a local page until Ctrl-C or SIGTERM.

    Args:
        runs: run folders, ``zoo:NAME``, or folders that contain runs; empty lists those of ``runs``.
        host: address to listen on. Other than loopback, it needs a password.
        port: port to listen on; 0 takes a free one.
        settings: limits and password. The environment variable GANSMITH_APP_PASSWORD is the default of the password.
        allow_anyone: listen on another address than loopback without a password.
        listening: a bound socket to use instead of ``host`` and ``port``.
        announce: is called with the URL as soon as requests are accepted.

    Raises:
        ConfigError: the address cannot be used, or would be open to everybody.
        MissingExtra: Gradio is not installed.
        RunError: a run or folder does not exist.
    """
    settings = settings or AppSettings()
    if settings.password is None and os.environ.get(PASSWORD):
        settings = replace(settings, password=os.environ[PASSWORD])
    if settings.password is None and not allow_anyone and not is_loopback(host):
        remedy = f"set a password (--password, or the variable {PASSWORD}), or --allow_anyone"
        raise ConfigError(f"--host {host}: other machines could use the page; {remedy}")
    _prepare_gradio()
    import uvicorn

    with tempfile.TemporaryDirectory(prefix="gansmith-app-") as temporary, listening or listen(host, port) as bound:
        os.environ["GRADIO_TEMP_DIR"] = temporary  # stays empty: the page neither uploads to nor serves files
        names = None if settings.password is not None or not is_loopback(host) else (*LOOPBACK, host)
        app = create_page([str(run) for run in runs] or ["runs"], settings, hosts=names)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        bound.listen()
        announce(web_address(host, bound))
        in_main = threading.current_thread() is threading.main_thread()
        with stop_on_signal() if in_main else nullcontext():
            uvicorn.Server(config).run(sockets=[bound])


def create_page(
    runs: Sequence[str], settings: AppSettings | None = None, *, hosts: tuple[str, ...] | None = LOOPBACK
) -> Any:
    """Return the page as an ASGI application, to run yourself.

    Args:
        runs: run folders, ``zoo:NAME``, or folders that contain runs.
        settings: limits and password.
        hosts: names that the address may have; None allows any.

    Raises:
        MissingExtra: Gradio is not installed.
        RunError: a run or folder does not exist.
    """
    _prepare_gradio()
    gr = require_gradio()
    import fastapi

    settings = settings or AppSettings()
    pictures = PictureStore()
    page = build_page(Studio(Shelf(runs), settings), pictures)
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    system = ["system-ui", "sans-serif"]
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Base(
            primary_hue="sky", neutral_hue="stone", font=system, font_mono=["ui-monospace", "monospace"]
        ),
        css=read_asset("style.css"),
    )
    return PageGate(app, settings, pictures.add, hosts)


def _prepare_gradio() -> None:
    """Switch off what Gradio would send to other hosts, before it is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    require_gradio()
