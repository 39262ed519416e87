"""What `Http2` adds to h2: limits that come before it, shortcuts that mean the same, and the internals they rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import hpack
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from h2.utilities import validate_headers
from hyperframe.frame import GoAwayFrame
from hypothesis import given
from hypothesis import strategies as st

from service.grpc.transport.http2 import (
    LARGEST_STREAM,
    PREFACE,
    STREAM_WINDOW,
    ConnectionFailed,
    Http2,
    _Connection,
    _Decoder,
    _Encoder,
)
from tests.service.grpc import wire
from tests.service.grpc.transport.caller import fate
from tests.service.grpc.wire import ACK, END_HEADERS, END_STREAM, POST, Frame, data, frame, request, window

STREAMS = 100

#: The fields of the shortest request, all in HPACK's static table: POST, http, /, and an empty authority.
SHORT = b"\x83\x86\x84\x81"


def headers(stream: int, block: bytes, *, ended: bool = True) -> bytes:
    """HEADERS with a block as it is."""
    return frame("HEADERS", END_HEADERS | ended, stream, block)


class Peer:
    """A client in memory, and the handler that takes note of what it does."""

    def __init__(self, kind: type[Http2] = Http2, streams: int = STREAMS) -> None:
        self.http2 = kind(self, streams=streams, head_bytes=16_384)
        self.events: list[tuple[Any, ...]] = []
        self.failed: str | None = None

    def request_received(self, stream: int, fields: list[tuple[bytes, bytes]], *, ended: bool) -> None:
        self.events.append(("request", stream, fields, ended))

    def content_received(self, stream: int, data: bytes, size: int, *, ended: bool) -> None:
        self.events.append(("content", stream, data, size, ended))

    def stream_reset(self, stream: int) -> None:
        self.events.append(("reset", stream))

    def window_opened(self, stream: int) -> None:
        self.events.append(("window", stream))

    def ping_received(self) -> None:
        self.events.append(("ping",))

    def ping_answered(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def settings_received(self) -> None:
        self.events.append(("settings",))

    def goaway_received(self) -> None:
        self.events.append(("goaway",))

    def noise_received(self) -> None:
        self.events.append(("noise",))

    def greet(self, *settings: tuple[int, int]) -> Peer:
        """Say the preface, and forget what became of it."""
        self.ask(PREFACE + wire.settings(*settings))
        self.events.clear()
        return self

    def ask(self, data: bytes) -> list[Frame]:
        """Send bytes, and read the answer."""
        self.http2.receive(data)
        try:
            while self.http2.read_frame():
                pass
        except ConnectionFailed as error:
            self.failed = str(error)
        return wire.read(self.http2.take())[0]


def test_greeting() -> None:
    """The server's SETTINGS announce its limits, and a connection window that its streams cannot use up."""
    [settings, update, acknowledgement] = Peer().ask(PREFACE + wire.settings())
    assert settings.settings[wire.MAX_CONCURRENT_STREAMS] == STREAMS
    assert settings.settings[wire.INITIAL_WINDOW_SIZE] == STREAM_WINDOW
    assert settings.settings[wire.MAX_HEADER_LIST_SIZE] == 16_384
    assert update == Frame("WINDOW_UPDATE", 0, 0, (STREAMS * STREAM_WINDOW - 65_535).to_bytes(4))
    assert acknowledgement == Frame("SETTINGS", ACK, 0, b"")


def test_silence_before_the_preface() -> None:
    """The server says nothing before the preface is complete, so it does not answer another protocol with frames."""
    assert Peer().ask(PREFACE[:-1]) == []


def test_any_number_of_streams() -> None:
    """The connection window has the largest size there is where the streams' come to more."""
    [_, update, _] = Peer(streams=10**6).ask(PREFACE + wire.settings())
    assert update.number == 2**31 - 1 - 65_535


@pytest.mark.parametrize("kind", ["DATA", "HEADERS", "SETTINGS", "GOAWAY", 0x16])
def test_frame_limit(kind: str | int) -> None:
    """A frame beyond the limit ends the connection when its header has arrived, whatever its kind."""
    peer = Peer().greet()
    header = (16_385).to_bytes(3) + frame(kind, 0, 1)[3:]
    assert peer.ask(header[:8]) == [] and peer.failed is None
    assert fate(peer.ask(header[8:])) == ["GOAWAY FRAME_SIZE_ERROR"]
    assert peer.http2.unread < 100


