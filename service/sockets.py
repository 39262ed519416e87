"""The sockets that the service listens on: of TCP, or Unix domain sockets for callers on the same machine."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.errors import StartupError

_BACKLOG = 2048

#: Owner and group may connect to a Unix domain socket, whatever the umask.
_MODE = 0o660


def bind(host: str, port: int, purpose: str = "") -> socket.socket:
    """A bound socket that does not listen yet. Raises `StartupError` if the address is taken or none of ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the second for a name that no name could be
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartupError(f"cannot listen on {host}:{port}{purpose}: {reason}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise StartupError(f"cannot listen on {host}:{port}{purpose}: {error.strerror}") from error
    return bound


@contextmanager
def bind_unix(path: Path) -> Iterator[socket.socket]:
    """A bound Unix domain socket that does not listen yet; its file is removed at the end.

    The file of a server that is gone is replaced. Raises `StartupError` if the path is taken or will not do.
    """
    with socket.socket(socket.AF_UNIX) as bound:
        try:
            if _is_stale(path):
                path.unlink()
            bound.bind(str(path))
            path.chmod(_MODE)
            ours = path.stat()
        except OSError as error:
            raise StartupError(f"cannot listen on {path}: {error.strerror or error}") from error
        try:
            yield bound
        finally:
            with suppress(OSError):
                if os.path.samestat(path.stat(), ours):  # else a server that came later has put its own there
                    path.unlink()


def _is_stale(path: Path) -> bool:
    """Whether the socket of a server that is gone lies there."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise StartupError(f"cannot listen on {path}: it exists and is not a socket")
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # so many callers wait
    raise StartupError(f"cannot listen on {path}: another process listens on it")


def listen(listener: socket.socket) -> None:
    """Let callers connect. Raises `StartupError` if another process was faster."""
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise StartupError(f"cannot listen: {error.strerror}") from error
    listener.setblocking(False)


def describe(listener: socket.socket, scheme: str, host: str) -> str:
    """Where callers connect, as a URL where there is one."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()} ({scheme})"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"
