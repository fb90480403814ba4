"""Decides whether code that a text names as "package.module:name" may be imported.

It may if the user wrote the text on the command line or in Python, or listed the package in the environment variable
GANSMITH_TRUST. Text from a file is not trusted, because another person may have written the file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gansmith.errors import ConfigError

__all__ = ["import_path", "import_trusted", "is_user_input", "trust_paths", "trust_user_input"]


def import_trusted(path: str, where: str) -> Any:
    """Import "module:name" if it is trusted.

    Args:
        path: the text. It is trusted if GANSMITH_TRUST lists its package (separated by commas), or an enclosing
            ``trust_user_input`` or ``trust_paths`` trusts it.
        where: the field's dotted path, for the message.

    Raises:
        ConfigError: it is not "package.module:name", is not trusted, or cannot be imported.
    """
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ConfigError(f"{where}: '{path}' cannot be imported; write it as package.module:name")
    package = module.partition(".")[0]
    if path not in _TRUSTED.get() and package not in os.environ.get("GANSMITH_TRUST", "").split(","):
        raise ConfigError(
            f"{where}: '{path}' would run code from outside gansmith; allow it with GANSMITH_TRUST={package}"
        )
    return import_path(path, where)


def import_path(path: str, where: str) -> Any:
    """Import "module:name" without a check; only for entries of gansmith's own tables.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: cannot import '{path}' ({error}); write it as package.module:name") from error


@contextmanager
def trust_user_input() -> Iterator[None]:
    """Trust every path until the block ends.

    Use it only around code that turns the user's command line or Python values into components. Nothing from a file may
    be read inside, since the author of the file could then choose which code runs.
    """
    with trust_paths(_Everything()):
        yield


def is_user_input() -> bool:
    """Return whether a block of ``trust_user_input`` encloses the caller."""
    return isinstance(_TRUSTED.get(), _Everything)


@contextmanager
def trust_paths(paths: Container[str]) -> Iterator[None]:
    """Trust these paths and no others until the block ends."""
    token = _TRUSTED.set(paths)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


class _Everything:
    def __contains__(self, path: object) -> bool:
        return True


_TRUSTED: ContextVar[Container[str]] = ContextVar("_TRUSTED", default=())
