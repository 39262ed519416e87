"""A connection from its first byte to its last, and its streams."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.turns import Turns
from tests.server.grpc.caller import HEAD, LIMITS, TAIL, UNSUPPORTED, Caller, Echo, Loop, Request, Transport, fate
from tests.service.grpc import wire
from tests.service.grpc.wire import ACK, END_HEADERS, END_STREAM, PADDED, PREFACE, data, frame, ping, request, settings

HELLO = PREFACE + settings()


@pytest.fixture
def asker(loop: Loop) -> Iterator[Caller]:
    """Create a client whose requests are answered by the test."""
    caller = Caller(loop, Request)
    caller.greet()
    yield caller
    caller.leave()


def test_lost_calls(asker: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of a lost connection end in several turns, because there can be thousands on other connections."""
    asker.say(b"".join(request(number, ended=False) for number in range(1, 201, 2)))
    monkeypatch.setattr(asker.loop, "tick", 0.0001)
    asker.connection.connection_lost(None)
    left = [len(asker.connection.streams)]
    for _ in range(5):
        asker.loop.turn()
        left.append(len(asker.connection.streams))
    assert 100 > left[0] > left[1] > left[2] > left[3] > 0


def run(asker: Caller, work: Coroutine[Any, Any, None]) -> None:
    """Run the sending tasks."""
    asker.loop.run_until_complete(work)


def shape(frames: list[wire.Frame]) -> list[tuple[str, bool]]:
    """Return the types of the frames, and whether each ends its stream."""
    return [(each.kind, bool(each.flags & END_STREAM)) for each in frames]


# The handshake.


def test_requests_before_the_settings(loop: Loop) -> None:
    """A client can send requests before it has received the server's SETTINGS."""
    caller = Caller(loop)
    frames = caller.ask(HELLO + request(1))
    assert (frames[0].kind, frames[0].flags) == ("SETTINGS", 0)
    assert frames[0].settings[wire.MAX_CONCURRENT_STREAMS] == LIMITS.streams
    assert caller.answers(frames) == {1: b""}
    caller.leave()


def test_byte_by_byte(loop: Loop) -> None:
    """A request whose bytes arrive one by one is read correctly."""
    caller = Caller(loop)
    for byte in HELLO + request(1, ended=False) + data(1, b"abc", ended=True):
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
    """A connection that does not begin with HTTP/2's preface is closed, and counted as malformed."""
    caller = Caller(loop)
    assert fate(caller.ask(OTHERS[protocol])) == []
    assert caller.transport.closing and caller.failures == ["malformed"]
    caller.leave()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"])
def test_http1(loop: Loop, method: str) -> None:
    """A client that speaks HTTP/1.1 gets an HTTP/1.1 response and nothing before it."""
    caller = Caller(loop)
    caller.say(f"{method} / HTTP/1.1\r\nhost: here\r\n\r\n".encode())
    head, _, body = caller.transport.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 505 ") and b"content-length: %d" % len(body) in head
    assert b"HTTP/2" in body
    assert caller.transport.closing
    caller.leave()


def test_http1_within_a_request(caller: Caller) -> None:
    """Bytes that look like HTTP/1.1 are content if they follow the beginning of a frame."""
    text = b"POST / HTTP/1.1\r\n\r\n"
    begin = request(1, ended=False) + data(1, text, ended=True)[: -len(text)]
    assert caller.ask(begin) == []
    assert caller.answers(caller.ask(text)) == {1: text}
    assert not caller.transport.closing


# Streams.


def test_unary_call_is_one_write(asker: Caller) -> None:
    """A small answer is sent in one write: head, content and trailers."""
    asker.say(request(1, ended=False) + data(1, b"x", ended=True))
    writes: list[bytes] = []
    asker.transport.write = writes.append  # type: ignore[assignment]
    run(asker, asker.connection.sender.send(asker.requests[1], b"answer", head=HEAD, trailers=TAIL))
    [written] = writes
    frames, _ = wire.read(written)
    assert shape(frames) == [("HEADERS", False), ("DATA", False), ("HEADERS", True)]
    assert asker.answers(frames) == {1: b"answer"}


