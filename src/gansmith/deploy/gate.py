"""What every request passes before the service sees it: the token, the names of parameters, counting."""

from __future__ import annotations

import hmac
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from gansmith.deploy.gauges import Gauges
from gansmith.errors import did_you_mean

__all__ = ["OPEN_PATHS", "App", "Gate", "Message", "Receive", "Send"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

OPEN_PATHS = ("/health", "/docs", "/openapi.json")  # need no token; nothing of the model is in them


class Gate:
    """ASGI middleware of the service.

    Args:
        app: what answers.
        token: None lets everybody in.
        parameters: the known query parameters by path; other paths ignore theirs.
        paths: all paths, for counting.
        gauges: counts.
    """

    def __init__(
        self,
        app: App,
        *,
        token: str | None,
        parameters: Mapping[str, Collection[str]],
        paths: Collection[str],
        gauges: Gauges,
    ) -> None:
        self.app, self.token, self.parameters, self.paths, self.gauges = app, token, parameters, paths, gauges

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500  # unless an answer begins

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
        try:
            await self._pass(path, scope, receive, watch)
        finally:
            self.gauges.add_request(path if path in self.paths else "other", status, time.perf_counter() - began)

    async def _pass(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        if self.token is not None and not self._is_open(path) and not self._is_known(scope):
            hint = "send the header: Authorization: Bearer TOKEN"
            await _refuse(send, 401, f"a token is needed; {hint}", (b"www-authenticate", b"Bearer"))
        elif scope["method"] == "GET" and (flaw := self._find_flaw(path, scope)):
            await _refuse(send, 422, flaw)
        else:
            await self.app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in OPEN_PATHS or path.startswith("/docs/")

    def _is_known(self, scope: Message) -> bool:
        """Whether a request has the token; the comparison takes equally long wherever they differ."""
        found = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = found[0].partition(b" ") if len(found) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), (self.token or "").encode())

    def _find_flaw(self, path: str, scope: Message) -> str:
        """Return what is wrong with the names of a request's parameters; "" if nothing is."""
        known = self.parameters.get(path)
        if known is None:
            return ""
        names = Counter(name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        for name, num in names.items():
            if name not in known:
                return f"{name[:40]}: no such parameter; {did_you_mean(name[:40], known)}"
            if num > 1:
                return f"{name}: given {num} times, expected once"
        return ""


async def _refuse(send: Send, status: int, error: str, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps({"error": error}).encode()
    lengths = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*lengths, *headers]})
    await send({"type": "http.response.body", "body": body})
