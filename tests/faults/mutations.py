"""Inputs that are almost right: bytes, numbers and nodes changed at random, from a seed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

EXTREMES = (b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\x7f", b"\x80\x00\x00\x00", b"\xff" * 8, b"\x00\x00\x00\x80")  # fmt: skip
NUMBERS = (b"-1", b"0", b"1e999", b"NaN", b"1000000000", b"99999999999999999999", b"0.5", b"-0.0", b"1e-320", b"true")
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1.5, 10**9, 10**30, float("nan"), float("inf"), "", "x", "\u0000", "../..", "a" * 5000,
    [], {}, [[]], {"name": "x"}, [None], "os:system", {"name": "os:system"}, [1, "a"], {"": {}},
)  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to three changes of a file; of its structure where it is JSON, or lines of JSON."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        ways: list[Callable[[bytes, random.Random], bytes]] = [_flip, _extreme, _cut, _drop, _double, _insert, _swap]
        if re.search(rb"^[\[{\w#\"]", data):
            ways += [_number] * 3
        if data[:1] in (b"{", b"["):
            ways += [_node] * 12
        data = rng.choice(ways)(data, rng) if data else b"\x00"
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _extreme(data: bytes, rng: random.Random) -> bytes:
    new, at = rng.choice(EXTREMES), _place(data, rng)
    return data[:at] + new + data[at + len(new) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice([1, 4, 100, 5000]) :]


def _double(data: bytes, rng: random.Random) -> bytes:
    at, length = _place(data, rng), rng.choice([1, 16, 1000])
    return data[: at + length] + data[at : at + length] * rng.choice([1, 50]) + data[at + length :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.randbytes(rng.choice([1, 4, 64])) + data[at:]


def _swap(data: bytes, rng: random.Random) -> bytes:
    first, second = sorted((_place(data, rng), _place(data, rng)))
    return data[second:] + data[first:second] + data[:first] if rng.random() < 0.2 else data[:first] + data[second:]


def _number(data: bytes, rng: random.Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return data
    place = rng.choice(found)
    return data[: place.start()] + rng.choice(NUMBERS) + data[place.end() :]


def _node(data: bytes, rng: random.Random) -> bytes:
    """Put something of another type at a random node of JSON, or remove it, or nest it deeply."""
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    i = rng.randrange(len(lines))
    try:
        plain = json.loads(lines[i])
    except (ValueError, RecursionError):  # changed already, perhaps nested deeply
        return data
    path = rng.choice(_paths(plain) or [()])
    lines[i] = json.dumps(_changed(plain, path, rng)).encode("utf-8", "surrogatepass")
    if rng.random() < 0.03:
        lines[i] = b"[" * 5000 + lines[i]
    return b"\n".join(lines)


def _paths(plain: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    return [(*path, key) for key, _ in items] + [each for key, part in items for each in _paths(part, (*path, key))]


def _changed(plain: Any, path: tuple[Any, ...], rng: random.Random) -> Any:
    if not path:
        return rng.choice(VALUES)
    changed = plain.copy()
    if len(path) == 1 and rng.random() < 0.2:
        del changed[path[0]]
    else:
        changed[path[0]] = _changed(plain[path[0]], path[1:], rng)
    return changed


def _place(data: bytes, rng: random.Random) -> int:
    """Near the start, where the headers are, as often as anywhere."""
    return rng.randrange(min(len(data), rng.choice([64, 512, len(data)])))