def test_several_sends(asker: Caller) -> None:
    """An answer can be sent in parts and end with trailers."""
    asker.say(request(1))
    each = asker.requests[1]
    run(asker, asker.connection.sender.send(each, b"a", head=HEAD))
    run(asker, asker.connection.sender.send(each, b"b"))
    asker.connection.sender.finish(each, None, TAIL)
    frames = asker.hear()
    assert shape(frames) == [("HEADERS", False), ("DATA", False), ("DATA", False), ("HEADERS", True)]
    assert asker.answers(frames) == {1: b"ab"}


def test_ends_of_requests(asker: Caller) -> None:
    """A stream learns with the content whether the request is complete, even if the end arrives separately."""
    asker.say(request(1, ended=False) + request(3, ended=False) + request(5))
    first, second, third = (asker.requests[number] for number in (1, 3, 5))
    asker.say(data(1, b"a"))
    assert (first.body, first.complete) == (b"a", False)
    asker.say(data(1, ended=True) + frame("DATA", PADDED, 3, b"\x02bb\0\0"))
    assert (first.body, first.complete) == (b"a", True)
    assert (second.body, second.complete) == (b"bb", False)
    asker.say(request(3, head=[("x-a", "b")]))
    assert (second.body, second.complete) == (b"bb", True)
    assert third.complete


def test_reset_by_the_client(asker: Caller) -> None:
    """A stream that the client resets is told once, and sends nothing more."""
    asker.say(request(1))
    asker.requests[1].answer(bytes(100_000))
    asker.hear()
    asker.say(wire.reset(1))
    asker.settle()
    each = asker.requests[1]
    assert each.gone and each.cut
    assert each.task is not None and each.task.done()
    assert asker.ask(wire.window(0, 10**6) + wire.reset(1)) == []
    with pytest.raises(ClientDisconnected):
        run(asker, asker.connection.sender.send(each, b"x"))
    with pytest.raises(ClientDisconnected):
        asker.connection.sender.finish(each, None, TAIL)
    assert asker.hear() == []


def test_reset_before_the_answer(asker: Caller) -> None:
    """An answer to a stream that was reset in the same read is dropped."""
    asker.say(request(1) + wire.reset(1))
    each = asker.requests[1]
    assert each.gone
    each.answer(b"x")
    assert asker.hear() == []


def test_reset_while_it_waits(asker: Caller) -> None:
    """A waiting stream can be reset by bytes of the same read."""
    asker.say(request(1))
    asker.requests[1].answer(bytes(100_000))
    asker.hear()
    asker.say(wire.reset(1) + request(3) + wire.window(0, 1) + settings())
    asker.requests[3].answer(b"x")
    assert asker.answers(asker.hear()) == {3: b"x"}


