"""Reads a pickle of plain values and byte arrays without executing code that it names.

A pickle is a program. This reader first checks its instructions, and refuses all except those that a dictionary of
lists, strings, numbers and NumPy byte arrays needs. So nothing else is imported, and no memory is allocated beyond the
file's own content. Then it loads the pickle with stand-ins for the NumPy classes, which only store their arguments.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansmith.errors import DataError

__all__ = ["read_pickle"]


def read_pickle(data: bytes, name: str) -> dict[str, Any]:
    """Read the dictionary in a pickle of protocol 2, as Python 2 or 3 writes it.

    Args:
        data: the pickle.
        name: its name in messages.

    Returns:
        The dictionary; arrays are uint8, strings of Python 2 are bytes.

    Raises:
        DataError: it is damaged, it is not a dictionary, or it needs more than plain values and byte arrays.
    """
    try:
        _screen(data)
        loaded = _Unpickler(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise ValueError(f"it contains a {type(loaded).__name__}, expected a dictionary")
        return {_text(key): _Array.unwrap(value) for key, value in loaded.items()}
    except Exception as error:  # a broken pickle makes the interpreter raise nearly anything
        raise DataError(f"{name}: not a pickle of plain arrays ({error}); it was not loaded") from error


_ALLOWED = """
    PROTO STOP MARK GLOBAL REDUCE BUILD BINPUT LONG_BINPUT BINGET LONG_BINGET
    NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINSTRING SHORT_BINSTRING BINUNICODE
    EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
"""
_INSTRUCTIONS = frozenset(_ALLOWED.split())


def _screen(data: bytes) -> None:
    for count, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        name = instruction.name
        if name not in _INSTRUCTIONS:
            raise ValueError(f"instruction {name} is not allowed")
        if name == "GLOBAL" and argument not in _STAND_INS:
            raise ValueError(f"it asks for '{argument}'")
        # Python allocates every memo slot up to the one named; a valid pickle has no more slots than objects.
        if name in ("BINPUT", "LONG_BINPUT") and int(argument or 0) > count + 1:
            raise ValueError(f"memory slot {argument} in instruction {count}")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _STAND_INS[f"{module} {name}"]


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    __slots__ = ("code",)

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _text(code)

    def __setstate__(self, state: object) -> None:
        """Ignore byte order and alignment, which single bytes do not have."""


class _Array:
    """Stands in for ``numpy.ndarray`` and for the function by which pickles create an empty one."""

    __slots__ = ("state",)

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    @staticmethod
    def unwrap(value: Any) -> Any:
        """Return the real array for a stand-in; any other value unchanged."""
        return value._array() if isinstance(value, _Array) else value

    def _array(self) -> NDArray[np.uint8]:
        _, shape, dtype, fortran_order, values = self.state
        if dtype.code != "u1":
            raise ValueError(f"an array of type {dtype.code}, expected u1")
        return np.frombuffer(values, np.uint8).reshape(shape, order="F" if fortran_order else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``codecs.encode``, by which Python 3 writes bytes into a pickle of protocol 2."""
    return text.encode("latin-1")


_STAND_INS: dict[str, Callable[..., Any]] = {
    "numpy.core.multiarray _reconstruct": _Array,
    "numpy._core.multiarray _reconstruct": _Array,
    "numpy ndarray": _Array,
    "numpy dtype": _Dtype,
    "_codecs encode": _encode,
}


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
