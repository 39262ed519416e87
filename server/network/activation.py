"""Socket activation: systemd opens the listening sockets and passes them to the service."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, MutableMapping
from pathlib import Path

from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.server.network.sockets import ListeningSocket

#: The descriptor of the first socket, as sd_listen_fds(3) defines it.
_FIRST = 3


def inherit(names: Collection[str], environment: MutableMapping[str, str] = os.environ) -> dict[str, ListeningSocket]:
    """Return the sockets that systemd has passed to this process, by the names of their units (`FileDescriptorName`).

    Without socket activation there are none. Removes the variables, so that no other process takes the sockets for its
    own. Raises `ServerError` if a socket has another name, occurs twice, does not listen for streams, or has an
    address that is neither a port nor a path.
    """
    pid, count, given = (environment.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES"))
    if pid != str(os.getpid()):
        return {}
    passed: dict[str, ListeningSocket] = {}
    for descriptor, name in zip(range(_FIRST, _FIRST + int(count)), given.split(":"), strict=False):
        if name not in names or name in passed:
            expected = " and ".join(sorted(names))
            raise ServerError(f"systemd passed a socket named {name!r}; expected one each of {expected}")
        passed[name] = _listening(descriptor, name)
    return passed


def _listening(descriptor: int, name: str) -> ListeningSocket:
    os.set_inheritable(descriptor, False)
    try:
        bound = socket.socket(fileno=descriptor)
        listens = bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listens = 0
    if not listens:
        raise ServerError(f"systemd passed {name!r}, which is not a listening stream socket: use ListenStream=")
    address = bound.getsockname()
    path = Path(address) if isinstance(address, str) else None  # the name of an abstract socket is bytes
    if path is None and bound.family not in (socket.AF_INET, socket.AF_INET6):
        raise ServerError(
            f"systemd passed {name!r}, which listens on {address!r}: use ListenStream= with a port or the path of a "
            "Unix domain socket"
        )
    return ListeningSocket(bound, path, inherited=True)
