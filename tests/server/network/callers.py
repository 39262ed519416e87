"""Callers of a server that shuts down."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic

from sentiment_conv1d.server.http.connection import FAREWELL_SECONDS
from tests.processes import PATIENCE


def ask(address: str | tuple[str, int], request: bytes) -> bytes | None:
    """Send a request on a new connection to a path or a port, and return the status line of the answer.

    Returns None if this process took so long that the server could close the connection before the request.
    """
    answer = b""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as caller:
        caller.settimeout(PATIENCE)
        began = monotonic()
        caller.connect(address)
        with suppress(ConnectionError):
            try:
                caller.sendall(request)
            finally:
                late = monotonic() > began + 0.8 * FAREWELL_SECONDS
            answer = caller.makefile("rb").readline()
    return None if late and not answer else answer
