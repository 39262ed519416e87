"""The additions of `Http2` to zttp, and the behaviour of zttp that it relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpack
import pytest
import zttp
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.grpc import http2 as module
from sentiment_conv1d.server.grpc.http2 import (
    ANSWERED,
    CANCELLED,
    LARGEST_STREAM,
    MAX_REQUESTS,
    MAX_RESETS,
    REFUSED,
    ConnectionFailed,
    Fields,
    Head,
    Http2,
)
from tests.server.grpc.caller import fate
from tests.service.grpc import wire
from tests.service.grpc.wire import ACK, END_HEADERS, END_STREAM, PREFACE, Frame, data, frame, request, window

#: The fields of the shortest request, all in HPACK's static table: POST, http, /, and an empty authority.
SHORT = b"\x83\x86\x84\x81"

#: Streams that a client can have open at the same time.
MAX_STREAMS = 128

#: The shortest head of a response.
HEAD = Head(200, [])


def headers(stream: int, block: bytes = SHORT, *, ended: bool = True) -> bytes:
    """Build HEADERS with a given block."""
    return frame("HEADERS", END_HEADERS | ended, stream, block)


class Peer:
    """A client in memory, with a handler that records events."""

    def __init__(self) -> None:
        self.http2 = Http2(self)
        self.events: list[tuple[Any, ...]] = []
        self.failed: str | None = None

    def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
        self.events.append(("request", stream, method, path, list(fields), ended))

    def content_received(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.events.append(("content", stream, data, ended))

    def stream_reset(self, stream: int) -> None:
        self.events.append(("reset", stream))

    def window_opened(self) -> None:
        self.events.append(("window",))

    def ping_received(self, payload: bytes, *, answer: bool) -> None:
        self.events.append(("ping", payload, answer))

    def settings_received(self) -> None:
        self.events.append(("settings",))

    def goaway_received(self) -> None:
        self.events.append(("goaway",))

    def greet(self, *settings: tuple[int, int]) -> Peer:
        """Send the preface, and drop the response."""
        self.ask(PREFACE + wire.settings(*settings))
        self.events.clear()
        return self

    def ask(self, data: bytes) -> list[Frame]:
        """Send bytes, and read the response."""
        self.http2.receive(data)
        try:
            assert not self.http2.read(float("inf"))
        except ConnectionFailed as error:
            self.failed = str(error)
        return self.hear()

    def hear(self) -> list[Frame]:
        """Read the bytes from the server."""
        return wire.read(self.http2.take())[0]


# Reading.


def test_events() -> None:
    """The application is told of requests, content, ends, resets, pings, windows and GOAWAY, in their order."""
    peer = Peer().greet()
    peer.ask(
        request(1, ("x-a", "b"), ended=False)
        + data(1, b"one")
        + data(1, b"two", ended=True)
        + wire.ping()
        + wire.ping(b"answered", ACK)
        + window(0, 5)
        + request(3)
        + wire.reset(3)
        + wire.settings()
        + wire.go_away()
    )
    [(kind, stream, method, path, fields, ended), *others] = peer.events
    assert (kind, stream, method, path, ended) == ("request", 1, b"POST", b"/echo", False)
    assert (b"x-a", b"b") in fields and not [name for name, _ in fields if name.startswith(b":")]
    assert others[:4] == [
        ("content", 1, b"one", False),
        ("content", 1, b"two", True),
        ("ping", b"12345678", False),
        ("ping", b"answered", True),
    ]
    assert [each[0] for each in others[4:]] == ["window", "request", "content", "reset", "settings", "goaway"] or [
        each[0] for each in others[4:]
    ] == ["window", "request", "reset", "settings", "goaway"]
    assert peer.failed is None


def test_trailers() -> None:
    """Trailers after the content end a request."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + request(1, head=[("x-a", "b")]))
    assert peer.events[-1] == ("content", 1, b"", True)


