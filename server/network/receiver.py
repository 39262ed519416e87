"""Receives the bytes of a connection in pieces."""

from __future__ import annotations

import asyncio
import select
from typing import Any

#: The most bytes that are received at a time. Many connections can receive in the same turn of the event loop, and each
#: piece is copied into new memory, whose pages the kernel first has to provide.
PIECE_BYTES = 16_384

#: Shared, because every piece is passed on before the next one is received.
PIECE = memoryview(bytearray(PIECE_BYTES))


class Receiver:
    """The buffered protocol of a connection. It passes on at most `PIECE_BYTES` at a time, and all other events.

    uvloop would receive up to 256 kB from every connection in one turn, however many of them have sent bytes.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: asyncio.Protocol) -> None:
        self._connection = connection

    def __getattr__(self, event: str) -> Any:
        return getattr(self._connection, event)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next piece."""
        return PIECE

    def buffer_updated(self, nbytes: int) -> None:
        """Pass a piece to the connection."""
        self._connection.data_received(bytes(PIECE[:nbytes]))


def has_unread(transport: asyncio.Transport) -> bool:
    """Return whether there are bytes that the connection of a transport has not received."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0)) or bool(transport.get_extra_info("encrypted"))
