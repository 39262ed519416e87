"""The time in which a client has to read its responses."""

from __future__ import annotations

import asyncio
import logging

from sentiment_conv1d.service.network.buffers import Buffers

logger = logging.getLogger(__name__)


class SlowReader:
    """Disconnects a client that does not read a response within `seconds`, and counts the bytes that it leaves."""

    def __init__(self, transport: asyncio.Transport, buffers: Buffers, seconds: float) -> None:
        self._transport = transport
        self._buffers = buffers
        self._seconds = seconds
        self._unsent = 0  # bytes
        self._request: object = None  # whose response the client does not read
        self._since: float | None = None  # on the event loop's clock

    def watch(self, now: float, request: object) -> None:
        """Check the response to a request. It does not matter whether the connection is closing already."""
        unsent = self._transport.get_write_buffer_size()
        self._buffers.add(unsent - self._unsent)
        self._unsent = unsent
        if not unsent:
            self._since = None
        elif self._since is None or self._request is not request:
            self._request, self._since = request, now
        elif now - self._since > self._seconds:
            peer = self._transport.get_extra_info("peername")
            client = peer[0] if isinstance(peer, tuple) else None
            logger.info("a caller did not read its answer", extra={"client": client})
            self._transport.abort()

    def release(self) -> None:
        """Count nothing any more, since the connection is lost."""
        self._buffers.release(self._unsent)
