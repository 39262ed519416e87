"""The additions of `Http2` to ngh2, and the behaviour of ngh2 that it relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hpack
import ngh2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.grpc import http2 as module
from sentiment_conv1d.server.grpc.http2 import (
    CANCELLED,
    MAX_CONTENT,
    REFUSED,
    ConnectionFailed,
    Fields,
    Head,
    Http2,
)
from tests.server.grpc.caller import fate
from tests.service.grpc import wire
from tests.service.grpc.wire import ACK, END_HEADERS, END_STREAM, PREFACE, Frame, data, frame, request, window

#: The fields of a short request: POST, http, / and the authority h.
SHORT = b"\x83\x86\x84\x01\x01h"

#: Streams that a client can have open at the same time.
MAX_STREAMS = 128

#: The shortest head of a response.
HEAD = Head(200, [])


def headers(stream: int, block: bytes = SHORT, *, ended: bool = True) -> bytes:
    """Build HEADERS with a given block."""
    return frame("HEADERS", END_HEADERS | ended, stream, block)


#: Violations on stream 1, which the library answers with a reset.
REFUSALS = {
    "malformed": request(1, ("X-A", "b")),
    "malformed, with content": request(1, ("X-A", "b"), ended=False) + data(1, b"x"),
    "content": request(1, ("content-length", "1"), ended=False) + data(1, b"xx"),
}


class Peer:
    """A client in memory, with a handler that records events."""

    def __init__(self) -> None:
        self.http2 = Http2(self, MAX_STREAMS)
        self.events: list[tuple[Any, ...]] = []
        self.failed: str | None = None

    def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
        self.events.append(("request", stream, method, path, list(fields), ended))

    def content_received(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.events.append(("content", stream, data, ended))

    def stream_reset(self, stream: int) -> None:
        self.events.append(("reset", stream))

    def stream_refused(self, stream: int) -> None:
        self.events.append(("refused", stream))

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
            self.failed, self.reason = str(error), error.reason
        return self.hear()

    def hear(self) -> list[Frame]:
        """Read the bytes from the server."""
        return wire.read(self.http2.data_to_send())[0]


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
    assert [each[0] for each in others[4:]] == ["window", "request", "reset", "reset", "settings", "goaway"]
    assert peer.failed is None


@pytest.mark.parametrize("after", [b"", wire.reset(1), wire.reset(1) * 2], ids=["alone", "reset", "reset twice"])
@pytest.mark.parametrize("refused", REFUSALS)
def test_refused_streams(refused: str, after: bytes) -> None:
    """The application is told once of a stream that the library resets, after its request, even if the client does."""
    peer = Peer().greet()
    assert fate(peer.ask(REFUSALS[refused] + after)) == ["RST_STREAM 1 PROTOCOL_ERROR"]
    peer.ask(wire.ping() + data(1, b"x") + window(1, 5))
    kinds = [each[:2] for each in peer.events if each[0] not in ("content", "ping", "window")]
    begun = [("request", 1)] if refused == "content" else []
    assert kinds == [*begun, ("refused", 1)]


def test_streams_over_the_limit() -> None:
    """The application is told once of every stream over the limit, which the client can open before it knows it."""
    peer = Peer()
    peer.ask(PREFACE + wire.settings())
    streams = range(1, 2 * MAX_STREAMS + 20, 2)
    over = list(streams[MAX_STREAMS:])
    frames = peer.ask(b"".join(headers(stream, ended=False) for stream in streams) + data(over[0], b"x", ended=True))
    assert fate(frames) == [f"RST_STREAM {stream} REFUSED_STREAM" for stream in over]
    assert [each[1] for each in peer.events if each[0] == "refused"] == over
    assert peer.failed is None


@pytest.mark.parametrize("code", [CANCELLED, REFUSED])
def test_resets_of_the_service(code: int) -> None:
    """The application is not told of streams that it resets, or answers before the request is complete."""
    peer = Peer().greet()
    peer.ask(headers(1, ended=False) + headers(3, ended=False))
    peer.http2.reset(1, code)
    peer.http2.send(3, head=HEAD, trailers=(), reset=True)
    peer.events.clear()
    frames = peer.ask(data(1, b"x") + data(3, b"x") + wire.ping())
    assert [each.kind for each in frames] == ["RST_STREAM", "HEADERS", "RST_STREAM", "PING"]
    assert [each[0] for each in peer.events] == ["ping"]


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
    """An endless header block is charged, and closes the connection at a limit."""
    peer = Peer().greet()
    sent = frame("HEADERS", END_STREAM, 1, SHORT + b"\x00\x01a\x7f\xe1\xd3\x03" + b"x" * 8000)
    peer.ask(sent)
    while peer.failed is None:
        assert peer.http2.held == max(0, module._BLOCK_COPIES * (len(sent) - module._FREE_BYTES))
        assert len(sent) <= module._MAX_SILENT_BYTES
        piece = frame("CONTINUATION", 0, 1, b"x" * 10_000)
        peer.ask(piece)
        sent += piece
    assert peer.events == []


@pytest.mark.parametrize("block", [b"\x90" * 150, b""], ids=["fields", "frames"])
def test_blocks_beyond_the_limits(block: bytes) -> None:
    """A header block of too many fields or frames closes the connection. Frames that were ready are still sent."""
    peer = Peer().greet()
    sent = wire.ping() + frame("HEADERS", END_STREAM, 1, SHORT + block) + frame("CONTINUATION", 0, 1, b"") * 9
    peer.http2.ping(b"12345678")
    assert [each.kind for each in peer.ask(sent)] == ["PING"]
    assert peer.reason == "limit"


def test_memory_of_events() -> None:
    """Events that wait to be read are charged beyond what every connection can have, and until they are read."""
    peer = Peer().greet()
    peer.http2.receive(wire.ping() * (module.PIECE_BYTES // len(wire.ping())))
    charged: list[int] = []
    while peer.http2.read(float("-inf")):
        waiting = len(peer.http2._events)
        assert peer.http2.held == max(0, waiting * module._EVENT_BYTES - module._FREE_EVENT_BYTES)
        charged.append(peer.http2.held)
    assert charged[0] > 0 == charged[-1]


def test_priority_is_ignored() -> None:
    """PRIORITY frames are ignored, even on stream 0."""
    peer = Peer().greet()
    assert peer.ask(frame("PRIORITY", 0, 0, bytes(5)) + frame("PRIORITY", 0, 1, bytes(4) + b"\1")) == []
    assert peer.failed is None


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
    """Fields that decompress to more than the limits are not passed on."""
    peer = Peer().greet()
    peer.ask(headers(1, SHORT + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + bomb))
    assert peer.events in ([], [("refused", 1)])


@given(st.binary(max_size=200) | st.lists(st.tuples(st.integers(0, 11), st.binary(max_size=40)), max_size=8))
def test_any_bytes(said: bytes | list[tuple[int, bytes]]) -> None:
    """Arbitrary bytes raise only `ConnectionFailed`."""
    peer = Peer().greet()
    peer.ask(said if isinstance(said, bytes) else b"".join(frame(kind, 255, 1, payload) for kind, payload in said))
    peer.http2.data_to_send()


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
    peer.http2.send(1, head=HEAD, trailers=(), reset=True)


GONE: dict[str, Callable[[Peer], object]] = {
    "reset": lambda peer: peer.ask(wire.reset(1)),
    "ended": end,
    "cancelled": lambda peer: peer.http2.reset(1, CANCELLED),
    "refused": lambda peer: peer.http2.reset(1, REFUSED),
    "forgotten": lambda peer: peer.ask(wire.reset(1) + b"".join(headers(n) + wire.reset(n) for n in range(3, 203, 2))),
    "failed": lambda peer: peer.ask(data(0, b"x")),
    "failed by a limit": lambda peer: peer.ask(frame(0x16, 0, 0, bytes(1000)) * 100),
}


@pytest.mark.parametrize("how", GONE)
@pytest.mark.parametrize("action", ["head", "content", "end", "trailers"])
def test_ended_streams(how: str, action: str) -> None:
    """Sending on an ended stream raises `ClientDisconnected`. Its window is 0, and it can be ended again."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False))
    GONE[how](peer)
    peer.hear()
    with pytest.raises(ClientDisconnected):
        act(peer, action, 1)
    assert peer.http2.window(1) == 0
    for code in (CANCELLED, REFUSED):
        peer.http2.reset(1, code)
    peer.http2.withhold(1)
    peer.http2.grant(1)
    peer.http2.ping(b"12345678")
    peer.http2.announce_shutdown()
    peer.http2.go_away()
    assert {each.kind for each in peer.hear()} <= {"RST_STREAM", "PING", "GOAWAY"}


