"""Reading a request body within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.types import Receive

from sentiment_conv1d.service.errors import Malformed, RequestTimeout, TooLarge
from sentiment_conv1d.service.network.buffers import Charge

#: Seconds and bytes for which the rest of a refused body is read and thrown away. A caller that writes before it reads
#: would otherwise find its connection reset and never see the refusal.
DISCARD_SECONDS = 5.0
DISCARD_BYTES = 64 * 1024 * 1024

Result = TypeVar("Result")

#: Where the application leaves the context of the request, for the server to say that the caller has gone.
CONTEXT = "sentiment.context"
#: Where, in the state of the connection, the server leaves whether the caller has shown a certificate.
CERTIFIED = "sentiment.certified"
#: Where the server leaves what a request is charged for its memory, its body among it.
CHARGE = "sentiment.charge"


class ClientDisconnected(Exception):
    """The caller went away before the answer."""


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, seconds: float, charge: Charge
) -> bytes:
    """The body as it arrives.

    Raises `TooLarge` over `limit` bytes, `Overloaded` if the server could not `charge` it, `RequestTimeout` after
    `seconds`, `ClientDisconnected`.
    """
    announced = _announcement(headers)
    if announced > limit:
        if headers.get(b"expect", b"").lower() != b"100-continue":  # such a caller has sent nothing yet
            await _discard(receive)
        raise TooLarge(f"the body has {announced} bytes; the limit is {limit}")
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, limit, charge)
    except TimeoutError:
        raise RequestTimeout(f"the body was not complete after {seconds:g} s") from None


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work, which is cancelled if the caller goes away first. Raises `ClientDisconnected`."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnected
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        # A failed task holds its exception, that this frame, and this the task: with all that was read of the request.
        del working, leaving


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
    """The content length a caller announces, 0 where it does not."""
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit():
        raise Malformed("Content-Length is not a number")
    return int(announced)
