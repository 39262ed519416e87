"""A connection from its first byte to its last."""

from __future__ import annotations

import pytest
from service.http2.connection import CONNECTION_WINDOW, STREAM_WINDOW
from service.http2.frames import Fault

from tests.service.http2 import wire
from tests.service.http2.caller import LIMITS, Caller, Loop, Request, fate
from tests.service.http2.wire import ACK, PREFACE, Frame, frame, ping, request, settings

HELLO = PREFACE + settings()


def test_greeting(loop: Loop) -> None:
    """Section 3.4: the server's first frame is SETTINGS, and the caller's are acknowledged."""
    caller = Caller(loop)
    [ours, update, acknowledgement] = caller.ask(HELLO)
    assert (ours.kind, ours.flags, ours.stream) == ("SETTINGS", 0, 0)
    assert ours.settings == {
        wire.MAX_CONCURRENT_STREAMS: LIMITS.streams,
        wire.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        wire.MAX_HEADER_LIST_SIZE: LIMITS.head_bytes,
    }
    assert update == Frame("WINDOW_UPDATE", 0, 0, (CONNECTION_WINDOW - 65_535).to_bytes(4, "big"))
    assert acknowledgement == Frame("SETTINGS", ACK, 0, b"")
    caller.leave()


def test_everything_at_once(loop: Loop) -> None:
    """Section 3.4: a caller need not wait for the server's settings."""
    caller = Caller(loop)
    frames = caller.ask(HELLO + request(1))
    assert [each.kind for each in frames[:3]] == ["SETTINGS", "WINDOW_UPDATE", "SETTINGS"]
    assert caller.answers(frames) == {1: b""}
    caller.leave()


def test_byte_by_byte(loop: Loop) -> None:
    """A request whose every byte comes alone is one."""
    caller = Caller(loop)
    for byte in HELLO + request(1, ended=False) + wire.data(1, b"abc", ended=True):
        caller.say(bytes((byte,)))
    assert caller.answers(caller.hear()) == {1: b"abc"}
    caller.leave()


OTHERS = {
    "TLS": bytes.fromhex("16030100a5010000a10303"),
    "random bytes": bytes(range(200, 256)) * 100,
    "zeros": bytes(24),
    "a preface with a mistake at its end": PREFACE[:-1] + b"\0",
    "HTTP/1 cut short": b"PO",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
}


@pytest.mark.parametrize("protocol", OTHERS)
def test_other_protocols(loop: Loop, protocol: str) -> None:
    """Section 3.4: who does not speak HTTP/2 hears so, and the connection ends."""
    caller = Caller(loop)
    assert fate(caller.ask(OTHERS[protocol])) == ["GOAWAY PROTOCOL_ERROR"]
    assert caller.transport.closing
    caller.leave()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"])
def test_http1(loop: Loop, method: str) -> None:
    """Who speaks HTTP/1.1 gets an answer that can be read, and nothing in front of it."""
    caller = Caller(loop)
    caller.say(f"{method} / HTTP/1.1\r\nhost: here\r\n\r\n".encode())
    head, _, body = caller.transport.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 505 ") and b"content-length: %d" % len(body) in head
    assert b"HTTP/2" in body
    assert caller.transport.closing
    caller.leave()


FIRST = {
    "HEADERS": request(1),
    "PING": ping(),
    "WINDOW_UPDATE": wire.window(0, 1),
    "an unknown frame": frame(0x16),
    "an acknowledgement of settings": frame("SETTINGS", ACK),
}


@pytest.mark.parametrize("kind", FIRST)
def test_first_frame(loop: Loop, kind: str) -> None:
    """Section 3.4: the preface ends with the caller's settings."""
    caller = Caller(loop)
    assert fate(caller.ask(PREFACE + FIRST[kind])) == ["GOAWAY PROTOCOL_ERROR"]
    assert caller.transport.closing
    caller.leave()


def test_ping(caller: Caller) -> None:
    """Section 6.7: a ping is answered with what it says."""
    assert caller.ask(ping(b"how fast")) == [Frame("PING", ACK, 0, b"how fast")]


def test_settings_are_acknowledged(caller: Caller) -> None:
    """Section 6.5.3: settings that come later are acknowledged as well, once each."""
    assert caller.ask(settings() + settings((99, 1))) == [Frame("SETTINGS", ACK, 0, b"")] * 2