def test_violation_behind_a_request() -> None:
    """A response to a request that arrived together with a violation raises `ClientDisconnected`."""

    class Answering(Peer):
        def request_received(self, stream: int, method: bytes, path: bytes, fields: Fields, *, ended: bool) -> None:
            with pytest.raises(ClientDisconnected):
                self.http2.send(stream, head=HEAD, trailers=())
            super().request_received(stream, method, path, fields, ended=ended)

    peer = Answering().greet()
    assert fate(peer.ask(headers(1) + data(0, b"x"))) == ["GOAWAY PROTOCOL_ERROR"]
    assert [each[0] for each in peer.events] == ["request"] and peer.failed is not None


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
    peer.http2.announce_shutdown()
    peer.http2.ping(b"the last")
    goaway, ping = peer.hear()
    assert (goaway.kind, goaway.number, goaway.code) == ("GOAWAY", 2**31 - 1, "NO_ERROR")
    assert ping == Frame("PING", 0, 0, b"the last")
    peer.ask(request(3) + wire.go_away() + data(1, b"x", ended=True) + window(1, 5))
    peer.http2.go_away()
    assert fate(peer.hear()) == ["GOAWAY NO_ERROR"]
    for number in (1, 3):
        peer.http2.send(number, head=HEAD, data=b"x", trailers=())
    assert [each.kind for each in peer.hear()] == ["HEADERS", "DATA"] * 2
    assert peer.failed is None


