"""What all calls of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentiment_conv1d.service.grpc.transport.messages import Decompression
from sentiment_conv1d.service.network.buffers import Buffers


@dataclass(slots=True, eq=False)
class Terms:
    """The limits of calls, and the objects that calls share."""

    message_bytes: int
    message_seconds: float  # from the first byte of a message to its last
    buffers: Buffers
    decompression: Decompression
    ended: Callable[[Any], None]  # called with every call that has begun, at its end
    running: set[asyncio.Task[None]]  # the tasks of calls
    waiting: set[asyncio.Task[None]]  # those that wait for a message, or only watch
    left_at: float | None = None  # the event loop's time at which shutdown began
    expired: bool = False  # whether the time for shutdown is over