def test_largest_frame() -> None:
    """A frame of exactly the limit is read."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + data(1, bytes(16_384)))
    assert peer.events[-1] == ("content", 1, bytes(16_384), 16_384, False)


def test_block_limit() -> None:
    """A header block of more than 32 KiB ends the connection, before its end and before h2 keeps it."""
    peer = Peer().greet()
    peer.ask(frame("HEADERS", END_STREAM, 1, bytes(16_384)) + frame("CONTINUATION", 0, 1, bytes(16_384)))
    assert (peer.http2.unread, peer.failed) == (32_768, None)
    assert fate(peer.ask(frame("CONTINUATION", 0, 1, b"x"))) == ["GOAWAY ENHANCE_YOUR_CALM"]
    assert peer.events == []


def test_largest_block() -> None:
    """One of exactly 32 KiB is read, however many frames it comes in, and nothing of it counts as unread afterwards."""
    head = wire.block(*POST)
    value = b"b" * (32_768 - len(head) - 9)
    rest = len(value) - 127
    block = head + b"\0\x03x-a\x7f" + bytes((rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14)) + value
    assert len(block) == 32_768
    peer = Peer().greet()
    pieces = [block[start : start + 1100] for start in range(0, len(block), 1100)]
    peer.ask(frame("HEADERS", END_STREAM, 1, pieces[0]))
    for piece in pieces[1:-1]:
        peer.ask(frame("CONTINUATION", 0, 1, piece))
    peer.ask(frame("CONTINUATION", END_HEADERS, 1, pieces[-1]))
    [(_, stream, fields, ended)] = peer.events
    assert (stream, fields[-1], ended) == (1, (b"x-a", value), True)
    assert peer.http2.unread == 0


def test_list_limit() -> None:
    """Fields of more than 64 KiB when they are decompressed end the connection: a few bytes stand for each."""
    bomb = SHORT + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + b"\xbe" * 20
    peer = Peer().greet()
    assert fate(peer.ask(headers(1, bomb))) == ["GOAWAY ENHANCE_YOUR_CALM"]
    assert peer.events == []


WITHIN = {"WINDOW_UPDATE": window(0, 1), "GOAWAY": wire.go_away(), "PING": wire.ping(), "DATA": data(1, b"x")}


@pytest.mark.parametrize("kind", WITHIN)
def test_frames_within_a_block(kind: str) -> None:
    """Nothing may come between the frames of a header block, also what is otherwise read without h2."""
    peer = Peer().greet()
    assert fate(peer.ask(frame("HEADERS", 0, 1, SHORT) + WITHIN[kind])) == ["GOAWAY PROTOCOL_ERROR"]
    assert peer.events == []


def test_repeated_block() -> None:
    """A header block that is repeated is decoded and validated once."""
    peer = Peer().greet()
    with (
        mock.patch.object(hpack.Decoder, "decode", autospec=True, side_effect=hpack.Decoder.decode) as decode,
        mock.patch("h2.stream.validate_headers", side_effect=validate_headers) as validate,
    ):
        peer.ask(b"".join(headers(number, SHORT) for number in range(1, 21, 2)))
    assert (decode.call_count, validate.call_count) == (1, 1)
    assert {str(fields) for _, _, fields, _ in peer.events} == {
        str([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"")])
    }
    assert len(peer.events) == 10


UNPROVEN = {
    "a request's as trailers": headers(1, SHORT, ended=False) + headers(1, SHORT),
    "a known request's as trailers": headers(1, SHORT) + headers(3, SHORT, ended=False) + headers(3, SHORT),
    "trailers' as a request's": headers(1, SHORT, ended=False) + headers(1, b"\x90") + headers(3, b"\x90"),
    "that of a closed stream": headers(1, SHORT) + wire.reset(1) + headers(3, SHORT) + headers(1, b"\x86") * 2
    + headers(5, b"\x86"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNPROVEN)
def test_repeated_block_of_another_meaning(case: str) -> None:
    """A block is as wrong as ever where it is repeated with another meaning."""
    peer = Peer().greet()
    assert fate(peer.ask(UNPROVEN[case]))[-1] == "GOAWAY PROTOCOL_ERROR"
    assert all((b":path", b"/") in event[2] for event in peer.events if event[0] == "request")


def test_same_bytes_with_another_table() -> None:
    """A known block means something else once there are other fields in the table."""
    peer = Peer().greet()
    for number, block in ((1, b"\x40\x03x-a\x01a"), (3, b"\xbe"), (5, b"\xbe"), (7, b"\x40\x03x-b\x01b"), (9, b"\xbe")):
        peer.ask(headers(number, SHORT + block))
    assert [fields[-1] for _, _, fields, _ in peer.events] == [(b"x-a", b"a")] * 3 + [(b"x-b", b"b")] * 2


NAMES = st.sampled_from(["x-a", "x-b", "content-type", "grpc-timeout", "user-agent", "authorization"])
VALUES = st.sampled_from(["", "a", "b", "a rather long value" * 5])


@given(
    requests=st.lists(
        st.tuples(
            st.lists(st.tuples(NAMES, VALUES), max_size=5), st.booleans(), st.none() | st.integers(0, 4096),
            st.integers(1, 3),
        ),
        max_size=20,
    )
)  # fmt: skip
def test_any_blocks(requests: list[tuple[list[tuple[str, str]], bool, int | None, int]]) -> None:
    """Blocks mean what an encoder meant, the same ones again too, whatever becomes of the table."""
    encoder, peer = hpack.Encoder(), Peer().greet()
    number = 1
    for fields, huffman, size, times in requests:
        if size is not None:
            encoder.header_table_size = size
        for _ in range(times):
            peer.ask(headers(number, encoder.encode([*POST, *fields], huffman=huffman)))
            number += 2
            assert peer.failed is None
            assert [(name.decode(), value.decode()) for name, value in peer.events[-1][2]] == [*POST, *fields]


def test_many_known_blocks() -> None:
    """No more than some blocks are known at once, and none is taken for another one."""
    peer = Peer().greet()
    table = b"".join(b"\x40\x04x-%02dv".replace(b"v", b"\x01v") % number for number in range(20))
    peer.ask(headers(1, SHORT + table))
    for number in range(400):
        first, second = divmod(number, 20)
        peer.ask(headers(2 * number + 3, SHORT + bytes((0xBE + first, 0xBE + second))))
        expected = [(b"x-%02d" % (19 - each), b"v") for each in (first, second)]
        assert [tuple(field) for field in peer.events[-1][2][-2:]] == expected
    assert 0 < len(peer.http2._decoder._known) <= 64


class Plain(Http2):
    """Leaves every WINDOW_UPDATE to h2."""

    def _open_window(self, frame: bytearray) -> bool:
        return False


WINDOWS = {
    "of the connection": window(0, 1000),
    "of a stream": window(3, 1000),
    "by nothing, of the connection": window(0, 0),
    "by nothing, of a stream": window(3, 0),
    "with the reserved bit": window(3, 1 << 31 | 5),
    "to the most there is": window(0, 2**31 - 1 - 65_535) + window(3, 2**31 - 1 - 65_535),
    "too large, of the connection": window(0, 2**31 - 65_535),
    "too large, of a stream": window(3, 2**31 - 65_535),
    "too large, in two steps": window(3, 2**30) + window(3, 2**30),
    "of a stream that was never opened": window(7, 1),
    "of a stream of the server's": window(2, 1),
    "of a closed stream": window(1, 1),
    "of a stream that was closed long ago": request(5) + window(1, 1),
    "too short": frame("WINDOW_UPDATE", 0, 0, bytes(3)),
    "too long": frame("WINDOW_UPDATE", 0, 0, bytes(5)),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_window_updates(case: str) -> None:
    """A WINDOW_UPDATE that is read without h2 does what it does with it."""
    results = []
    for kind in (Http2, Plain):
        peer = Peer(kind).greet()
        peer.ask(request(1))
        peer.http2.send_fields(1, [(b":status", b"200")], ended=True)
        peer.ask(request(3, ended=False))
        peer.events.clear()
        frames = peer.ask(WINDOWS[case])
        windows = None if peer.failed or ("reset", 3) in peer.events else peer.http2.window(3)
        events = [event for event in peer.events if event != ("window", 1)]  # of no interest to anybody
        results.append((frames, peer.failed, events, windows))
    assert results[0] == results[1]


@pytest.mark.parametrize("stream", [0, 1 << 31], ids=["plain", "with the reserved bit"])
def test_goaway_of_the_client(stream: int) -> None:
    """After a client's GOAWAY its streams go on in both directions, as do frames of the same read."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False) + frame("GOAWAY", 0, stream, bytes(8)) + data(1, b"x", ended=True) + window(1, 5))
    assert [event[0] for event in peer.events] == ["request", "goaway", "content", "window"]
    peer.http2.send_fields(1, [(b":status", b"200")])
    peer.http2.send_content(1, b"answer")
    assert [each.kind for each in wire.read(peer.http2.take())[0]] == ["HEADERS", "DATA"]
    assert peer.failed is None


