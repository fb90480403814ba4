"""The one gate before code that a text names: "package.module:name" is imported only if the text is trusted.

A text is trusted if the user wrote it: on the command line, in Python, or by listing its package in the environment
variable GANSMITH_TRUST. What stands in a file is not trusted, because somebody else may have written the file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from gansmith.errors import ConfigError

__all__ = ["from_the_user", "import_path", "import_trusted", "is_from_the_user", "trusting"]


def import_trusted(path: str, where: str) -> Any:
    """Import "module:name", which is refused unless it is trusted.

    Args:
        path: of which the package is listed in GANSMITH_TRUST (separated by commas), or which is trusted by an
            enclosing ``from_the_user`` or ``trusting``.
        where: the field's dotted path, for the message.

    Raises:
        ConfigError: it is not "package.module:name", is not trusted, or cannot be imported.
    """
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ConfigError(f"{where}: '{path}' names nothing to import; write it as package.module:name")
    package = module.partition(".")[0]
    if path not in _TRUSTED.get() and package not in os.environ.get("GANSMITH_TRUST", "").split(","):
        raise ConfigError(
            f"{where}: '{path}' would run code from outside gansmith; allow it with GANSMITH_TRUST={package}"
        )
    return import_path(path, where)


def import_path(path: str, where: str) -> Any:
    """Import "module:name" without asking; only for what stands in gansmith's own tables.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{where}: cannot import '{path}' ({error}); write it as package.module:name") from error


@contextmanager
def from_the_user() -> Iterator[None]:
    """Trust every path while the block lasts.

    Only for blocks that turn what the user typed, or wrote in Python, into components. Nothing that comes from a
    file may be read inside: whoever wrote the file would choose which code runs here.
    """
    with trusting(_Everything()):
        yield


def is_from_the_user() -> bool:
    """Return whether a block of ``from_the_user`` encloses the caller."""
    return isinstance(_TRUSTED.get(), _Everything)


@contextmanager
def trusting(paths: Container[str]) -> Iterator[None]:
    """Trust these paths, and no others, while the block lasts."""
    token = _TRUSTED.set(paths)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


class _Everything:
    def __contains__(self, path: object) -> bool:
        return True


_TRUSTED: ContextVar[Container[str]] = ContextVar("_TRUSTED", default=())