@pytest.mark.parametrize("code", ["NO_ERROR", "INTERNAL_ERROR", "ENHANCE_YOUR_CALM"])
def test_clients_that_leave(code: str) -> None:
    """The end of a connection after a client's GOAWAY is no failure, whatever the code of the GOAWAY."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + wire.go_away(code))
    peer.http2.send(1, head=HEAD, trailers=())
    peer.ask(data(1, ended=True))
    assert peer.http2._over
    assert [each[0] for each in peer.events] == ["request", "goaway", "content"] and peer.failed is None


def test_streams_that_close() -> None:
    """A stream that ends in both directions is not reset."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False))
    peer.http2.send(1, head=HEAD, trailers=())
    peer.ask(data(1, b"x", ended=True))
    assert [each[0] for each in peer.events] == ["request", "content"]


def test_withheld_windows() -> None:
    """While a stream is withheld, its window stays closed; afterwards it is opened by all withheld bytes."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + request(3, ended=False))
    peer.http2.withhold(1)
    frames: list[Frame] = []
    for _ in range(3):
        frames += peer.ask(data(1, bytes(16_384)) + data(3, bytes(16_384)))
    assert {(each.kind, each.stream) for each in frames} == {("WINDOW_UPDATE", 3)}
    peer.http2.grant(1)
    [update] = peer.hear()
    assert (update.kind, update.stream, update.number) == ("WINDOW_UPDATE", 1, 3 * 16_384)
    peer.http2.grant(1)
    assert peer.hear() == []


def test_answers_of_one_turn() -> None:
    """The window shrinks with every answer of a turn, so that nothing waits in the library."""
    peer = Peer().greet()
    streams = range(1, 241, 2)
    peer.ask(b"".join(map(headers, streams)))
    sent = 0
    for stream in streams:
        size = min(MAX_CONTENT, peer.http2.window(stream))
        peer.http2.send(stream, head=HEAD, data=bytes(size))
        sent += size
    assert sent == 65_535
    assert sum(len(each.payload) for each in peer.hear() if each.kind == "DATA") == sent
    assert peer.http2._connection.queued_body_size() == 0


def test_trailers_without_a_window() -> None:
    """Trailers without content wait until the windows have room, and then follow without another call."""
    peer = Peer().greet((wire.INITIAL_WINDOW_SIZE, 1))
    peer.ask(headers(1))
    peer.http2.send(1, head=HEAD, data=b"x")
    peer.hear()
    peer.http2.send(1, trailers=[(b"a", b"b")])
    assert peer.hear() == []
    [end] = peer.ask(window(1, 1))
    assert end.flags & END_STREAM


def test_defect(caplog: pytest.LogCaptureFixture) -> None:
    """A response that the library cannot send resets its stream, and is logged."""
    peer = Peer().greet()
    peer.ask(headers(1))
    peer.http2.send(1, head=Head(200, [(b"a", bytes(100_000))]))
    assert fate(peer.hear()) == ["RST_STREAM 1 INTERNAL_ERROR"]
    assert "a response could not be sent" in caplog.text


def test_defect_that_waits() -> None:
    """The application is not told that the client is to blame for trailers that the library cannot send later."""
    peer = Peer().greet((wire.INITIAL_WINDOW_SIZE, 1))
    peer.ask(headers(1))
    peer.http2.send(1, head=HEAD, data=b"x")
    peer.http2.send(1, trailers=[(b"a", bytes(100_000))])
    assert fate(peer.ask(window(1, 1))) == ["RST_STREAM 1 INTERNAL_ERROR"]
    assert peer.events[-1] == ("reset", 1)


def test_failure() -> None:
    """A client that violates a limit gets an error code."""
    peer = Peer().greet()
    with pytest.raises(ConnectionFailed, match="too much"):
        peer.http2.fail("too much")
    [goaway] = peer.hear()
    assert (goaway.code, goaway.payload[8:]) == ("ENHANCE_YOUR_CALM", b"too much")


# What ngh2 does, and the service has no code for. If one of these tests fails after an upgrade, look at
# `server/grpc/http2.py` before the pin moves.


def library() -> ngh2.Connection:
    """Return a connection that has received the client's preface."""
    connection = ngh2.Connection(ngh2.Role.SERVER)
    connection.initiate_connection()
    connection.receive_data(PREFACE + wire.settings() + frame("SETTINGS", ACK))
    connection.data_to_send()
    connection.events()
    return connection