@pytest.mark.parametrize("broken", [frame("GOAWAY", 0, 1, bytes(8)), frame("GOAWAY", 0, 0, bytes(7))])
def test_broken_goaway(broken: bytes) -> None:
    """A GOAWAY on a stream or without all of its fields ends the connection."""
    peer = Peer().greet()
    assert fate(peer.ask(broken))[0].startswith("GOAWAY ")
    assert peer.failed is not None


def test_own_goaway() -> None:
    """The server's GOAWAY leaves the connection as it is."""
    peer = Peer().greet()
    peer.ask(request(1, ended=False))
    [goaway] = wire.read(peer.http2.go_away(LARGEST_STREAM))[0]
    assert (goaway.kind, goaway.number, goaway.code) == ("GOAWAY", 2**31 - 1, "NO_ERROR")
    peer.ask(request(3) + data(1, b"x", ended=True))
    assert [event[:2] for event in peer.events] == [("request", 1), ("request", 3), ("content", 1)]
    assert peer.http2.last_stream == 3


def answer(peer: Peer, stream: int, *fields: tuple[bytes, bytes]) -> bytes:
    """The block of the only HEADERS with which the server answers."""
    peer.ask(request(stream))
    peer.http2.send_fields(stream, [(b":status", b"200"), *fields], ended=True)
    [each] = wire.read(peer.http2.take())[0]
    return each.payload


