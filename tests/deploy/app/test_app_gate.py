"""What reaches Gradio, and what does not: other sites, files, addresses, long or nested values, strangers."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from gansmith.deploy.app.gate import LOOPBACK, PageGate
from gansmith.deploy.app.settings import AppSettings
from gansmith.deploy.app.uploads import MOST_PICTURES, PictureStore
from gansmith.errors import ConfigError, UnreadableImage

BASE = "http://127.0.0.1:7860"


class Recorder:
    """An application that answers everything, and remembers it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes, dict[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        self.seen.append((scope["method"], scope["path"], body, dict(scope["headers"])))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Gradio"})


class Visitor:
    """Sends requests to a gate."""

    def __init__(self, password: str | None = None, hosts: tuple[str, ...] | None = LOOPBACK) -> None:
        self.app, self.store = Recorder(), PictureStore()
        settings = AppSettings(password=password, most_upload_mb=1)
        self.gate = PageGate(self.app, settings, self.store.add, hosts)
        self.cookies = httpx.Cookies()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.gate)
            async with httpx.AsyncClient(transport=transport, base_url=BASE, cookies=self.cookies) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(send())

    def call(self, **plain: Any) -> httpx.Response:
        return self.ask("POST", "/gradio_api/queue/join", json=plain)


def test_only_the_paths_of_the_page_reach_gradio() -> None:
    visitor = Visitor()
    for path in ("/", "/config", "/theme.css?v=1", "/assets/Blocks-D1.js", "/gradio_api/queue/data?session_hash=a"):
        assert visitor.ask("GET", path).status_code == 200
    assert len(visitor.app.seen) == 5
    for path in (
        *("/gradio_api/file=/etc/passwd", "/gradio_api/file/etc/passwd", "/gradio_api/proxy=http://example.com/"),
        *("/gradio_api/info", "/gradio_api/openapi.json", "/monitoring", "/docs", "/gradio_api/runs", "/login"),
        *("/assets/%2e%2e/%2e%2e/routes.py", "/static/a%5cb", "/gradio_api/deep_link"),
    ):
        answer = visitor.ask("GET", path)
        assert (answer.status_code, answer.text) == (404, "no such page"), path
    for path in (
        "/gradio_api/upload",
        "/gradio_api/run/predict",
        "/gradio_api/call/show",
        "/gradio_api/component_server",
    ):
        assert visitor.ask("POST", path, json={"data": []}).status_code == 404, path
    assert visitor.ask("PUT", "/").status_code == 404
    assert len(visitor.app.seen) == 5


def test_a_call_may_carry_numbers_and_short_texts_only() -> None:
    visitor = Visitor()
    plain = {
        "data": ["run", 5, 0.5, None, True, ["a", "b"]],
        "event_data": {"x": 1.5},
        "fn_index": 3,
        "session_hash": "s",
    }
    assert visitor.call(**plain).status_code == 200
    assert json.loads(visitor.app.seen[0][2]) == plain, "the body arrives as it was sent"
    file = {"path": "http://example.com/x.png", "meta": {"_type": "gradio.FileData"}}
    for wrong in (
        {"data": [file]},
        {"data": [[file]]},
        {"data": file},
        {"data": ["x" * 2001]},
        {"data": [0] * 65},
        {"data": [[[1]]]},
        {"data": [], "event_data": {"x": file}},
        {"data": [], "event_data": [[file]]},
        {"data": [], "other": file},
    ):
        assert visitor.call(**wrong).status_code == 422, wrong
    for body, status in (
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b'{"data": [' + b"[" * 5000, 400),
        (b"1" * 100_001, 413),
    ):
        assert visitor.ask("POST", "/gradio_api/queue/join", content=body).status_code == status
    assert len(visitor.app.seen) == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "a@b", "[::1"])
def test_another_name_for_this_machine_is_refused(host: str) -> None:
    visitor = Visitor()
    assert visitor.ask("GET", "/", headers={"host": host}).status_code == 403
    assert not visitor.app.seen


def test_another_sites_page_cannot_call() -> None:
    visitor = Visitor()
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        answer = visitor.ask("POST", "/gradio_api/queue/join", json={"data": []}, headers={"origin": origin})
        assert answer.status_code == 403, origin
    assert not visitor.app.seen
    assert visitor.ask("POST", "/gradio_api/queue/join", json={"data": []}, headers={"origin": BASE}).status_code == 200
    for name in ("localhost:7860", "[::1]:7860"):
        assert visitor.ask("GET", "/", headers={"host": name}).status_code == 200
    assert Visitor(hosts=None).ask("GET", "/", headers={"host": "lab.example"}).status_code == 200


