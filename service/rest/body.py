"""Reading a request body within limits of size and time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import Receive, Scope

from service.errors import Malformed, RequestTimeout, TooLarge

#: Seconds for which the rest of an oversized body is read and thrown away. A caller that writes before it reads would
#: otherwise find its connection reset and never see the refusal.
DISCARD_SECONDS = 5.0


class ClientDisconnected(Exception):
    """The caller went away before the body was complete."""


async def read_body(scope: Scope, receive: Receive, limit: int, seconds: float) -> bytes:
    """The whole body.

    Raises `TooLarge` over `limit` bytes, `RequestTimeout` after `seconds`, `ClientDisconnected`.
    """
    announced, expects_go_ahead = _announcement(scope)
    if announced > limit:
        if not expects_go_ahead:
            await _discard(receive)
        raise TooLarge(f"the body has {announced} bytes; the limit is {limit}")
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit)
    except TimeoutError:
        raise RequestTimeout(f"the body was not complete after {seconds:g} s") from None


async def _read(receive: Receive, limit: int) -> bytes:
    body, more = await _chunk(receive)
    if more:
        buffer = bytearray(body)
        while more and len(buffer) <= limit:
            body, more = await _chunk(receive)
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
            while (await _chunk(receive))[1]:
                pass


async def _chunk(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    return message.get("body", b""), message.get("more_body", False)


def _announcement(scope: Scope) -> tuple[int, bool]:
    """The content length a caller announces, 0 where it does not, and whether it waits for a go-ahead to send."""
    announced, expects_go_ahead = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise Malformed("Content-Length is not a number")
            announced = int(value)
        elif name == b"expect":
            expects_go_ahead = value.lower() == b"100-continue"
    return announced, expects_go_ahead
