"""Frames as bytes, against a reader and a writer of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service.http2 import frames
from service.http2.frames import ConnectionFault, Fault, Kind, Setting

from tests.service.http2 import wire
from tests.service.http2.wire import PADDED, Frame

STREAMS = st.integers(0, 2**31 - 1)


@given(kind=st.sampled_from(Kind), flags=st.integers(0, 255), stream=STREAMS, payload=st.binary(max_size=200))
def test_frame(kind: Kind, flags: int, stream: int, payload: bytes) -> None:
    """A frame is written as the RFC has it."""
    assert frames.frame(kind, flags, stream, payload) == wire.frame(kind.name, flags, stream, payload)


def test_long_frame() -> None:
    """A length takes three bytes."""
    assert frames.frame(Kind.DATA, 0, 1, bytes(65_536))[:4] == b"\1\0\0\0"


@given(stream=STREAMS, number=st.integers(1, 2**31 - 1), fault=st.sampled_from(Fault), reason=st.text(max_size=20))
def test_what_the_server_says(stream: int, number: int, fault: Fault, reason: str) -> None:
    """A caller reads what is meant."""
    said = frames.window_update(stream, number) + frames.reset(stream, fault) + frames.go_away(number, fault, reason)
    update, reset, go_away = wire.read(said)[0]
    assert (update.kind, update.stream, update.number) == ("WINDOW_UPDATE", stream, number)
    assert (reset.kind, reset.stream, reset.code) == ("RST_STREAM", stream, fault.name)
    assert (go_away.kind, go_away.stream, go_away.number, go_away.code) == ("GOAWAY", 0, number, fault.name)
    assert go_away.payload[8:] == reason.encode()


VALUES = st.dictionaries(st.sampled_from(Setting), st.integers(0, 2**32 - 1))


@given(values=VALUES)
def test_settings(values: dict[Setting, int]) -> None:
    """A caller reads the settings that are meant."""
    [frame] = wire.read(frames.settings(values))[0]
    assert frame == Frame("SETTINGS", 0, 0, frame.payload)
    assert frame.settings == values


@given(pairs=st.lists(st.tuples(st.sampled_from((1, 3, 6, 99)), st.integers(0, 2**32 - 1))))
def test_read_settings(pairs: list[tuple[int, int]]) -> None:
    """Of several values the last one holds."""
    assert frames.read_settings(wire.settings(*pairs)[9:]) == dict(pairs)


@given(content=st.binary(max_size=50), padding=st.integers(0, 255))
def test_padding(content: bytes, padding: int) -> None:
    """Padding goes, whatever is in it."""
    payload = bytes((padding,)) + content + b"\xaa" * padding
    assert frames.without_padding(PADDED, payload) == content
    assert frames.without_padding(0, payload) == payload


@given(payload=st.binary(max_size=50))
def test_too_much_padding(payload: bytes) -> None:
    """Padding that is longer than the frame breaks the rules."""
    broken = bytes((len(payload) + 1,)) + payload
    with pytest.raises(ConnectionFault) as caught:
        frames.without_padding(PADDED, broken)
    assert caught.value.fault is Fault.PROTOCOL_ERROR
