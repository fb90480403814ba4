"""What every request passes before Gradio sees it: the address, the password, the path, the size, the content.

Gradio would fetch files and addresses that a request names, and keep uploaded files on the disk. The page needs none of
that, so requests are limited to the few paths of the page, and their content to numbers and texts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import re
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.gate import App, Message, Receive, Send
from gansmith.errors import GansmithError
from gansmith.plain_json import parse_json

__all__ = ["LOOPBACK", "UPLOAD", "PageGate"]

UPLOAD = "/upload"
LOGIN = "/login"
COOKIE = "gansmith-app"
PAGES = re.compile(
    r"/|/config|/theme\.css|/favicon\.ico|/(?:assets|static)/[\w./@+-]+"
    r"|/gradio_api/(?:startup-events|queue/data|heartbeat/\w{1,64})"
)
CALLS = re.compile(r"/gradio_api/(?:queue/join|cancel|reset)")
LARGEST_CALL = 100_000  # bytes of a request without a picture
LARGEST_TEXT = 2000
MOST_VALUES = 64
MOST_TRIES = 10  # wrong passwords, of all visitors together
TRY_SECONDS = 60.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (  # Gradio's scripts are evaluated; nothing is loaded from or sent to another host
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self'; form-action 'self'; "
        b"base-uri 'self'; frame-ancestors 'self'",
    ),
)


class _Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class PageGate:
    """ASGI middleware of the page.

    Args:
        app: Gradio's application.
        settings: limits and password.
        add_picture: stores an uploaded picture and returns its name; a GansmithError is the visitor's answer.
        hosts: names that the address may have; None allows any.
    """

    def __init__(
        self,
        app: App,
        settings: AppSettings,
        add_picture: Callable[[bytes], str],
        hosts: tuple[str, ...] | None = LOOPBACK,
    ) -> None:
        self.app, self.settings, self.add_picture, self.hosts = app, settings, add_picture, hosts
        self._cookie = secrets.token_urlsafe(32)
        self._failures: list[float] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page needs no WebSockets; without an answer, the server refuses them
            return

        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            await self._pass(scope, receive, dress)
        except _Refusal as refusal:
            await _answer(dress, refusal.status, refusal.text.encode())

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        method, path = scope["method"], str(scope["path"])
        self._check_origin(scope)
        if self.settings.password is not None:
            if (method, path) == ("POST", LOGIN):
                await self._log_in(await _read(receive, LARGEST_CALL), send)
                return
            if not self._is_known(scope):
                wanted = method == "GET" and path == "/"
                await _ask_password(send, 200 if wanted else 401)
                return
        if method in ("GET", "HEAD") and PAGES.fullmatch(path) and ".." not in path:
            await self.app(_without_cookies(scope), receive, send)
        elif method == "POST" and CALLS.fullmatch(path):
            body = await _read(receive, LARGEST_CALL)
            _check_call(body)
            await self.app(_without_cookies(scope), _replay(body, receive), send)
        elif method == "POST" and path == UPLOAD:
            await self._upload(receive, send)
        else:
            raise _Refusal(404, "no such page")

    def _check_origin(self, scope: Message) -> None:
        """Refuse requests that another site's page makes a visitor's browser send."""
        host = _header(scope, b"host")
        name = _host_name(host)
        if self.hosts is not None and name not in self.hosts:
            raise _Refusal(
                403, "this address is not served; open the page by the address that gansmith app has printed"
            )
        origin = _header(scope, b"origin")
        if origin and origin.partition("://")[2] != host:
            raise _Refusal(403, "requests from other sites are not accepted")

    # --- password ------------------------------------------------------------------------------------------

    def _is_known(self, scope: Message) -> bool:
        try:
            cookie = SimpleCookie(_header(scope, b"cookie")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self._cookie.encode())

    async def _log_in(self, body: bytes, send: Send) -> None:
        now = time.monotonic()
        self._failures = [each for each in self._failures if now - each < TRY_SECONDS]
        if len(self._failures) >= MOST_TRIES:
            raise _Refusal(429, "too many wrong passwords; try again in a minute")
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        if not hmac.compare_digest(_digest(given), _digest(self.settings.password or "")):
            self._failures.append(now)
            await _ask_password(send, 401, "This is not the password.")
            return
        cookie = f"{COOKIE}={self._cookie}; HttpOnly; SameSite=Strict; Path=/".encode()
        await _answer(send, 303, b"", (b"location", b"/"), (b"set-cookie", cookie))

    # --- pictures ------------------------------------------------------------------------------------------

    async def _upload(self, receive: Receive, send: Send) -> None:
        data = await _read(receive, self.settings.most_upload_mb * 1_000_000)
        try:
            name = await asyncio.to_thread(self.add_picture, data)
        except GansmithError as error:
            raise _Refusal(422, f"This file cannot be used: {' '.join(str(error).split())[:300]}") from error
        await _answer(send, 200, name.encode())


def _check_call(body: bytes) -> None:
    """Refuse anything but numbers, texts and lists of them: an object could name a file or an address to fetch."""
    try:
        plain = parse_json(body)
    except ValueError as error:
        raise _Refusal(400, "expected JSON") from error
    if not isinstance(plain, dict):
        raise _Refusal(400, "expected an object")
    data, event = plain.pop("data", []), plain.pop("event_data", None)
    if not isinstance(data, list):
        raise _Refusal(422, "expected a list of values")
    values = [*data, *(event.values() if isinstance(event, dict) else [event]), *plain.values()]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    if len(flat) > MOST_VALUES or not all(_is_plain(value) for value in flat):
        raise _Refusal(422, "expected numbers and short texts")


def _is_plain(value: Any) -> bool:
    return (
        value is None
        or isinstance(value, bool | int | float)
        or (isinstance(value, str) and len(value) <= LARGEST_TEXT)
    )


async def _read(receive: Receive, most: int) -> bytes:
    """Read the body of a request."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Refusal(400, "the request ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            raise _Refusal(413, f"too large; expected at most {most / 1e6:g} MB")
        if not message.get("more_body"):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a channel that gives a body again, and then what follows."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _header(scope: Message, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _host_name(host: str) -> str | None:
    """Return the name in a Host header, without its port; None if it is none."""
    if not re.fullmatch(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:.]+\](:\d+)?", host, re.ASCII):
        return None
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0].lower()


def _without_cookies(scope: Message) -> Message:
    """Return a request without what Gradio must not see or trust: the password's cookie, addresses of proxies."""
    hidden = (b"cookie", b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server", b"x-direct-url")
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name not in hidden]}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


async def _ask_password(send: Send, status: int, why: str = "") -> None:
    page = resources.files("gansmith.deploy.app").joinpath("assets", "login.html").read_text("utf-8")
    body = page.replace("{{why}}", html.escape(why)).encode()
    await _answer(send, status, body, (b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"))


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    kinds = (
        [] if any(name == b"content-type" for name, _ in headers) else [(b"content-type", b"text/plain; charset=utf-8")]
    )
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*kinds, (b"content-length", str(len(body)).encode()), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