@pytest.mark.parametrize("kind", ["DATA", "HEADERS", "SETTINGS", "GOAWAY", 0x16])
def test_frame_limit(kind: str | int) -> None:
    """A frame over the limit closes the connection when its header arrives, before any of it is stored."""
    peer = Peer().greet()
    assert fate(peer.ask((16_385).to_bytes(3) + frame(kind, 0, 1)[3:])) == ["GOAWAY FRAME_SIZE_ERROR"]
    assert peer.failed is not None


def test_block_without_an_end() -> None:
    """An endless header block is stored up to a limit, counts as unread, and then closes the connection."""
    peer = Peer().greet()
    sent = frame("HEADERS", END_STREAM, 1, bytes(16_384))
    peer.ask(sent)
    while peer.failed is None:
        assert peer.http2.unread == len(sent) <= module._MAX_SILENT_BYTES
        piece = frame("CONTINUATION", 0, 1, bytes(16_384))
        frames, sent = peer.ask(piece), sent + piece
    assert fate(frames)[-1].startswith("GOAWAY ")
    assert peer.events == []


def test_frames_without_an_event() -> None:
    """Frames that have no event close the connection after a number of bytes, unless other frames come in between."""
    peer = Peer().greet()
    noise = frame(0x16, 0, 0, bytes(1000)) * 16
    for _ in range(20):
        peer.ask(noise + window(0, 1))
    assert peer.failed is None
    for _ in range(10):
        peer.ask(noise)
    assert peer.failed == "frames without effect"


@pytest.mark.parametrize("bomb", [b"\xbe" * 20, b"\x10\0\0" * 2100])
def test_list_limit(bomb: bytes) -> None:
    """Fields that decompress to more than 64 KiB are not passed on."""
    peer = Peer().greet()
    peer.ask(headers(1, SHORT + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + bomb))
    assert peer.events in ([], [("reset", 1)])


@given(st.binary(max_size=200) | st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=40)), max_size=8))
def test_any_bytes(said: bytes | list[tuple[int, bytes]]) -> None:
    """Arbitrary bytes raise only `ConnectionFailed`."""
    peer = Peer().greet()
    peer.ask(said if isinstance(said, bytes) else b"".join(frame(kind, 255, 1, payload) for kind, payload in said))
    peer.http2.take()


# Sending.


def test_response() -> None:
    """A response has a head, content and trailers, for every size of the client's HPACK table."""
    for size in (0, 100, 4096, 2**32 - 1):
        peer = Peer().greet((wire.HEADER_TABLE_SIZE, size))
        decoder = hpack.Decoder()
        decoder.max_allowed_table_size = size
        for number in range(1, 401, 2):
            peer.ask(request(number))
            identity = b"%d" % number * 20
            peer.http2.send(number, head=Head(200, [(b"content-type", b"text/plain")]))
            peer.http2.send(number, data=b"content", trailers=[(b"x-request-id", identity)])
            head, content, end = peer.hear()
            assert wire.fields(head.payload, decoder) == [(":status", "200"), ("content-type", "text/plain")]
            assert content.payload == b"content"
            assert wire.fields(end.payload, decoder) == [("x-request-id", identity.decode())]
            assert end.flags & END_STREAM
        assert not decoder.header_table.dynamic_entries


def act(peer: Peer, action: str, stream: int) -> None:
    """Send something on a stream."""
    {
        "head": lambda: peer.http2.send(stream, head=HEAD),
        "content": lambda: peer.http2.send(stream, data=b"x"),
        "end": lambda: peer.http2.send(stream, trailers=()),
        "trailers": lambda: peer.http2.send(stream, trailers=[(b"a", b"b")]),
    }[action]()


def end(peer: Peer) -> None:
    """Answer before the request is complete."""
    peer.http2.send(1, head=HEAD, trailers=())
    peer.http2.reset(1, ANSWERED)


