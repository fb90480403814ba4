"""Weights & Biases: whether it logs online, and whether its server can be reached and accepts the key."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import ssl
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError

from gansmith.errors import ConfigError

__all__ = ["ONLINE", "try_key", "wandb_mode", "within"]

ONLINE, AWAY = ("online", "run", "shared"), ("offline", "dryrun", "disabled")  # values of WANDB_MODE

REACH_SECONDS, LOGIN_SECONDS = 5, 20  # timeouts of the first answer, and of the answer about the key


def wandb_mode() -> str:
    """Return WANDB_MODE if it is set, else "online" if there is a key, else "offline".

    Raises:
        ConfigError: WANDB_MODE has an unknown value.
    """
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    if mode not in (*ONLINE, *AWAY):
        raise ConfigError(f"config.loggers: WANDB_MODE is '{mode}'; expected online, offline or disabled")
    return mode


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:  # where "wandb login" leaves it
        return importlib.import_module("requests.utils").get_netrc_auth(_server()) is not None
    except ImportError:
        return False


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"


def try_key(wandb: Any) -> None:
    """Check that the server accepts the key.

    Raises:
        ConfigError: there is no key, it is not accepted, or the server cannot be reached.
    """
    offline = "log offline with WANDB_MODE=offline"
    if not _has_key():
        raise ConfigError(f"config.loggers: wandb has no key; set WANDB_API_KEY, or {offline}")
    try:
        within(REACH_SECONDS, lambda: _reach(_server()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"config.loggers: wandb cannot reach {_server()} ({getattr(error, 'reason', error)}); "
            f"check the network, or {offline}"
        ) from error
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # wandb says there whose key it is
            within(LOGIN_SECONDS, lambda: wandb.login(verify=True))
    except Exception as error:
        reason = " ".join(str(error).replace(os.environ.get("WANDB_API_KEY") or "\0", "...").split())
        raise ConfigError(
            f"config.loggers: wandb's key is not accepted ({reason}); check WANDB_API_KEY, or {offline}"
        ) from error


def _reach(url: str) -> None:
    """Wait for any answer of a server.

    Raises:
        OSError: there is no answer.
        ValueError: the URL is not valid.
    """
    context = ssl.create_default_context()  # nothing is sent or believed: wandb itself looks at certificates
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(HTTPError), urllib.request.urlopen(url, timeout=REACH_SECONDS, context=context):
        pass


def within(seconds: float, work: Callable[[], object], remedy: str = "") -> None:
    """Run work in a thread, and wait for it at most so many seconds.

    Raises:
        TimeoutError: it takes longer; the thread is left alone.
    """
    trouble: list[Exception] = []

    def attempt() -> None:
        try:
            work()
        except Exception as error:
            trouble.append(error)

    working = threading.Thread(target=attempt, daemon=True)
    working.start()
    working.join(seconds)
    if working.is_alive():
        raise TimeoutError(f"no answer within {seconds} s{remedy}")
    if trouble:
        raise trouble[0]
