"""The listening sockets: TCP, or Unix domain sockets for callers on the same machine."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from sentiment_conv1d.server.errors import ServerError

_BACKLOG = 2048

#: Bytes that the kernel holds for one TCP connection: received ones that the service has not read, and sent ones that
#: the peer has not acknowledged. The kernel doubles these limits to make room for its own overhead. Without them it
#: raises the limits of a fast connection to several megabytes, which a peer that stops reading then occupies.
_RECEIVE_BYTES = 65_536
_SEND_BYTES = 131_072

#: Bytes above which the kernel takes no more from the service until the peer can receive them.
_UNSENT_BYTES = 32_768

#: Seconds after the write timeout at which the kernel ends a connection, so that the service does so first and logs it.
_WRITE_GRACE_SECONDS = 5

#: The largest value of a socket option.
_MAX_OPTION = 2**31 - 1

#: The mode of a Unix domain socket, whatever the umask: owner and group can connect.
_MODE = 0o660

#: The option that attaches a filter to a socket (asm-generic/socket.h). Python has no name for it.
_SO_ATTACH_FILTER = 26

#: A filter in classic BPF that drops segments with SYN: load the byte with the flags, test it, drop, keep.
_DROP_SYN = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 0x02, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF)


class ListeningSocket:
    """A bound socket. Leaving its `with` block closes it, and removes the file of a Unix domain socket."""

    def __init__(self, bound: socket.socket, path: Path | None = None) -> None:
        self.socket = bound
        self._path = path
        self._file = None if path is None else path.stat()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()
        self.socket.close()

    def listen(self, write_timeout: float) -> None:
        """Start to listen. Raises `ServerError` if another process listened first.

        The kernel ends a connection whose peer receives nothing for about `write_timeout` seconds, even after the
        service has closed it.
        """
        try:
            self._limit_kernel(write_timeout)
            self.socket.listen(_BACKLOG)
            if self._file is not None and not self._has_file():
                raise OSError(errno.EADDRINUSE, f"another process has taken {self._path}")
        except OSError as error:
            raise ServerError(f"cannot listen: {error.strerror}") from error
        self.socket.setblocking(False)

    def refuse(self) -> None:
        """Refuse new connections, if the system allows filters. Connections in the queue can still be accepted.

        Closing the socket would reset the connections in its queue, and one can arrive after any check of the queue.
        """
        self._remove()
        if self._path is None:
            with suppress(OSError):  # the kernel does not support filters, or the container forbids them
                drop_syn(self.socket)

    def describe(self, scheme: str, host: str) -> str:
        """Return the address that callers connect to, as a URL if possible."""
        if self._path is not None:
            return f"unix:{self._path} ({scheme})"
        shown = f"[{host}]" if ":" in host else host
        return f"{scheme}://{shown}:{self.socket.getsockname()[1]}"

    def is_loopback(self) -> bool:
        """Whether it has a port that only programs on this machine can connect to."""
        return self._path is None and ip_address(self.socket.getsockname()[0]).is_loopback

    def _limit_kernel(self, write_timeout: float) -> None:
        """Limit what the kernel holds for each connection, which inherits these options when it is accepted.

        For a Unix domain socket, the kernel has a fixed limit.
        """
        if self.socket.family == socket.AF_UNIX:
            return
        milliseconds = min(int(1000 * (write_timeout + _WRITE_GRACE_SECONDS)), _MAX_OPTION)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _remove(self) -> None:
        if self._path is not None and self._has_file():
            with suppress(OSError):
                self._path.unlink()

    def _has_file(self) -> bool:
        """Whether callers of the path reach this socket: until it listens, a server that starts can take the path."""
        if self._path is None or self._file is None:
            return False
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except OSError:
            return False


def drop_syn(listening: socket.socket) -> None:
    """Drop the first packet of every new connection to a socket. Raises `OSError` if the system allows no filters."""
    program = ctypes.create_string_buffer(_DROP_SYN)
    option = struct.pack("HP", 4, ctypes.addressof(program))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def bind(host: str, port: int, purpose: str = "") -> ListeningSocket:
    """Bind a TCP port without listening. Raises `ServerError` if the address is in use or not local."""
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: the host cannot be a name
        if bound is not None:
            bound.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise ServerError(f"cannot listen on {host}:{port}{purpose}: {reason}") from error
    return ListeningSocket(bound)


def bind_unix(path: Path) -> ListeningSocket:
    """Bind a Unix domain socket without listening.

    Replaces the socket file of a server that no longer runs. Raises `ServerError` if the path is in use or invalid.
    """
    bound = socket.socket(socket.AF_UNIX)
    try:
        if _is_stale(path):
            path.unlink()
        bound.bind(str(path))
        path.chmod(_MODE)
        return ListeningSocket(bound, path)
    except OSError as error:
        bound.close()
        raise ServerError(f"cannot listen on {path}: {error.strerror or error}") from error


def _is_stale(path: Path) -> bool:
    """Whether the path is the socket of a server that no longer runs. Raises `OSError` if it is anything else."""
    if not path.exists():
        return False
    if not path.is_socket():
        raise OSError(errno.ENOTSOCK, "it exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            pass  # its queue is full
    raise OSError(errno.EADDRINUSE, "another process listens on it")
