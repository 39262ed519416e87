"""A stand-in for the Hugging Face Hub: one repository, over the part of the Hub's HTTP API that files need.

No test reaches the real Hub. The client is the real one, without its Xet protocol: the environment variable
HF_HUB_DISABLE_XET makes it upload large files with Git LFS, which the Hub supports as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

REPOSITORY = "org/reviews"

#: The only token that the server accepts. The repository is private.
TOKEN = "hf_the_only_token"


class Hub:
    """Serves an empty repository in a `with` block. `files` are its files by path, `commits` the ids of its commits."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}  # of Git LFS, by SHA-256
        self.commits = ["0" * 40]
        self.before_commit: Callable[[], None] = lambda: None  # runs before a commit is looked at
        self.stopped = False
        self._lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening, close all connections, and commit nothing more."""
        self.stopped = True
        self._server.shutdown()
        self._server.socket.close()
        for connection in list(self.connections):
            with suppress(OSError):  # the client closed it
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables of its clients."""
        return {"HF_ENDPOINT": self.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}

    def write(self, path: str, content: bytes) -> None:
        """Commit one file."""
        with self._lock:
            self.files[path] = content
            self.commits.append(hashlib.sha1(f"{self.commits}".encode()).hexdigest())

    def commit(self, lines: list[dict[str, Any]]) -> str | None:
        """Commit the files of a request, unless its parent is not the newest commit. Return the id of the commit."""
        [header], changes = [each["value"] for each in lines if each["key"] == "header"], lines[1:]
        self.before_commit()
        with self._lock:
            if header.get("parentCommit", self.commits[-1]) != self.commits[-1] or self.stopped:
                return None
            for change in changes:
                value = change["value"]
                large = change["key"] == "lfsFile"
                self.files[value["path"]] = self.objects[value["oid"]] if large else base64.b64decode(value["content"])
            self.commits.append(hashlib.sha1(f"{self.commits}".encode()).hexdigest())
            return self.commits[-1]

    def tree(self, path: str) -> list[dict[str, Any]]:
        """Return the files and folders in a folder."""
        prefix = f"{path}/" if path else ""
        inside = {name.removeprefix(prefix): content for name, content in self.files.items() if name.startswith(prefix)}
        folders = {name.partition("/")[0] for name in inside if "/" in name}
        entries = [{"type": "directory", "path": prefix + name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]
        files = {prefix + name: content for name, content in inside.items() if "/" not in name}
        return entries + [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the server was stopped
            super().handle()

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        super().finish()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        about, files = f"/api/models/{REPOSITORY}", f"/{REPOSITORY}/resolve/main/"
        tree = path.partition(f"{about}/tree/main")[2].strip("/")
        if self.headers.get("authorization") != f"Bearer {TOKEN}" or not path.startswith((about, files)):
            self._fail(401, "RepoNotFound")
        elif path in (about, f"{about}/revision/main"):
            self._reply({"id": REPOSITORY, "sha": self.hub.commits[-1], "private": True, "siblings": []})
        elif path.startswith(f"{about}/tree/main"):
            found = self.hub.tree(tree)
            self._reply(found) if found or not tree else self._fail(404, "EntryNotFound")
        elif (content := self.hub.files.get(path.removeprefix(files))) is not None:
            self._send(200, content, "application/octet-stream")
        else:
            self._fail(404, "EntryNotFound")

    def do_PUT(self) -> None:
        content = self._body()
        self.hub.objects[hashlib.sha256(content).hexdigest()] = content
        self._reply({})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._fail(401, "RepoNotFound")
        elif path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
        elif path == f"/api/models/{REPOSITORY}/preupload/main":
            modes = {each["path"]: "lfs" if each["path"].endswith(".onnx") else "regular" for each in _files(body)}
            self._reply(
                {"files": [{"path": each, "uploadMode": mode, "shouldIgnore": False} for each, mode in modes.items()]}
            )
        elif path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            upload = {"upload": {"href": f"{self.hub.address}/lfs"}}
            objects = [each | {"actions": upload} for each in json.loads(body)["objects"]]
            self._reply({"transfer": "basic", "objects": objects})
        elif path == f"/api/models/{REPOSITORY}/commit/main":
            self._commit(body)
        else:
            self._fail(404, "RepoNotFound")

    def _commit(self, body: bytes) -> None:
        commit = self.hub.commit([json.loads(line) for line in body.splitlines()])
        if commit is None:
            self._fail(412, "")
        else:
            url = f"{self.hub.address}/{REPOSITORY}/commit/{commit}"
            self._reply({"success": True, "commitUrl": url, "commitOid": commit, "hookOutput": ""})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _fail(self, status: int, code: str) -> None:
        self._send(status, b"{}", "application/json", **{"X-Error-Code": code})

    def _reply(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        described = {"content-type": kind, "content-length": str(len(content)), "x-repo-commit": self.hub.commits[-1]}
        for name, value in (described | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _files(body: bytes) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = json.loads(body)["files"]
    return files
