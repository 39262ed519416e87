"""What the supervisor and a worker tell each other, over a pair of Unix sockets.

Every message is one packet of JSON. A file descriptor may come with it: of a connection, or of a version's files.
"""

from __future__ import annotations

import errno
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

    def send(self, kind: str, descriptor: int | None = None, **fields: Any) -> None:
        """Send a message, a descriptor with it if there is one. Raises `ChannelClosed`, `BlockingIOError` if full.

        It is full as well while as many descriptors are on their way as this process may have files open.
        """
        packet = orjson.dumps({"kind": kind} | fields)
        try:
            socket.send_fds(self._end, [packet], [] if descriptor is None else [descriptor])
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:
                raise BlockingIOError from error
            raise ChannelClosed from error

    def receive(self) -> tuple[dict[str, Any], int | None] | None:
        """The next message and its descriptor, which is the caller's to close, None if there is no message yet.

        Raises `ChannelClosed`.
        """
        try:
            packet, descriptors, _, _ = socket.recv_fds(self._end, _MAX_BYTES, 1)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed from error
        if not packet:
            raise ChannelClosed
        message: dict[str, Any] = orjson.loads(packet)
        return message, descriptors[0] if descriptors else None

    def close(self) -> None:
        """Let go of this end, which the other notices."""
        self._end.close()


def pair() -> tuple[Channel, Channel]:
    """Both ends."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(first), Channel(second)
