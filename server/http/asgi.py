"""A request over ASGI: reads its body within limits of size and time, and sends its answer in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from sentiment_conv1d.server.errors import ClientDisconnected, RequestTimeout, TooLarge
from sentiment_conv1d.server.http import headers as response_headers
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.network.buffers import Charge

#: An ASGI application and its interface.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Bytes per piece of a large response, and unsent bytes above which the next piece waits. They limit what a slow reader
#: keeps in the send buffer.
PIECE_BYTES = 32_768

#: The scope key of a task that the server cancels if the client disconnects. The application sets it.
TASK = "server.task"
#: The key of the connection state that says whether the client has presented a certificate.
CERTIFIED = "server.certified"
#: The scope key of the memory charge of the request, set by the server.
CHARGE = "server.charge"


class AsgiRequest(HttpRequest):
    """A request over ASGI that is answered without FastAPI."""

    __slots__ = ("_receive", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["client"][0] if scope.get("client") else None
        certified = bool(scope["state"].get(CERTIFIED))
        super().__init__(
            scope["method"],
            scope["raw_path"],
            dict(scope["headers"]),
            client,
            scope.get("scheme", "http"),
            scope["http_version"],
            certified,
            scope[CHARGE],
        )
        self._receive = receive
        self._send = send

    async def body(self, limit: int, seconds: float) -> bytes:
        return await read_body(self.headers, self._receive, limit, seconds, self.charge)

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        fields = response_headers.of_answer(answer, request_id)
        await self._send({"type": "http.response.start", "status": status, "headers": fields})
        await send_body(self._send, answer.body)


async def send_body(send: Send, body: bytes, *, more: bool = False) -> None:
    """Send a body in pieces, each when the client has read most of the previous one, in a turn of its own.

    The pieces are bytes, as ASGI requires: other servers, such as Ray's, pickle them.
    """
    for start in range(0, len(body) or 1, PIECE_BYTES):
        end = start + PIECE_BYTES
        piece = {"body": body[start:end], "more_body": more or end < len(body)}
        await send({"type": "http.response.body", **piece})
        if end < len(body):  # `send` does not wait for a client that reads as fast
            await asyncio.sleep(0)


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, seconds: float, charge: Charge
) -> bytes:
    """Return the whole body.

    Raises `TooLarge` beyond `limit` bytes, `Overloaded` if `charge` exceeds its limit, `RequestTimeout` after
    `seconds`, and `ClientDisconnected`.
    """
    announced = response_headers.content_length(headers)
    if announced is not None and announced > limit:
        raise TooLarge(f"the body has {announced} bytes; the limit is {limit}")
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit, charge)
    except TimeoutError:
        raise RequestTimeout(f"the body was not complete after {seconds:g} s") from None


async def _read(receive: Receive, limit: int, charge: Charge) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        if charge.refusal is not None:
            raise charge.refusal
        body += message.get("body", b"")
        if len(body) > limit:
            raise TooLarge(f"the body has more than {limit} bytes, which is the limit")
        more = message.get("more_body", False)
    return bytes(body)
