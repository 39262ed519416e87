"""What all calls of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from sentiment_conv1d.service.grpc.transport.messages import Decompression
from sentiment_conv1d.service.network.buffers import Buffers

if TYPE_CHECKING:
    from sentiment_conv1d.service.grpc.transport.call import Call


class Terms(NamedTuple):
    """The limits of calls, and the objects that calls share."""

    message_bytes: int
    message_seconds: float  # from the first byte of a message to its last
    buffers: Buffers
    decompression: Decompression
    ended: Callable[[Call], None]  # called at the end of every call that has begun
    running: set[asyncio.Task[None]]  # the tasks of calls
    waiting: set[asyncio.Task[None]]  # those that wait for a message, or only watch