VIOLATIONS = {
    "window": (wire.window(1, 2**31 - 1), "GOAWAY FLOW_CONTROL_ERROR"),
    "data after the end": (data(1, b"x"), "GOAWAY STREAM_CLOSED"),
    "second request": (request(1), "GOAWAY STREAM_CLOSED"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_violations(asker: Caller, violation: str) -> None:
    """A violation of the protocol on a stream ends the connection, and its streams are told once."""
    sent, end = VIOLATIONS[violation]
    asker.say(request(1) + request(3, ended=False))
    asker.requests[1].answer(bytes(100_000))
    asker.say(wire.window(1, 1))
    asker.hear()
    assert fate(asker.ask(sent)) == [end]
    assert all(each.gone and each.cut for each in asker.requests.values())
    assert not asker.connection.streams
    assert asker.transport.closing and asker.failures == ["malformed"]


@pytest.mark.parametrize("head", [wire.POST, UNSUPPORTED], ids=["call", "unsupported"])
def test_violation_behind_a_request(
    asker: Caller, head: tuple[tuple[str, str], ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A request that arrives together with a later violation ends with the connection, without an error in the log."""
    assert fate(asker.ask(request(1, head=head) + data(0, b"x"))) == ["GOAWAY PROTOCOL_ERROR"]
    assert asker.transport.closing and asker.failures == ["malformed"]
    assert "a gRPC connection failed" not in caplog.text


def test_sender_that_is_cancelled(asker: Caller) -> None:
    """A sending task that is cancelled leaves its stream as it is and lets the next one send."""
    asker.say(request(1) + request(3) + settings((wire.INITIAL_WINDOW_SIZE, 10**6)))
    first, second = asker.requests[1], asker.requests[3]
    first.answer(bytes(70_000))
    asker.hear()
    second.answer(b"second")
    frames = asker.hear()
    asker.say(wire.window(0, 6))  # which is the first one's turn
    assert first.task is not None
    first.task.cancel()
    assert asker.answers(frames + asker.hear()) == {3: b"second"}
    asker.connection.sender.finish(first, None, TAIL)
    assert [each.stream for each in asker.ask(wire.window(0, 1))] == [1]


def test_answer_before_the_end(asker: Caller) -> None:
    """An answer before the end of the request asks the client to stop; later data only returns its window."""
    asker.say(request(1, ended=False) + data(1, b"x"))
    asker.requests[1].answer(b"enough")
    frames = asker.hear()
    assert asker.answers(frames) == {1: b"enough"}
    assert fate(frames) == ["RST_STREAM 1 NO_ERROR"]
    asker.say(data(1, b"y"))
    assert asker.requests[1].body == b"x" and not asker.requests[1].gone
    assert not asker.transport.closing


def test_streams_at_once(asker: Caller) -> None:
    """An ended stream makes room for another one, and a client that opens too many loses its connection."""
    for number in range(LIMITS.streams):
        asker.say(request(2 * number + 1))
    assert fate(asker.ask(wire.reset(1) + request(201))) == []
    asker.requests[3].answer(b"x")
    assert asker.answers(asker.hear()) == {3: b"x"}
    assert fate(asker.ask(request(203))) == []
    assert fate(asker.ask(request(205))) == ["GOAWAY PROTOCOL_ERROR"]
    assert all(each.gone for each in asker.requests.values() if each.id > 3)


def test_streams_before_the_limit_is_known(loop: Loop) -> None:
    """Streams over the limit are refused one by one while the client may not know it, and their blocks are read."""
    caller = Caller(loop, Request)
    caller.ask(HELLO)
    head = wire.block(*wire.POST)
    for number in range(LIMITS.streams):
        caller.say(request(2 * number + 1))
    assert fate(caller.ask(frame("HEADERS", 5, 201, head + b"\x40\x03x-a\x01b"))) == ["RST_STREAM 201 REFUSED_STREAM"]
    assert fate(caller.ask(wire.reset(1) + frame("HEADERS", 5, 203, head + b"\xbe"))) == []
    assert caller.requests[203].fields[b"x-a"] == b"b"
    caller.leave()


def test_exception_in_the_application(asker: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception while frames are read closes the connection and is logged."""
    asker.say(request(1, ended=False))
    asker.requests[1].complete = True  # which `received` does not expect
    asker.say(data(1, b"x"))
    assert asker.transport.closing and asker.requests[1].gone
    assert "a gRPC connection failed" in caplog.text


# Requests that are not gRPC calls.


def unsupported(number: int, *, ended: bool = True) -> bytes:
    """Build a request with an unsupported content type."""
    return request(number, ended=ended, head=UNSUPPORTED)


def test_unsupported(asker: Caller) -> None:
    """The request gets status 415 and a text, and the connection accepts the next request."""
    head, body = asker.ask(unsupported(1))
    assert dict(wire.fields(head.payload)) == {":status": "415", "content-type": "text/plain"}
    assert body.payload == b"this port serves gRPC only\n"
    assert shape([head, body]) == [("HEADERS", False), ("DATA", True)]
    assert not asker.connection.streams
    asker.say(request(3))
    assert set(asker.requests) == {3}


def test_unsupported_that_does_not_end(asker: Caller) -> None:
    """The rest of the request is not read, and the connection accepts the next request."""
    answer = asker.ask(unsupported(1, ended=False))
    assert shape(answer) == [("HEADERS", False), ("DATA", True), ("RST_STREAM", False)]
    assert fate(answer) == ["RST_STREAM 1 NO_ERROR"]
    asker.say(data(1, bytes(1000)) + request(3))
    assert set(asker.requests) == {3}


def test_unsupported_within_small_windows(asker: Caller) -> None:
    """If the window has no room for the text, the request gets the status alone."""
    answer = asker.ask(settings((wire.INITIAL_WINDOW_SIZE, 5)) + unsupported(1))
    assert shape(answer)[-1] == ("HEADERS", True)
    assert not asker.connection.streams


# The end.


def test_lost_connection(loop: Loop) -> None:
    """If the client disconnects, every stream is told once, and none waits for a window."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 0))
    caller.say(request(1) + request(3) + request(5, ended=False))
    caller.requests[1].answer(b"x")
    caller.hear()
    caller.leave()
    assert all(each.gone for each in caller.requests.values())
    assert caller.requests[1].task is not None and caller.requests[1].task.done()
    assert caller.closed == 1


def test_goaway_after_a_failure(caller: Caller) -> None:
    """A GOAWAY names the last stream. The server then reads nothing, and every stream is told."""
    caller.ask(request(7, ended=False))
    [goaway] = caller.ask(data(0) + request(9) + ping())
    assert (goaway.number, goaway.code) == (7, "PROTOCOL_ERROR")
    caller.connection.data_received(request(11))  # as TLS does, which still has it
    caller.settle()
    assert set(caller.requests) == {7} and caller.requests[7].gone


def test_goaway_of_the_client(asker: Caller) -> None:
    """After a client's GOAWAY, its streams are answered, and the connection closes after the last one."""
    asker.say(request(1) + request(3, ended=False) + wire.go_away() + data(3, b"x", ended=True))
    assert asker.requests[3].complete
    for number in (3, 1):
        assert not asker.transport.closing
        asker.requests[number].answer(b"x")
        assert asker.answers(asker.hear()) == {number: b"x"}
    assert asker.transport.closing and not asker.transport.aborted


def test_goaway_of_a_client_without_calls(caller: Caller) -> None:
    """A GOAWAY closes a connection without streams, and leaves nothing on the event loop."""
    assert caller.ask(wire.go_away() + ping()) == []
    assert caller.transport.closing
    assert not any(map(any, caller.connection.turns._waiting)) and not caller.connection._waiting


def test_shutdown(asker: Caller) -> None:
    """A shutdown sends two GOAWAYs: requests before the second are answered, and later ones are refused."""
    asker.say(request(1))
    asker.connection.shutdown()
    first, last = asker.hear()
    assert (first.kind, first.number, first.code) == ("GOAWAY", 2**31 - 1, "NO_ERROR")
    assert (last.kind, last.flags) == ("PING", 0)
    asker.say(request(3, ended=False))
    [second] = asker.ask(ping(last.payload, ACK))
    assert (second.kind, second.number, second.code) == ("GOAWAY", 3, "NO_ERROR")
    late = request(5, ended=False) + data(5, b"x", ended=True) + wire.window(5, 1) + wire.reset(5)
    assert set(fate(asker.ask(late))) <= {"RST_STREAM 5 REFUSED_STREAM", "RST_STREAM 5 STREAM_CLOSED"}
    assert fate(asker.ask(data(3, b"abc", ended=True))) == []
    assert set(asker.requests) == {1, 3} and asker.requests[3].body == b"abc"
    for number in (1, 3):
        assert not asker.transport.ended
        asker.requests[number].answer(b"x")
        assert asker.answers(asker.hear()) == {number: b"x"}
    assert asker.transport.ended


def test_client_that_sends_until_it_reads_the_last_answer(asker: Caller) -> None:
    """After the last answer the server reads on for a while, because a close would be a reset for such a client."""
    asker.say(request(1, ended=False))
    asker.connection.shutdown()
    asker.ask(ping(asker.hear()[-1].payload, ACK))
    asker.requests[1].answer(b"x")
    assert asker.answers(asker.hear()) == {1: b"x"}
    assert asker.transport.ended and not asker.transport.closing
    asker.say(data(1, b"still sending") + ping())
    asker.wait(1)
    assert not asker.transport.closing
    asker.wait(1)
    assert asker.transport.closing


def test_shutdown_of_a_client_that_does_not_answer(asker: Caller) -> None:
    """A client that does not answer the ping gets the second GOAWAY a little later."""
    asker.say(request(1))
    asker.connection.shutdown()
    asker.hear()
    asker.wait(2)
    [goaway] = asker.hear()
    assert (goaway.kind, goaway.number) == ("GOAWAY", 1)
    assert not asker.transport.closing


def test_late_request_is_read(asker: Caller) -> None:
    """The fields of a request that arrives after the shutdown stay in HPACK's table for later frames."""
    asker.say(request(1, ended=False))
    asker.connection.shutdown()
    asker.say(ping(asker.hear()[-1].payload, ACK))
    asker.say(frame("HEADERS", END_HEADERS, 3, wire.block(*wire.POST) + b"\x40\x03x-a\x01b"))
    asker.say(frame("HEADERS", END_HEADERS | END_STREAM, 1, b"\xbe"))
    assert asker.requests[1].complete
    assert fate(asker.hear()) == ["GOAWAY NO_ERROR"]


def test_shutdown_again(caller: Caller) -> None:
    """A second shutdown has no effect."""
    caller.connection.shutdown()
    assert len(caller.hear()) == 2
    caller.connection.shutdown()
    assert caller.hear() == []


def test_shutdown_before_the_handshake(loop: Loop) -> None:
    """At shutdown, a connection before its handshake is closed without a GOAWAY."""
    caller = Caller(loop)
    caller.connection.shutdown()
    assert caller.hear() == []
    assert caller.transport.closing
    caller.leave()


def test_shutdown_of_a_failed_connection(caller: Caller) -> None:
    """At shutdown, a connection that has failed but waits for its client sends nothing more."""
    caller.say(data(0))
    unread = bytes(caller.transport.unread)
    caller.connection.shutdown()
    caller.wait(5)
    assert caller.transport.unread == unread


def test_echo(loop: Loop) -> None:
    """Many successive calls leave nothing behind."""
    caller = Caller(loop, Echo)
    caller.greet()
    for number in range(1, 2001, 2):
        assert caller.answers(caller.ask(request(number, ended=False) + data(number, b"x", ended=True))) == {
            number: b"x"
        }
    caller.leave()


def test_connection_that_is_never_made(loop: Loop) -> None:
    """A connection whose TLS handshake fails leaves nothing to the garbage collector."""
    made = GrpcConnection(loop, LIMITS, Turns(loop), Buffers(0), lambda *request: None, lambda connection: None)
    connection = weakref.ref(made)
    del made
    assert connection() is None


def test_lost_connections_are_in_no_reference_cycle(loop: Loop) -> None:
    """A connection that is lost is freed at once, without the garbage collector."""
    made = GrpcConnection(loop, LIMITS, Turns(loop), Buffers(0), lambda *request: None, lambda connection: None)
    made.connection_made(Transport(made))
    made.connection_lost(None)
    del made.transport  # this one refers to the connection
    connection = weakref.ref(made)
    gc.disable()
    try:
        del made
        assert connection() is None
    finally:
        gc.enable()