def test_window_updates_of_the_library() -> None:
    """ngh2 grants the windows of a stream and of the connection when half of them is used."""
    connection = library()
    connection.receive_data(headers(1, ended=False) + data(1, bytes(16_384)) * 3)
    frames, rest = wire.read(connection.data_to_send())
    assert rest == b"" and {each.stream for each in frames if each.kind == "WINDOW_UPDATE"} == {0, 1}


def test_content_of_a_reset_stream() -> None:
    """ngh2 drops the content of a stream that was reset, and returns the window of the connection for it."""
    connection = library()
    connection.receive_data(headers(1, ended=False))
    connection.reset_stream(1)
    connection.data_to_send()
    connection.events()
    connection.receive_data(data(1, bytes(16_384)))
    assert connection.events() == []
    assert connection.local_window_size == 65_535 - 16_384
    connection.receive_data(data(1, bytes(16_384)))
    [update] = wire.read(connection.data_to_send())[0]
    assert (update.kind, update.stream) == ("WINDOW_UPDATE", 0)


def test_shutdown_notice() -> None:
    """ngh2 still reads requests after the first GOAWAY of a graceful shutdown."""
    connection = library()
    connection.send_shutdown_notice()
    [goaway] = wire.read(connection.data_to_send())[0]
    assert (goaway.kind, goaway.number) == ("GOAWAY", 2**31 - 1)
    connection.receive_data(headers(1))
    assert [type(each) for each in connection.events()] == [ngh2.RequestReceived]


def test_violations() -> None:
    """For a violation of HTTP/2, ngh2 does not raise: it sends a GOAWAY, and reports that the connection is over."""
    connection = library()
    connection.receive_data(data(0, b"x"))
    assert connection.events() == []
    assert fate(wire.read(connection.data_to_send())[0]) == ["GOAWAY PROTOCOL_ERROR"]
    [closed] = connection.events()
    assert isinstance(closed, ngh2.ConnectionClosed) and closed.error_code == ngh2.ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("limit", ["acknowledgements", "continuations"])
def test_limits_of_the_library(limit: str) -> None:
    """ngh2 raises an error if a limit is exceeded, and sends nothing then."""
    connection = library()
    flood = {
        "acknowledgements": wire.settings() * 1001,
        "continuations": frame("HEADERS", 0, 1, SHORT) + frame("CONTINUATION", 0, 1, b"\x90") * 9,
    }
    with pytest.raises(ngh2.DenialOfServiceError):
        connection.receive_data(flood[limit])
    with pytest.raises(ngh2.ConnectionStateError):
        connection.data_to_send()