GONE: dict[str, Callable[[Peer], object]] = {
    "reset": lambda peer: peer.ask(wire.reset(1)),
    "broken": lambda peer: peer.ask(window(1, 2**31 - 1)),
    "ended": end,
    "cancelled": lambda peer: peer.http2.reset(1, CANCELLED),
    "refused": lambda peer: peer.http2.reset(1, REFUSED),
    "forgotten": lambda peer: peer.ask(wire.reset(1) + b"".join(headers(n) + wire.reset(n) for n in range(3, 203, 2))),
    "failed": lambda peer: peer.ask(data(0, b"x")),
}


@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("action", ["head", "content", "end", "trailers"])
def test_ended_streams(how: str, action: str) -> None:
    """Sending on an ended stream raises `ClientDisconnected`. Its window is 0, and it can be ended again."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False))
    GONE[how](peer)
    peer.hear()
    if how != "failed":
        with pytest.raises(ClientDisconnected):
            act(peer, action, 1)
        assert peer.http2.window(1) == 0
    for code in (CANCELLED, REFUSED, ANSWERED):
        peer.http2.reset(1, code)
    peer.http2.grant(1)
    peer.http2.forget(1)
    assert {each.kind for each in peer.hear()} <= {"RST_STREAM"}


def test_windows() -> None:
    """The window is the smaller of the stream's and the connection's window."""
    peer = Peer().greet((wire.INITIAL_WINDOW_SIZE, 100))
    peer.ask(request(1) + window(1, 5))
    assert peer.http2.window(1) == 105
    peer.ask(window(1, 10**6))
    assert peer.http2.window(1) == 65_535
    peer.http2.send(1, head=HEAD, data=bytes(10_000))
    assert peer.http2.window(1) == 55_535


def test_own_frames() -> None:
    """The server's pings and GOAWAYs, and a client's GOAWAY, do not close the connection."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False))
    peer.http2.go_away(LARGEST_STREAM)
    peer.http2.ping(b"the last")
    goaway, ping = peer.hear()
    assert (goaway.kind, goaway.number, goaway.code) == ("GOAWAY", 2**31 - 1, "NO_ERROR")
    assert ping == Frame("PING", 0, 0, b"the last")
    peer.ask(request(3) + wire.go_away() + data(1, b"x", ended=True) + window(1, 5))
    peer.http2.go_away(3)
    assert fate(peer.hear()) == ["GOAWAY NO_ERROR"]
    for number in (1, 3):
        peer.http2.send(number, head=HEAD, data=b"x", trailers=())
    assert len(peer.hear()) == 6
    assert peer.failed is None


