"""A small Hugging Face Hub on loopback: enough of its endpoints for huggingface_hub to list, download and upload."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_secretsecretsecret"


@dataclass
class FakeRepository:
    """A repository: the files of each commit, and the commit of each branch."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    sizes: dict[str, int | None] = field(default_factory=dict)  # stated instead of the true ones

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Add a commit with these files and return its name."""
        parts = [
            branch.encode(),
            *(part for name in sorted(files) for part in (name.encode("utf-8", "replace"), files[name])),
        ]
        name = hashlib.sha1(b"\0".join(parts)).hexdigest()
        self.commits[name], self.branches[branch] = dict(files), name
        return name


class FakeHub:
    """The server's state; ``served`` replaces what is sent for a path, as if it had been changed on the way."""

    def __init__(self) -> None:
        self.repositories: dict[str, FakeRepository] = {}
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, authorization
        self.served: dict[str, bytes] = {}
        self.large: set[str] = set()  # suffixes that are stored outside git
        self.objects: dict[str, bytes] = {}
        self.failing = 0  # an HTTP status for all requests
        self.address = ""

    def add(self, name: str, files: Mapping[str, bytes]) -> str:
        """Add a repository with one commit and return the commit."""
        return self.repositories.setdefault(name, FakeRepository()).commit(files)


def _describe(path: str, content: bytes, hub: FakeHub, repository: FakeRepository) -> dict[str, Any]:
    size = repository.sizes.get(path, len(content))
    blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    plain: dict[str, Any] = {"rfilename": path, "size": size, "blobId": blob}
    if path.endswith(tuple(hub.large)) and hub.large:
        plain["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 130}
    return plain


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        path, body = unquote(urlsplit(self.path).path), self._read()
        self.hub.requests.append((method, path, self.headers.get("Authorization")))
        if self.hub.failing:
            self._send(self.hub.failing, b"{}")
        elif path.startswith("/cdn/"):
            self._send(200, self.hub.objects[path.rpartition("/")[2]])
        elif path.startswith("/lfs/"):
            self.hub.objects[path.rpartition("/")[2]] = body
            self._send(200, b"")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            head = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            self._json({"errors": [] if isinstance(head, dict) else [{"message": "no head"}], "warnings": []})
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif path.startswith("/api/models/"):
            user, name, *rest = path.removeprefix("/api/models/").split("/")
            self._api(f"{user}/{name}", rest, body)
        else:
            user, name, _, revision, *rest = path.removeprefix("/").split("/")
            self._resolve(f"{user}/{name}", revision, "/".join(rest))

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while length := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _allowed(self, name: str) -> FakeRepository | None:
        repository = self.hub.repositories.get(name)
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not known):
            self._fail(404 if known else 401, "RepoNotFound")
        elif repository.gated and not known:
            self._fail(403, "GatedRepo")
        else:
            return repository
        return None

    def _api(self, name: str, rest: list[str], body: bytes) -> None:
        repository = self._allowed(name)
        if repository is None:
            return
        match rest:
            case ["preupload", _]:
                files = [each["path"] for each in json.loads(body)["files"]]
                mode = {
                    path: "lfs" if self.hub.large and path.endswith(tuple(self.hub.large)) else "regular"
                    for path in files
                }
                self._json(
                    {"files": [{"path": path, "uploadMode": mode[path], "shouldIgnore": False} for path in files]}
                )
            case ["commit", branch]:
                self._commit(name, repository, branch, body)
            case ["tree", revision, *_]:
                files = repository.commits.get(repository.branches.get(revision, revision), {})
                self._json([{"type": "file", "path": path, "size": 1, "oid": "0" * 40} for path in files])
            case [] | ["revision", *_]:
                revision = "/".join(rest[1:]) or "main"
                commit = repository.branches.get(revision, revision)
                if commit not in repository.commits:
                    self._fail(404, "RevisionNotFound")
                    return
                files = repository.commits[commit].items()
                siblings = [_describe(path, content, self.hub, repository) for path, content in files]
                self._json(
                    {"id": name, "modelId": name, "sha": commit, "private": repository.private, "siblings": siblings}
                )

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._allowed(name)
        if repository is None:
            return
        content = repository.commits[repository.branches.get(revision, revision)][path]
        content = self.hub.served.get(path, content)
        etag = hashlib.sha256(content).hexdigest()
        headers = {"X-Repo-Commit": revision, "ETag": f'"{etag}"'}
        if self.hub.large and path.endswith(tuple(self.hub.large)):
            self.hub.objects[etag] = content
            self._send(302, b"", {**headers, "Location": f"{self.hub.address}/cdn/{etag}"})
        else:
            self._send(200, content, headers)

    def _create(self, plain: dict[str, Any]) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._fail(401, "")
            return
        name = f"{plain.get('organization', 'ann')}/{plain['name']}"
        private = bool(plain.get("private")) or plain.get("visibility") == "private"
        exists = name in self.hub.repositories
        if not exists:
            self.hub.repositories[name] = FakeRepository(private=private)
        answer = {"url": f"{self.hub.address}/{name}", "name": name, "id": name}
        self._send(409 if exists else 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _batch(self, plain: dict[str, Any]) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs/{each['oid']}"}}}
            for each in plain["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: FakeRepository, branch: str, body: bytes) -> None:
        files = dict(repository.commits.get(repository.branches.get(branch, ""), {}))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    files.pop(value["path"])
        commit = repository.commit(files, branch)
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.address}/{name}/commit/{commit}"})

    def _json(self, plain: Any) -> None:
        self._send(200, json.dumps(plain).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "server text"}', {"X-Error-Code": code, "X-Error-Message": "server text"})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client may hang up at any time."""


@contextmanager
def serve_fake_hub() -> Iterator[FakeHub]:
    """Serve a Hub without repositories on a free port of loopback."""
    hub = FakeHub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
