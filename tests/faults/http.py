"""HTTP/1.1 connections that report exactly what happened to a request."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Self


class Reply(NamedTuple):
    """A complete answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._reply: asyncio.Future[Reply] | None = None
        self.open = False

    @classmethod
    async def to(cls, port: int) -> Self:
        """Connect to a port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ready for a request."""
        self._transport = transport
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Read until an answer is complete."""
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        start, *lines = bytes(head).split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        length = int(headers[b"content-length"])
        if len(rest) < length:
            return
        if headers.get(b"connection") == b"close":
            self.open = False
        del self._received[: len(head) + 4 + length]
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(Reply(int(start.split()[1]), headers, bytes(rest[:length])))

    def connection_lost(self, error: Exception | None) -> None:
        """Handle the end of the connection."""
        self.open = False
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError())

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return the answer. Raises `ConnectionError` if the connection ends first."""
        if not self.open:
            raise ConnectionAbortedError
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._reply
        finally:
            self._reply = None

    def send(self, content: bytes) -> None:
        """Send bytes without waiting for an answer."""
        self._transport.write(content)

    def leave(self) -> None:
        """Abort the connection."""
        self.open = False
        self._transport.abort()


def post(path: str, body: bytes, request_id: str = "") -> bytes:
    """A request with a JSON body."""
    identity = f"X-Request-ID: {request_id}\r\n" if request_id else ""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{identity}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
