"""Builds HTTP/2 frames and writes bytes to many connections at once."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.processes import PATIENCE

#: The connection preface of a client.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HELLO = PREFACE + SettingsFrame().serialize()

WATCH = b"/grpc.health.v1.Health/Watch"
CHECK = b"/grpc.health.v1.Health/Check"
LIST = b"/grpc.health.v1.Health/List"
MODEL_INFER = b"/inference.GRPCInferenceService/ModelInfer"
PREDICT = b"/sentiment.v1.Sentiment/Predict"
PREDICT_BATCH = b"/sentiment.v1.Sentiment/PredictBatch"
PREDICT_STREAM = b"/sentiment.v1.Sentiment/PredictStream"
REPOSITORY_INDEX = b"/inference.GRPCInferenceService/RepositoryIndex"
REFLECTION = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"

#: File descriptors that this process needs in addition to its connections.
_OTHER_FILES = 256

#: Bytes per piece of an endless part.
PIECE = 65_536


def literal(name: bytes, value: bytes, *, indexed: bool = False) -> bytes:
    """Encode a field in HPACK without compression, optionally for the dynamic table."""
    return (b"\x40" if indexed else b"\0") + _integer(len(name)) + name + _integer(len(value)) + value


def _integer(value: int) -> bytes:
    """Encode a length in HPACK after a zero bit (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes((value,))
    value -= 127
    encoded = bytearray(b"\x7f")
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded) + bytes((value,))


#: POST and http in HPACK's static table with an authority, which HTTP/2 requires, and the content type of gRPC.
_POST = b"\x83\x86" + literal(b":authority", b"h")
_GRPC = literal(b"content-type", b"application/grpc")


def block(path: bytes, *fields: bytes) -> bytes:
    """Encode the fields of a call. The additional `fields` are already in HPACK."""
    return _POST + literal(b":path", path) + _GRPC + b"".join(fields)


def headers(stream: int, content: bytes, *, ended: bool = False, complete: bool = True) -> bytes:
    """Build a HEADERS frame."""
    flags = [*(["END_HEADERS"] if complete else []), *(["END_STREAM"] if ended else [])]
    return HeadersFrame(stream, content, flags=flags).serialize()


def continuation(stream: int, content: bytes) -> bytes:
    """Build a CONTINUATION frame that is not the last one."""
    return ContinuationFrame(stream, content).serialize()


def data(stream: int, content: bytes = b"", *, ended: bool = False) -> bytes:
    """Build as many DATA frames as the content needs."""
    pieces = [content[at : at + 16_384] for at in range(0, len(content), 16_384)] or [b""]
    frames = [DataFrame(stream, piece) for piece in pieces]
    if ended:
        frames[-1].flags.add("END_STREAM")
    return b"".join(frame.serialize() for frame in frames)


def settings(**values: int) -> bytes:
    """Build a SETTINGS frame from the names in hyperframe."""
    return SettingsFrame(settings={getattr(SettingsFrame, name): value for name, value in values.items()}).serialize()


def window(stream: int, increment: int) -> bytes:
    """Build a WINDOW_UPDATE frame."""
    return WindowUpdateFrame(stream, increment).serialize()


def message(content: bytes, *, compressed: bool = False) -> bytes:
    """Frame a gRPC message with its prefix."""
    return bytes((compressed,)) + len(content).to_bytes(4, "big") + content


def streams(count: int, first: int = 1) -> range:
    """Return the identifiers of `count` streams."""
    return range(first, first + 2 * count, 2)


def frames(received: bytearray) -> Iterator[Frame]:
    """Remove and return the complete frames of the received bytes."""
    while len(received) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(bytes(received[:9])))
        if len(received) < 9 + length:
            return
        frame.parse_body(memoryview(bytes(received[9 : 9 + length])))
        del received[: 9 + length]
        yield frame


@contextmanager
def connections(port: int, count: int, *, receive_buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """Open `count` connections, or as many as this process can open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        opened = []
        for _ in range(min(count, limit - _OTHER_FILES)):
            connection = stack.enter_context(socket.socket())
            if receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(PATIENCE)
            connection.connect(("127.0.0.1", port))
            opened.append(connection)
        yield opened


class Sent(NamedTuple):
    """The results of writing to connections."""

    sent: int
    closed: int  # by the server


def send_all(
    targets: Iterable[tuple[socket.socket, Iterable[bytes]]],
    seconds: float,
    *,
    linger: float = 0.5,
    pings: bool = False,
) -> Sent:
    """Write to many connections as fast as the server reads, and read what comes back.

    Ends when everything was written and nothing has come back for `linger` seconds, when the server has closed every
    connection, or after `seconds` in total. With `pings`, answers the server's pings.
    """
    pieces = {connection: iter(content) for connection, content in targets}
    rest = dict.fromkeys(pieces, memoryview(b""))
    received = {connection: bytearray() for connection in pieces}
    unfinished = set(pieces)
    sent = closed = 0
    quiet = time.monotonic()
    deadline = quiet + seconds
    with selectors.DefaultSelector() as selector:
        for each in pieces:
            each.setblocking(False)
            selector.register(each, selectors.EVENT_READ | selectors.EVENT_WRITE, each)
        while selector.get_map() and (now := time.monotonic()) < deadline:
            ready = selector.select(0.05)
            if ready or unfinished:
                quiet = now
            elif now > quiet + linger:
                break
            for key, events in ready:
                connection: socket.socket = key.data
                try:
                    if events & selectors.EVENT_READ:
                        _receive(connection, received[connection] if pings else None)
                    if events & selectors.EVENT_WRITE:
                        rest[connection] = rest[connection] or memoryview(next(pieces[connection], b""))
                        if rest[connection]:
                            count = connection.send(rest[connection])
                            sent += count
                            rest[connection] = rest[connection][count:]
                        else:
                            selector.modify(connection, selectors.EVENT_READ, connection)
                            unfinished.discard(connection)
                except BlockingIOError:
                    continue
                except OSError:
                    closed += 1
                    selector.unregister(connection)
                    unfinished.discard(connection)
    return Sent(sent, closed)


def _receive(connection: socket.socket, received: bytearray | None) -> None:
    """Read what the server sends. Raises `OSError` if it has closed the connection."""
    content = connection.recv(PIECE)
    if not content:
        raise ConnectionResetError
    if received is not None:
        received += content
        for frame in frames(received):
            if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                connection.send(PingFrame(opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
