"""Messages between the supervisor and a worker, over a pair of Unix sockets.

Every message is one packet of JSON. It can carry a file descriptor: of a connection, or of a snapshot.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import orjson

#: The longest message: names and error messages are cut to fit.
_MAX_BYTES = 64 * 1024


class Channel:
    """One end of a channel. `closed` says whether the other end is known to be closed."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.setblocking(False)
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor, for selectors and event loops."""
        return self._end.fileno()

    def send(self, kind: str, descriptor: int | None = None, **fields: Any) -> bool:
        """Send a message, optionally with a descriptor. Returns False if the channel is full or closed.

        The channel is also full while as many descriptors are in transit as this process can have open files.
        """
        packet = orjson.dumps({"kind": kind} | fields)
        try:
            socket.send_fds(self._end, [packet], [] if descriptor is None else [descriptor])
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                self.closed = True
            return False
        return True

    def receive(self) -> tuple[dict[str, Any], int | None] | None:
        """Return the next message and its descriptor, which the caller must close, or None if there is none."""
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._end, _MAX_BYTES, 1)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if not packet:
            self.closed = True
            return None
        message: dict[str, Any] = orjson.loads(packet)
        return message, descriptors[0] if descriptors else None

    def close(self) -> None:
        """Close this end, which the other end notices."""
        self._end.close()


def pair() -> tuple[Channel, Channel]:
    """Return both ends of a new channel."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(first), Channel(second)
