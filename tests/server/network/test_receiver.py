"""Receiving the bytes of a connection in pieces."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import uvloop

from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.receiver import PIECE_BYTES
from sentiment_conv1d.server.network.turns import Turns


class Sizes(asyncio.Protocol):
    """Records the events of a connection, and the sizes of what it received."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.received = bytearray()
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.received += data

    def eof_received(self) -> bool:
        self.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)


def test_pieces() -> None:
    """A connection gets all bytes in pieces of at most 16 kB, and the end."""
    sent = bytes(range(256)) * 400

    async def check() -> None:
        connection = Sizes()
        listener = Listener(
            protocol="test",
            connect=lambda lost, admit: cast(Any, connection),
            rejected=lambda reason: None,
            max_connections=1,
            handshake_timeout=10,
            turns=Turns(asyncio.get_running_loop()),
        )
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(sent))
            theirs.sendall(sent)  # the kernel has all bytes before the first are received
            theirs.shutdown(socket.SHUT_WR)
            listener.accept(ours)
            assert await connection.closed is None
        assert connection.received == sent
        assert max(connection.sizes) == PIECE_BYTES

    uvloop.run(check())
