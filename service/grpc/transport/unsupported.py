"""Responses to clients that do not speak gRPC."""

from __future__ import annotations

import asyncio
import contextlib

from sentiment_conv1d.service.errors import ClientDisconnected
from sentiment_conv1d.service.grpc.transport.sender import Sender
from sentiment_conv1d.service.grpc.transport.stream import Head, Stream

_WRONG_PROTOCOL = b"this port speaks HTTP/2 alone, and gRPC on it\n"
_HTTP1 = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC")

#: The answer to a request of HTTP/1.1, which begins as `is_http1` says.
HTTP1_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_WRONG_PROTOCOL), _WRONG_PROTOCOL)

_HEAD = Head(415, [(b"content-type", b"text/plain")])
_CONTENT = b"this port speaks gRPC alone\n"


def is_http1(data: bytes) -> bool:
    """Whether the first bytes of a connection are those of a request of HTTP/1.1."""
    return data.startswith(_HTTP1)


class Unsupported(Stream):
    """A request of HTTP/2 that is none of gRPC's. It is answered, and stays open until the client ends it."""

    __slots__ = ("_loop", "_sender", "_task")

    def __init__(self, identity: int, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(identity)
        self._sender = sender
        self._loop = loop

    @property
    def parked(self) -> bool:
        return True

    def began(self) -> None:
        self._task = self._loop.create_task(self._answer())

    def received(self, data: bytes) -> None:
        pass

    def lost(self) -> None:
        self._task.cancel()

    def watch(self, now: float) -> None:
        pass

    async def _answer(self) -> None:
        with contextlib.suppress(ClientDisconnected):
            await self._sender.send(self, _CONTENT, head=_HEAD, trailers=())
