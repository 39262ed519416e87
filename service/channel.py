"""What the supervisor and a worker tell each other, over a pair of Unix sockets.

Every message is one packet of JSON. With a connection comes its file descriptor.
"""

from __future__ import annotations

import socket
from typing import Any

import orjson

#: No message is longer: names and error messages are cut to fit.
_MAX_BYTES = 64 * 1024


class ChannelClosed(Exception):
    """The other process is gone."""


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)

    def fileno(self) -> int:
        """For selectors and event loops."""
        return self._end.fileno()

    def send(self, kind: str, connection: socket.socket | None = None, **fields: Any) -> None:
        """Send a message, a connection with it if there is one. Raises `ChannelClosed`, `BlockingIOError` if full."""
        packet = orjson.dumps({"kind": kind} | fields)
        try:
            socket.send_fds(self._end, [packet], [] if connection is None else [connection.fileno()])
        except BlockingIOError:
            raise
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> tuple[dict[str, Any], socket.socket | None] | None:
        """The next message and its connection, None if there is none yet. Raises `ChannelClosed`."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._end, _MAX_BYTES, 1)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed from error
        if not packet:
            raise ChannelClosed
        connection = socket.socket(fileno=descriptors[0]) if descriptors else None
        message: dict[str, Any] = orjson.loads(packet)
        return message, connection

    def close(self) -> None:
        """Let go of this end, which the other notices."""
        self._end.close()


def pair() -> tuple[Channel, Channel]:
    """Both ends."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(first), Channel(second)