@pytest.mark.parametrize("size", [0, 100, 2**32 - 1])
def test_table_of_responses(size: int) -> None:
    """Whatever table a client offers, responses put nothing into it, and so neither side's memory grows."""
    peer = Peer().greet((wire.HEADER_TABLE_SIZE, size))
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = size
    for number in range(500):
        value = b"%d" % number * 20
        fields = decoder.decode(answer(peer, 2 * number + 1, (b"x-request-id", value)), raw=True)
        assert [tuple(field) for field in fields] == [(b":status", b"200"), (b"x-request-id", value)]
    assert not decoder.header_table.dynamic_entries
    assert not peer.http2._h2.encoder.header_table.dynamic_entries
    assert len(peer.http2._h2.encoder._known) < 5  # type: ignore[attr-defined]


@given(fields=st.lists(st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300)), max_size=5))
def test_encoder(fields: list[tuple[bytes, bytes]]) -> None:
    """A client reads the fields that are meant, the same ones again too."""
    decoder, encoder = hpack.Decoder(), _Encoder()
    for _ in range(2):
        decoded = decoder.decode(encoder.encode([(b":status", b"200"), *fields]), raw=True)
        assert [tuple(field) for field in decoded] == [(b":status", b"200"), *fields]
    assert not decoder.header_table.dynamic_entries


def test_credit() -> None:
    """Content of streams that have ended counts for the connection, some frames at a time."""
    peer = Peer().greet()
    for _ in range(7):
        peer.http2.dropped(10_000)
    [update] = wire.read(peer.http2.take())[0]
    assert (update.kind, update.stream, update.number) == ("WINDOW_UPDATE", 0, 70_000)


@given(said=st.binary(max_size=200) | st.lists(st.binary(max_size=40), max_size=8).map(
    lambda payloads: b"".join(frame(payload[0] % 12 if payload else 4, 255, 1, payload) for payload in payloads)
))  # fmt: skip
def test_any_bytes(said: bytes) -> None:
    """Whatever bytes come, nothing but `ConnectionFailed` is raised, and a GOAWAY says so."""
    peer = Peer().greet()
    frames = peer.ask(said)
    assert bool(peer.failed) == bool([each for each in frames if each.kind == "GOAWAY"])


