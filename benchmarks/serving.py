"""Measure throughput and latency of `gansmith serve` on loopback, with and without dynamic batches.

    python benchmarks/serving.py RUN [--clients 1 4 16] [--requests 200] [--rounds 3]

Each way to serve is a server process of its own; all of them take turns. A client sends its next request when its last
one is answered, so the number of clients bounds the load. Each request is for one PNG of another seed. Before the
first round, each server answers some requests that do not count. Writes DATE-serving.json and .md to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from record import write_results

__all__ = ["main", "measure", "start", "table"]

WAYS = {
    "batches of 8, wait 2 ms": ("--batch_size", "8", "--wait_ms", "2"),
    "batches of 8, no wait": ("--batch_size", "8", "--wait_ms", "0"),
    "one at a time": ("--batch_size", "1", "--wait_ms", "0"),
}
WARM_UP = 20  # requests


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=200, help="in each round, for each way and number of clients")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds: dict[tuple[str, int], list[list[float]]] = {}
    walls: dict[tuple[str, int], list[float]] = {}
    with start(options.run) as urls:
        for url in urls.values():
            asyncio.run(measure(url, 1, WARM_UP))
        for number in range(options.rounds):
            for clients in options.clients:
                for way in list(urls)[:: 1 if number % 2 == 0 else -1]:
                    wall, times = asyncio.run(measure(urls[way], clients, options.requests))
                    walls.setdefault((way, clients), []).append(wall)
                    seconds.setdefault((way, clients), []).append(times)
        info = asyncio.run(_get_json(next(iter(urls.values())), "/v1/info"))
    rows = [
        {
            "clients": clients,
            "way": way,
            "per_second": options.requests / float(np.median(walls[way, clients])),
            **{f"p{q}": 1000 * float(np.percentile(np.concatenate(times), q)) for q in (50, 95, 99)},
        }
        for (way, clients), times in sorted(seconds.items(), key=lambda each: each[0][1])
    ]
    size = f"{info['width']}x{info['height']}"
    facts = {"model": info["model"], "size": size, "requests": options.requests, "rounds": options.rounds}
    write_results("serving", "Serving on loopback", rows, table, facts)


@contextmanager
def start(run: str) -> Iterator[dict[str, str]]:
    """Start a server on a free port for each way, yield their URLs, and end them."""
    command = [sys.executable, "-m", "gansmith", "serve", run, "--port", "0", "--json"]
    servers = {
        way: subprocess.Popen([*command, *words], stdout=subprocess.PIPE, text=True) for way, words in WAYS.items()
    }
    try:
        yield {way: _read_url(server.stdout) for way, server in servers.items()}
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()


def _read_url(lines: Iterable[str] | None) -> str:
    text = ""
    for line in lines or ():
        text += line
        if line.rstrip() == "}":
            return str(json.loads(text)["url"])
    raise SystemExit("the server did not start")


async def measure(url: str, clients: int, requests: int) -> tuple[float, list[float]]:
    """Return the seconds of all requests together, and of each.

    Args:
        url: of the server.
        clients: each sends one request at a time.
        requests: by all clients together.
    """
    left = iter(range(requests))
    times: list[float] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        for seed in left:
            began = time.perf_counter()
            body = await _get(reader, writer, f"/v1/sample?seed={seed}")
            times.append(time.perf_counter() - began)
            assert body.startswith(b"\x89PNG"), body[:200]
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return time.perf_counter() - began, times


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """Return the body of an answer; the connection stays open. A full client would take longer than the server."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def _get_json(url: str, path: str) -> Any:
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    body = await _get(reader, writer, path)
    writer.close()
    return json.loads(body)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| clients | way | requests/s | p50, ms | p95, ms | p99, ms |", "|---|---|---|---|---|---|"]
    for row in rows:
        times = " | ".join(f"{row[f'p{q}']:.1f}" for q in (50, 95, 99))
        lines.append(f"| {row['clients']} | {row['way']} | {row['per_second']:.0f} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
