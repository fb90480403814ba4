"""The server of a run's images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gansmith.console import stop_on_signal
from gansmith.deploy.listening import is_loopback, listen, web_address
from gansmith.deploy.routes import make_app
from gansmith.deploy.service import ServiceSettings, open_service
from gansmith.errors import ConfigError, MissingExtra
from gansmith.threads import share_cores
from gansmith.training.snapshots import Which

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["create_app", "serve"]

TOKEN = "GANSMITH_SERVE_TOKEN"  # environment variable; a command line can be read by all users of a machine
MOST_CONNECTIONS = 1000


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    settings: ServiceSettings | None = None,
    snapshot: Which = "best",
    ema: bool = True,
    device: str = "cpu",
    allow_anyone: bool = False,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve a run's images by HTTP until SIGTERM or Ctrl-C; requests that have begun are answered first.

    Args:
        run: the run's folder.
        host: address to listen on. Other than loopback, it needs a token.
        port: port to listen on; 0 takes a free one.
        settings: limits and token. The environment variable GANSMITH_SERVE_TOKEN is the default of the token.
        snapshot: "best" or "last".
        ema: use the averaged weights.
        device: where the generator runs.
        allow_anyone: listen on another address than loopback without a token.
        announce: is called with the URL as soon as requests are accepted.

    Raises:
        ConfigError: the address cannot be used, or would be open to everybody.
        MissingExtra: FastAPI, uvicorn or prometheus_client is not installed.
        RunError: there is no run, or it cannot be used.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("uvicorn", "serve", "to serve images") from error

    settings = settings or ServiceSettings()
    if settings.token is None and os.environ.get(TOKEN):
        settings = replace(settings, token=os.environ[TOKEN])
    if settings.token is None and not allow_anyone and not is_loopback(host):
        remedy = f"set a token (--token, or the variable {TOKEN}), or --allow_anyone"
        raise ConfigError(f"--host {host}: other machines could use the service; {remedy}")
    with listen(host, port) as listening:
        app = create_app(run, settings, snapshot=snapshot, ema=ema, device=device)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=max(1, round(settings.timeout_seconds)),
        )
        listening.listen()
        announce(web_address(host, listening))
        in_main = threading.current_thread() is threading.main_thread()
        # uvicorn raises its signal again when it has ended.
        with stop_on_signal() if in_main else nullcontext(), share_cores():
            uvicorn.Server(config).run(sockets=[listening])


def create_app(
    run: str | Path,
    settings: ServiceSettings | None = None,
    *,
    snapshot: Which = "best",
    ema: bool = True,
    device: str = "cpu",
) -> FastAPI:
    """Return the service as an ASGI application, to run or mount yourself.

    Args:
        run: the run's folder.
        settings: limits and token.
        snapshot: "best" or "last".
        ema: use the averaged weights.
        device: where the generator runs.

    Raises:
        MissingExtra: FastAPI or prometheus_client is not installed.
        RunError: there is no run, or it cannot be used.
    """
    return make_app(open_service(run, settings or ServiceSettings(), snapshot=snapshot, ema=ema, device=device))
