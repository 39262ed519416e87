"""Reads the memory that Linux holds for the TCP connections of a service, which no process's memory includes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import closing

#: The parts of sock_diag's protocol that are used (linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h).
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _DONE = 20, 3
_REQUEST_DUMP = 0x301
_SKMEMINFO = 7

_HEADER = struct.Struct("=LHHLL")  # length, type, flags, sequence number, port
_REQUEST = struct.Struct("=BBBxL2s46x")  # family, protocol, attributes, states, local port
_ANSWER_BYTES = 72
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_MEMORY = struct.Struct("=9L")

_RECEIVED, _RESERVED, _QUEUED = 0, 4, 5  # in `_MEMORY`


def kernel_megabytes(ports: Collection[int]) -> float:
    """Return the memory of all connections with these local ports, including those that the service has closed.

    It is what the kernel charges to the container: packets with their overhead, and what is reserved for more.
    """
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)) as diagnostics:
        return sum(sum(_connections(diagnostics, port)) for port in ports) / 1024**2


def _connections(diagnostics: socket.socket, port: int) -> Iterator[int]:
    """Yield the bytes of every connection on a port."""
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 1 << _SKMEMINFO - 1, 2**32 - 1, port.to_bytes(2))
    diagnostics.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + request)
    while True:
        received = diagnostics.recv(1 << 20)
        start = 0
        while start < len(received):
            length, kind, *_ = _HEADER.unpack_from(received, start)
            if kind == _DONE:
                return
            assert kind == _SOCK_DIAG_BY_FAMILY, "the kernel has no sock_diag"
            yield from _memory(received[start + _HEADER.size + _ANSWER_BYTES : start + length])
            start += length + -length % 4


def _memory(attributes: bytes) -> Iterator[int]:
    start = 0
    while start < len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, start)
        if kind == _SKMEMINFO:
            memory = _MEMORY.unpack_from(attributes, start + _ATTRIBUTE.size)
            yield memory[_RECEIVED] + memory[_RESERVED] + memory[_QUEUED]
        start += length + -length % 4
