"""Receives the bytes of a connection in pieces."""

from __future__ import annotations

import asyncio
import select

#: The most bytes that are received at a time. Many connections can receive in the same turn of the event loop, and each
#: piece is copied into new memory, whose pages the kernel first has to provide.
PIECE_BYTES = 16_384

#: Shared, because every piece is passed on before the next one is received.
_PIECE = memoryview(bytearray(PIECE_BYTES))


class Receiver(asyncio.BufferedProtocol):
    """Passes the events of a transport to a connection, with at most `PIECE_BYTES` per `data_received`.

    uvloop would receive up to 256 kB from every connection in one turn, however many of them have sent bytes.
    """

    def __init__(self, connection: asyncio.Protocol) -> None:
        self._data_received = connection.data_received
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next piece."""
        return _PIECE

    def buffer_updated(self, nbytes: int) -> None:
        """Pass a piece to the connection."""
        self._data_received(bytes(_PIECE[:nbytes]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the transport to the connection."""
        self._connection.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection that it is closed."""
        self._connection.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Tell the connection that the peer sends nothing more."""
        return self._connection.eof_received()

    def pause_writing(self) -> None:
        """Tell the connection that the peer does not read."""
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Tell the connection that the peer reads again."""
        self._connection.resume_writing()


def has_unread(transport: asyncio.Transport) -> bool:
    """Return whether the socket of a transport has bytes that have not been received."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
