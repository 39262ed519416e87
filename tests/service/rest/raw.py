"""Raw HTTP/1.1 connections, for requests that no client library sends."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from sentiment_conv1d.service.rest.protocol import ErrorDetail, ErrorResponse
from tests.processes import PATIENCE, eventually


class Answer(NamedTuple):
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """One connection. The test decides what it sends."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._received = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._received.close()
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send each piece as a separate packet, as far as possible."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            self._socket.sendall(piece)

    def post(self, path: str, body: bytes, *headers: str, length: int | None = None) -> None:
        """Send a POST request. Its Content-Length can be wrong."""
        self.send(request(path, *headers, f"Content-Length: {len(body) if length is None else length}") + body)

    def answer(self, *, head_only: bool = False) -> Answer:
        """Read the next answer on this connection."""
        status = int(self._received.readline().split()[1])
        headers = {}
        while (line := self._received.readline()) != b"\r\n":
            assert line, "the server hung up in the middle of an answer"
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        if status == 100 or head_only:
            return Answer(status, headers, b"")
        return Answer(status, headers, self._received.read(int(headers["content-length"])))

    def wait_until_read(self, worker: int) -> None:
        """Wait until the only worker, the process with this id, has read everything and sleeps."""
        far, near = (f"{port:04X}" for port in (self._socket.getpeername()[1], self._socket.getsockname()[1]))
        unsent = re.compile(rf":{near} \w+:{far} 01 (\w+):\w+ ")  # or sent, and not acknowledged
        unread = re.compile(rf":{far} \w+:{near} 01 \w+:(\w+) ")
        table, stat = Path("/proc/net/tcp"), Path(f"/proc/{worker}/stat")

        def is_read() -> bool:
            found = [ends.search(table.read_text()) for ends in (unsent, unread)]
            sleeps = stat.read_text().rpartition(")")[2].split()[0] == "S"
            return sleeps and all(each is not None and int(each[1], 16) == 0 for each in found)

        eventually(is_read)

    def end(self) -> None:
        """Close the sending side."""
        self._socket.shutdown(socket.SHUT_WR)

    def status(self) -> int | None:
        """Return the status of the next answer, or None if the server closes the connection without one."""
        try:
            line = self._received.readline()
        except ConnectionResetError:
            return None
        return int(line.split()[1]) if line else None

    def is_closed(self) -> bool:
        """Whether the server closes the connection."""
        try:
            return self._received.read(1) == b""
        except ConnectionResetError:
            return True


def request(path: str, *headers: str, method: str = "POST") -> bytes:
    """Build the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode("latin-1")


def chunked(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Build a chunked body."""
    for piece in pieces:
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


def error(answer: Answer) -> ErrorDetail:
    """Return the error of an answer, and check its form."""
    assert answer.headers["content-type"] == "application/json"
    document: Any = json.loads(answer.body)
    assert document.keys() == {"error"}
    assert document["error"].keys() == {"code", "message", "request_id"}
    detail = ErrorResponse.model_validate(document).error
    assert detail.request_id == answer.headers["x-request-id"]
    assert detail.message and "Traceback" not in detail.message and 'File "' not in detail.message
    return detail