def test_fault_says_what_was_answered(caller: Caller) -> None:
    """Section 6.8: a GOAWAY has the last stream that was begun, and says why; nothing is read after it."""
    caller.ask(request(7, ended=False))
    [goaway] = caller.ask(wire.data(0) + request(9) + ping())
    assert (goaway.number, goaway.code) == (7, "PROTOCOL_ERROR")
    assert goaway.payload[8:] == b"the frame is of no stream"
    caller.connection.data_received(request(11))  # as TLS does, which still has it
    assert set(caller.requests) == {7}


def test_end_of_a_connection(loop: Loop) -> None:
    """Section 5.4.1: every stream hears that the caller is gone, once, and those who wait for a window wait no more."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 0))
    caller.say(request(1) + request(3) + request(5, ended=False))
    caller.requests[1].answer(b"x")
    caller.hear()
    caller.leave()
    assert all(each.gone for each in caller.requests.values())
    assert caller.requests[1].task is not None and caller.requests[1].task.done()
    assert caller.connection._streams == {}
    assert caller.closed == 1


def test_answer_to_nobody(loop: Loop) -> None:
    """Whoever answers when the caller is gone hears so."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + wire.reset(1))
    each = caller.requests[1]
    assert each.gone
    each.gone = False
    each.answer(b"x")
    assert caller.hear() == []
    assert each.gone
    caller.leave()


def test_caller_who_says_goodbye(loop: Loop) -> None:
    """Section 6.8: after a caller's GOAWAY its streams are answered, and the connection ends with the last of them."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + request(3) + wire.go_away())
    assert not caller.transport.closing
    for number in (3, 1):
        assert not caller.transport.closing
        caller.requests[number].answer(b"x")
        assert caller.answers(caller.hear()) == {number: b"x"}
    assert caller.transport.closing
    caller.leave()


def test_caller_who_says_goodbye_at_once(caller: Caller) -> None:
    """Where nothing runs, a GOAWAY ends the connection."""
    assert caller.ask(wire.go_away()) == []
    assert caller.transport.closing


def test_leaving(loop: Loop) -> None:
    """Section 6.8: who is asked to leave hears it twice. What it asks for before the second time is answered, what it
    asks for afterwards is not, and with the last answer the connection ends."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.connection.leave()
    first, last = caller.hear()
    assert (first.kind, first.number, first.code) == ("GOAWAY", 2**31 - 1, "NO_ERROR")
    assert (last.kind, last.flags) == ("PING", 0)
    caller.say(request(3, ended=False))
    [second] = caller.ask(ping(last.payload, ACK))
    assert (second.kind, second.number, second.code) == ("GOAWAY", 3, "NO_ERROR")
    late = request(5, ended=False) + wire.data(5, b"x", ended=True) + wire.window(5, 1) + wire.reset(5)
    assert caller.ask(late) == []
    assert caller.ask(wire.data(3, b"abc", ended=True)) == []
    assert set(caller.requests) == {1, 3} and caller.requests[3].body == b"abc"
    for number in (1, 3):
        assert not caller.transport.closing
        caller.requests[number].answer(b"x")
        assert caller.answers(caller.hear()) == {number: b"x"}
    assert caller.transport.closing
    caller.leave()


def test_late_request_is_read(loop: Loop) -> None:
    """Section 4.3: the fields of a request that comes too late are in the table for what is still to come."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1, ended=False))
    caller.connection.leave()
    caller.say(ping(caller.hear()[-1].payload, ACK))
    caller.say(frame("HEADERS", wire.END_HEADERS, 3, wire.block(*wire.POST) + b"\x40\x03x-a\x01b"))
    caller.say(frame("HEADERS", wire.END_HEADERS | wire.END_STREAM, 1, b"\xbe"))
    assert caller.requests[1].complete
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    caller.leave()


def test_leaving_again(caller: Caller) -> None:
    """To be asked twice to leave is as good as once."""
    caller.connection.leave()
    assert len(caller.hear()) == 2
    caller.connection.leave()
    assert caller.hear() == []


def test_leaving_before_hello(loop: Loop) -> None:
    """Where the caller has not said hello there is nobody to be asked."""
    caller = Caller(loop)
    caller.connection.leave()
    assert caller.hear() == []
    assert caller.transport.closing
    caller.leave()


def test_fault_of_ours(caller: Caller) -> None:
    """The server may give a connection up, once."""
    caller.connection.fail(Fault.INTERNAL_ERROR, "a defect")
    caller.connection.fail(Fault.INTERNAL_ERROR, "another one")
    assert fate(caller.hear()) == ["GOAWAY INTERNAL_ERROR"]
    assert caller.transport.closing