# What `Http2` uses of the libraries beyond their documentation. If one of these tests fails after an upgrade, look at
# `service/grpc/transport/http2.py` before the pins move.


def library() -> H2Connection:
    """A connection of h2's with a request."""
    connection = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(PREFACE + wire.settings() + request(1, ended=False))
    return connection


def streams_by_number(connection: H2Connection) -> bool:
    return list(connection.streams) == [1] and connection.highest_inbound_stream_id == 1


def windows_are_attributes(connection: H2Connection) -> bool:
    connection.outbound_flow_control_window += 10
    connection.streams[1].outbound_flow_control_window += 5
    return connection.local_flow_control_window(1) == 65_540


def limit_of_streams_is_looked_up(connection: H2Connection) -> bool:
    connection.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    connection.receive_data(request(3))
    try:
        connection.receive_data(request(5))
    except ProtocolError:
        return True
    return False


def validation_is_looked_up(connection: H2Connection) -> bool:
    connection.config.validate_inbound_headers = False
    connection.receive_data(request(3, ("X-Capital", "a")))
    connection.config.validate_inbound_headers = True
    try:
        connection.receive_data(request(5, ("X-Capital", "a")))
    except ProtocolError:
        return True
    return False


def coders_can_be_exchanged(connection: H2Connection) -> bool:
    connection.encoder, connection.decoder = mock.Mock(spec=_Encoder), mock.Mock(spec=_Decoder)
    connection.encoder.encode.return_value = b"block"
    connection.decoder.decode.return_value = [(name.encode(), value.encode()) for name, value in POST]
    connection.receive_data(request(3))
    connection.data_to_send()
    connection.send_headers(1, [(b":status", b"200")])
    connection.decoder.decode.assert_called_once_with(mock.ANY, raw=True)
    return connection.data_to_send().endswith(b"block")


def closed_streams_are_bounded(connection: H2Connection) -> bool:
    bounded = _Connection(H2Configuration(client_side=False, header_encoding=None))
    bounded.initiate_connection()
    bounded.receive_data(PREFACE + wire.settings())
    for number in range(1, 1201, 2):
        bounded.receive_data(request(number) + wire.reset(number))
        bounded.data_to_send()
    return H2Connection.MAX_CLOSED_STREAMS > 256 and len(bounded._closed_streams) <= 256


def sensitive_fields_enter_no_table(connection: H2Connection) -> bool:
    encoder = hpack.Encoder()
    block = encoder.add((b"a", b"b"), sensitive=True)
    return block == b"\x10\x01a\x01b" and not encoder.header_table.dynamic_entries


def resized_tables_are_announced(connection: H2Connection) -> bool:
    encoder = hpack.Encoder()
    untouched = not encoder.header_table.resized
    encoder.header_table_size = 0
    resized = encoder.header_table.resized
    return untouched and resized and encoder.encode([]) == b"\x20" and not encoder.header_table.resized


def list_limit_is_an_argument(connection: H2Connection) -> bool:
    return hpack.Decoder(100).max_header_list_size == 100


def goaway_can_be_written(connection: H2Connection) -> bool:
    return GoAwayFrame(0, last_stream_id=7).serialize() == frame("GOAWAY", 0, 0, bytes((0, 0, 0, 7, 0, 0, 0, 0)))


INTERNALS: list[Callable[[H2Connection], bool]] = [
    streams_by_number,
    windows_are_attributes,
    limit_of_streams_is_looked_up,
    validation_is_looked_up,
    coders_can_be_exchanged,
    closed_streams_are_bounded,
    sensitive_fields_enter_no_table,
    resized_tables_are_announced,
    list_limit_is_an_argument,
    goaway_can_be_written,
]


@pytest.mark.parametrize("relied_on", INTERNALS, ids=lambda check: check.__name__)
def test_internals(relied_on: Callable[[H2Connection], bool]) -> None:
    """The internals of h2, hpack and hyperframe are as `Http2` relies on."""
    message = f"h2, hpack or hyperframe has changed: {relied_on.__name__}; see service/grpc/transport/http2.py"
    try:
        holds = relied_on(library())
    except Exception as error:
        pytest.fail(f"{message} ({error!r})")
    assert holds, message