def test_withheld_windows() -> None:
    """While a stream is withheld, its window stays closed; afterwards it is opened by all withheld bytes."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + request(3, ended=False))
    peer.http2.withhold(1)
    frames: list[Frame] = []
    for _ in range(3):
        frames += peer.ask(data(1, bytes(16_384)) + data(3, bytes(16_384)) + wire.ping())
    assert {(each.kind, each.stream) for each in frames} == {("WINDOW_UPDATE", 0), ("WINDOW_UPDATE", 3), ("PING", 0)}
    peer.http2.grant(1)
    [update] = peer.hear()
    assert (update.kind, update.stream) == ("WINDOW_UPDATE", 1) and 0 < update.number <= 3 * 16_384
    peer.http2.grant(1)
    assert peer.hear() == []


def test_failure() -> None:
    """A client that violates a limit gets an error code."""
    peer = Peer().greet()
    with pytest.raises(ConnectionFailed, match="too much"):
        peer.http2.fail("too much")
    assert fate(peer.hear()) == ["GOAWAY ENHANCE_YOUR_CALM"]


# What zttp has built in, and has no settings for. If one of these tests fails after an upgrade, look at
# `server/grpc/http2.py` before the pin moves.


def most(frames: Callable[[int], bytes], *, answered: bool = False) -> int:
    """Return how often a client can send these frames before the connection is closed."""
    peer = Peer().greet()
    count = 0
    while peer.failed is None and count < 10_000:
        peer.ask(frames(2 * count + 1))
        if answered and peer.failed is None:
            peer.http2.send(2 * count + 1, head=HEAD, trailers=())
        peer.events.clear()
        count += 1
    return count


def announces_streams() -> bool:
    return Peer().ask(PREFACE + wire.settings())[0].settings[wire.MAX_CONCURRENT_STREAMS] == MAX_STREAMS


def refuses_streams_beyond() -> bool:
    peer = Peer().greet()
    frames = peer.ask(b"".join(headers(number) for number in range(1, 2 * MAX_STREAMS + 3, 2)))
    return fate(frames) == [f"RST_STREAM {2 * MAX_STREAMS + 1} REFUSED_STREAM"] and len(peer.events) >= MAX_STREAMS


def allows_requests() -> bool:
    return most(headers, answered=True) > MAX_REQUESTS + MAX_STREAMS


def allows_resets() -> bool:
    return most(lambda number: headers(number) + wire.reset(number)) > MAX_RESETS + MAX_STREAMS


def grants_windows_as_events_are_read() -> bool:
    connection = zttp.Connection(zttp.SERVER, zttp.HTTP2)
    connection.initiate_connection()
    connection.receive_data(PREFACE + wire.settings() + headers(1, ended=False) + data(1, bytes(16_384)) * 3)
    while connection.next_event() is not zttp.NEED_DATA:
        pass
    frames, rest = wire.read(connection.data_to_send())
    return rest == b"" and {each.stream for each in frames if each.kind == "WINDOW_UPDATE"} == {0, 1}


def starts_with_the_default_window() -> bool:
    settings = Peer().ask(PREFACE + wire.settings())[0].settings
    return settings.get(wire.INITIAL_WINDOW_SIZE, 65_535) == module._WINDOW


def closed_streams_have_no_window() -> bool:
    connection = zttp.Connection(zttp.SERVER, zttp.HTTP2)
    connection.initiate_connection()
    connection.receive_data(PREFACE + wire.settings() + headers(1))
    while connection.next_event() is not zttp.NEED_DATA:
        pass
    opened = connection.stream(1).send_window
    connection.stream(1).reset(zttp.H2ErrorCode.CANCEL)
    return opened == connection.send_window == 65_535 and connection.stream(1).send_window is None


BUILT_IN: list[Callable[[], bool]] = [
    announces_streams,
    refuses_streams_beyond,
    allows_requests,
    allows_resets,
    grants_windows_as_events_are_read,
    starts_with_the_default_window,
    closed_streams_have_no_window,
]


@pytest.mark.parametrize("relied_on", BUILT_IN, ids=lambda check: check.__name__)
def test_library(relied_on: Callable[[], bool]) -> None:
    """zttp behaves as `Http2` requires."""
    message = f"zttp has changed: {relied_on.__name__}; see server/grpc/http2.py"
    try:
        holds = relied_on()
    except Exception as error:
        pytest.fail(f"{message} ({error!r})")
    assert holds, message


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Request", "stream_id method target headers end_stream"),
        ("Data", "stream_id data"),
        ("EndOfMessage", "stream_id"),
        ("RstStream", "stream_id"),
        ("WindowUpdate", ""),
        ("Ping", "data ack"),
        ("Settings", ""),
        ("GoAway", ""),
    ],
)
def test_events_of_the_library(name: str, attributes: str) -> None:
    """The events of zttp exist and have the attributes that `Http2` reads."""
    event = getattr(zttp, name, None)
    assert event is not None, f"zttp has no event {name} any more; see server/grpc/http2.py"
    for attribute in attributes.split():
        assert hasattr(event, attribute), f"zttp's {name} has no {attribute} any more"