def test_every_answer_forbids_other_hosts() -> None:
    for answer in (Visitor().ask("GET", "/"), Visitor().ask("GET", "/nothing"), Visitor("x").ask("GET", "/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "connect-src 'self'" in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_gradio_sees_no_cookie_and_trusts_no_proxy() -> None:
    visitor = Visitor()
    headers = {"cookie": "a=b", "x-forwarded-host": "evil.example", "x-gradio-server": "http://evil.example"}
    assert visitor.ask("GET", "/", headers=headers).status_code == 200
    assert not {b"cookie", b"x-forwarded-host", b"x-gradio-server"} & visitor.app.seen[0][3].keys()


# --- password ----------------------------------------------------------------------------------------------


def test_without_the_password_there_is_only_its_form() -> None:
    visitor = Visitor("geheim, ü", hosts=None)
    form = visitor.ask("GET", "/")
    assert form.status_code == 200 and 'type="password"' in form.text and "{{" not in form.text
    for method, path in (
        ("GET", "/config"),
        ("GET", "/assets/x.js"),
        ("POST", "/upload"),
        ("POST", "/gradio_api/queue/join"),
    ):
        assert visitor.ask(method, path).status_code == 401
    wrong = visitor.ask("POST", "/login", data={"password": "geheim"})
    assert wrong.status_code == 401 and "This is not the password." in wrong.text and "set-cookie" not in wrong.headers
    assert visitor.ask("GET", "/", headers={"cookie": "gansmith-app=geheim"}).text == form.text
    right = visitor.ask("POST", "/login", data={"password": "geheim, ü"})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert "HttpOnly" in right.headers["set-cookie"] and "SameSite=Strict" in right.headers["set-cookie"]
    assert "geheim" not in right.headers["set-cookie"]
    assert not visitor.app.seen
    assert visitor.ask("GET", "/").text == "Gradio" and b"cookie" not in visitor.app.seen[0][3]


def test_passwords_cannot_be_tried_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = Visitor("right")
    now = 1000.0
    monkeypatch.setattr("gansmith.deploy.app.gate.time.monotonic", lambda: now)
    codes = [visitor.ask("POST", "/login", data={"password": str(i)}).status_code for i in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert visitor.ask("POST", "/login", data={"password": "right"}).status_code == 429
    now += 61
    assert visitor.ask("POST", "/login", data={"password": "right"}).status_code == 303


def test_an_empty_password_is_an_error() -> None:
    with pytest.raises(ConfigError, match="password: it is empty; expected at least one character"):
        AppSettings(password="")
    with pytest.raises(ConfigError, match="most_images: 0 is out of range; expected 1 to 1,024"):
        AppSettings(most_images=0)
    assert "secret" not in repr(AppSettings(password="secret"))


# --- pictures ----------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG that claims more pixels than any camera takes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_pictures_pass_the_gate_of_all_images() -> None:
    visitor = Visitor()
    good = visitor.ask("POST", "/upload", content=png(20, 12))
    assert good.status_code == 200
    assert np.array_equal(np.asarray(visitor.store.find(good.text)).flatten(), np.arange(240, dtype=np.uint8))
    for data, words in (
        (b"", "the file is empty"),
        (b"#!/bin/sh\necho hello", "not an image of a known format"),
        (
            b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
            "This file cannot be used",
        ),
        (png(64, 64)[:-30], "This file cannot be used"),
        (bomb(), "more than the limit of 100,000,000"),
    ):
        answer = visitor.ask("POST", "/upload", content=data)
        assert answer.status_code == 422 and words in answer.text, answer.text
        assert "Traceback" not in answer.text and "/" not in answer.text.replace("image/", "")
    large = visitor.ask("POST", "/upload", content=b"x" * 1_000_001)
    assert (large.status_code, large.text) == (413, "too large; expected at most 1 MB")
    assert not visitor.app.seen, "nothing of a picture reaches Gradio"


def test_pictures_are_kept_small_and_few() -> None:
    store = PictureStore()
    first = store.add(png(900, 600))
    assert max(store.find(first).size) == 512
    names = [store.add(png(2, 2)) for _ in range(MOST_PICTURES)]
    assert len({first, *names}) == MOST_PICTURES + 1
    with pytest.raises(ConfigError, match="picture: choose one first"):
        store.find(first)
    assert store.find(names[0]).size == (2, 2)
    with pytest.raises(UnreadableImage):
        store.add(b"no")
