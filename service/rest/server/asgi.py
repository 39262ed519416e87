"""A request that arrives over ASGI: its body is read within limits of size and time, its answer sent in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from sentiment_conv1d.service.errors import ClientDisconnected, Malformed, RequestTimeout, TooLarge
from sentiment_conv1d.service.network.buffers import Charge
from sentiment_conv1d.service.rest.server import headers as response_headers
from sentiment_conv1d.service.rest.server.request import Answer, HttpRequest, Result
from sentiment_conv1d.service.telemetry.request_context import RequestContext

#: Seconds and bytes for which the rest of a refused body is read and discarded. A client that writes before it reads
#: would otherwise see its connection reset and never see the refusal.
DISCARD_SECONDS = 5.0
DISCARD_BYTES = 64 * 1024 * 1024

#: Responses larger than this are sent in pieces of so many bytes, which bounds what a slow reader keeps in the buffer.
PIECE_BYTES = HIGH_WATER_LIMIT

#: Key of the scope under which the application leaves the request's context, so that the server can stop its work.
CONTEXT = "sentiment.context"
#: Key of the connection's state under which the server leaves whether the client has shown a certificate.
CERTIFIED = "sentiment.certified"
#: Key of the scope under which the server leaves what the request is charged for its memory.
CHARGE = "sentiment.charge"


class AsgiRequest(HttpRequest):
    """A request, and the way to answer it without FastAPI."""

    __slots__ = ("_receive", "_scope", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.method = scope["method"]
        self.target = scope["raw_path"]
        self.headers = dict(scope["headers"])
        client = scope.get("client")
        self.client = client[0] if client else None
        self.certified = bool(scope["state"].get(CERTIFIED))
        self.charge = scope[CHARGE]

    @property
    def context(self) -> RequestContext | None:
        return self._scope.get(CONTEXT)

    @context.setter
    def context(self, context: RequestContext | None) -> None:
        self._scope[CONTEXT] = context

    async def body(self, limit: int, seconds: float) -> bytes:
        return await read_body(self.headers, self._receive, limit, seconds, self.charge)

    async def while_connected(self, work: Coroutine[Any, Any, Result]) -> Result:
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_disconnect(self._receive))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise ClientDisconnected
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
            # A failed task refers to its exception, that to this frame, and this to the task and the request's body.
            del working, leaving

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        fields = response_headers.of_answer(answer, request_id)
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        # Send the next piece once the client has read most of the one before it.
        for start in range(0, len(answer.body) or 1, PIECE_BYTES):
            end = start + PIECE_BYTES
            piece = {"body": answer.body[start:end], "more_body": end < len(answer.body)}
            await self._send({"type": "http.response.body", **piece})


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, seconds: float, charge: Charge
) -> bytes:
    """The whole body.

    Raises `TooLarge` over `limit` bytes, `Overloaded` if the server could not `charge` it, `RequestTimeout` after
    `seconds`, `ClientDisconnected`.
    """
    announced = _announcement(headers)
    if announced > limit:
        if headers.get(b"expect", b"").lower() != b"100-continue":  # such a client has sent nothing yet
            await _discard(receive)
        raise TooLarge(f"the body has {announced} bytes; the limit is {limit}")
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit, charge)
    except TimeoutError:
        raise RequestTimeout(f"the body was not complete after {seconds:g} s") from None


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(receive: Receive, limit: int, charge: Charge) -> bytes:
    body, more = await _chunk(receive)
    charge.check()
    if more:
        buffer = bytearray(body)
        while more and len(buffer) <= limit:
            body, more = await _chunk(receive)
            charge.check()
            buffer += body
        body = bytes(buffer)
    if len(body) > limit:
        if more:
            await _discard(receive)
        raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
    return body


async def _discard(receive: Receive) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            discarded, more = 0, True
            while more and discarded < DISCARD_BYTES:
                body, more = await _chunk(receive)
                discarded += len(body)


async def _chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


def _announcement(headers: Mapping[bytes, bytes]) -> int:
    """The content length that a client announces, 0 if it announces none."""
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit():
        raise Malformed("Content-Length is not a number")
    return int(announced)
