"""The limits of connections and calls, and what all calls of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sentiment_conv1d.server.network.buffers import Buffers


class ConnectionLimits(NamedTuple):
    """The limits of one connection."""

    streams: int  # open at the same time
    handshake_seconds: float  # until its first SETTINGS
    header_seconds: float  # until a header block of more than one frame is complete
    idle_seconds: float  # without a call
    age_seconds: float  # until the client is asked to reconnect; its calls then have the same time again to end
    write_seconds: float  # to read written bytes, to receive 1 MiB of an answer, and to answer a ping


@dataclass(slots=True, eq=False)
class CallContext:
    """The limits of calls, and the objects that calls share."""

    message_bytes: int
    message_seconds: float  # from the first byte of a message to its last
    buffers: Buffers
    expanding: asyncio.Lock  # held by the large message or body that is decompressed
    ended: Callable[[Any], None]  # called with every call that has begun, at its end
    tasks: set[asyncio.Task[None]] = field(default_factory=set)  # of calls
    left_at: float | None = None  # the event loop's time at which shutdown began
    expired: bool = False  # whether the time for shutdown is over
