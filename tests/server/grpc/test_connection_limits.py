"""Hostile and idle clients: their cost is limited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from sentiment_conv1d.server.grpc import connection
from sentiment_conv1d.server.grpc import frame_limits as module
from sentiment_conv1d.server.grpc.http2 import _MAX_SILENT_BYTES as SILENT
from sentiment_conv1d.server.grpc.http2 import PIECE_BYTES
from sentiment_conv1d.server.network.turns import Turns
from tests.server.grpc.caller import BUFFERED, HEAD, LIMITS, UNSUPPORTED, Caller, Loop, Request, fate
from tests.service.grpc import wire
from tests.service.grpc.wire import ACK, END_STREAM, PADDED, POST, PREFACE, Frame, data, frame, ping, request, settings

#: The fields of a short request: POST, http, / and the authority h.
SHORT = b"\x83\x86\x84\x01\x01h"


def short(stream: int, *, ended: bool = True) -> bytes:
    """Build a short request."""
    return frame("HEADERS", 4 | ended, stream, SHORT)


def numbers(count: int) -> range:
    """Return the identifiers of `count` streams."""
    return range(1, 2 * count + 1, 2)


# Floods.

#: The number of frames that a client may send, and the frames.
FLOODS: dict[str, tuple[int, Callable[[int], bytes]]] = {
    "rapid reset": (module._MANY_RESETS, lambda number: short(number) + wire.reset(number)),
    "settings": (400, lambda number: settings()),
    "settings that change the window": (400, lambda number: settings((wire.INITIAL_WINDOW_SIZE, number))),
    "settings that change the table": (400, lambda number: settings((wire.HEADER_TABLE_SIZE, number))),
    "empty data": (400, lambda number: (b"" if number > 1 else short(1, ended=False)) + data(1)),
    "empty data with padding": (
        400,
        lambda number: (b"" if number > 1 else short(1, ended=False)) + frame("DATA", PADDED, 1, b"\x01\0"),
    ),
    "priorities": (SILENT // 14, lambda number: frame("PRIORITY", 0, number, bytes((0, 0, 0, 0, 9)))),
    "unknown frames": (SILENT // 9, lambda number: frame(0x16)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_flood(loop: Loop, flood: str) -> None:
    """A limited number of frames without effect is accepted, and more of them close the connection."""
    caller = Caller(loop, Request)
    caller.greet()
    most, flooding = FLOODS[flood]
    for number in numbers(most):
        caller.say(flooding(number))
    assert not caller.transport.closing
    assert fate(caller.hear()) == []
    for number in numbers(2 * most + 3)[most:]:
        caller.say(flooding(number))
    assert fate(caller.hear())[-1] == "GOAWAY ENHANCE_YOUR_CALM"
    assert caller.transport.closing and caller.failures == ["limit"]
    assert all(each.gone for each in caller.requests.values())
    caller.leave()


#: Streams that the library refuses.
REFUSALS: dict[str, Callable[[int], bytes]] = {
    "malformed": lambda number: request(number, ("X-A", "b")),
    "more content than stated": lambda number: (
        request(number, ("content-length", "1"), ended=False) + data(number, b"xx")
    ),
    "over the limit": short,
}


@pytest.mark.parametrize("reset", ["not", "at once", "later"])
@pytest.mark.parametrize("refused", REFUSALS)
def test_refused_streams(loop: Loop, refused: str, reset: str) -> None:
    """Every stream that the library refuses counts once as a reset, even if the client resets it too."""
    caller = Caller(loop, Request)
    caller.say(PREFACE + settings())  # and no acknowledgement of the limit
    open_streams = LIMITS.streams if refused == "over the limit" else 0
    caller.say(b"".join(map(short, numbers(open_streams))))
    streams = iter(numbers(open_streams + module._MAX_RESETS + 1)[open_streams:])

    def refuse(count: int) -> set[str]:
        for number in islice(streams, count):
            caller.say(REFUSALS[refused](number) + (wire.reset(number) if reset == "at once" else b""))
            caller.say(wire.reset(number) if reset == "later" else b"")
        return {each.split()[-1] for each in fate(caller.hear())}

    code = "REFUSED_STREAM" if open_streams else "PROTOCOL_ERROR"
    assert refuse(module._MANY_RESETS) == {code}
    assert refuse(1) == {code, "NO_ERROR"}
    assert refuse(module._MAX_RESETS - module._MANY_RESETS - 1) == {code}
    assert refuse(1) == {code, "ENHANCE_YOUR_CALM"}
    assert caller.failures == ["limit"]
    caller.leave()


def test_resets_of_the_service(loop: Loop) -> None:
    """Streams that the service resets do not count, even if the client resets them too."""
    caller = Caller(loop, Request)
    caller.greet()
    for number in numbers(module._MAX_RESETS + 100):
        frames = caller.ask(request(number, head=UNSUPPORTED, ended=False))
        assert fate(frames) == [f"RST_STREAM {number} NO_ERROR"]
        caller.say(wire.reset(number))
    assert not caller.transport.closing
    caller.leave()


def test_limits_are_logged(loop: Loop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exceeded limit is logged with the client's address, and a violation of the protocol is not."""
    monkeypatch.setattr(connection.logger, "filters", [])  # which count the lines of other tests
    for sent in (settings() * 1000, data(0, b"x")):
        caller = Caller(loop)
        caller.greet()
        caller.say(sent)
        assert caller.transport.closing
        caller.leave()
    [record] = caplog.records
    assert record.message == "ended a gRPC connection: too many frames without effect"
    assert vars(record)["client"] == "192.0.2.1"


def test_settings_over_time(caller: Caller) -> None:
    """Some hundred SETTINGS per second are accepted."""
    for _ in range(30):
        assert [each.kind for each in caller.ask(settings() * 100)] == ["SETTINGS"] * 100
        caller.wait(1)


def test_calls_given_up(loop: Loop) -> None:
    """A client that cancels many calls is asked to reconnect, and the calls that it does not cancel are answered."""
    caller = Caller(loop, Request)
    caller.greet()
    for number in numbers(module._MANY_RESETS):
        assert caller.ask(short(number) + wire.reset(number)) == []
    caller.say(short(1001) + short(1003))
    assert fate(caller.ask(wire.reset(1001))) == ["GOAWAY NO_ERROR"]
    caller.requests[1003].answer(b"x")
    assert caller.answers(caller.hear()) == {1003: b"x"}
    caller.wait(2)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    assert caller.transport.ended and not caller.transport.aborted
    caller.leave()


def test_resets_over_time(loop: Loop) -> None:
    """A hundred cancelled calls per second are accepted."""
    caller = Caller(loop, Request)
    caller.greet()
    for second in range(12):
        for number in numbers(module._FORGIVEN_RESETS):
            assert caller.ask(short(1000 * second + number) + wire.reset(1000 * second + number)) == []
        caller.wait(1)
    caller.leave()


class Overdue(Request):
    """A request whose deadline has passed."""

    overdue = True


@pytest.mark.parametrize("answered", [False, True], ids=["waiting", "answered"])
def test_resets_at_deadlines(loop: Loop, answered: bool) -> None:
    """Resets of calls whose deadline has passed, or that have been answered, are accepted in any number."""
    caller = Caller(loop, Request if answered else Overdue)
    caller.greet()
    for burst in range(20):
        burst_numbers = [200 * burst + number for number in numbers(LIMITS.streams)]
        caller.say(b"".join(map(short, burst_numbers)))
        for number in burst_numbers if answered else ():
            caller.requests[number].answer(b"x")
        caller.hear()
        assert fate(caller.ask(b"".join(map(wire.reset, burst_numbers)))) == []
    assert not caller.transport.closing
    caller.leave()


def test_many_requests(caller: Caller) -> None:
    """A connection answers any number of requests."""
    for number in numbers(10_000):
        caller.say(short(number))
        if number % 100 == 1:
            assert {each.kind for each in caller.hear()} == {"HEADERS"}
    assert not caller.transport.closing


def test_acknowledgements_cost_nothing(caller: Caller) -> None:
    """Frames that clients have to send are accepted in any number."""
    assert caller.ask((ping(flags=ACK) + wire.window(0, 1)) * 5000) == []
    assert caller.answers(caller.ask(short(1))) == {1: b""}


def test_data_after_the_end_of_a_stream(loop: Loop) -> None:
    """Data that arrives after its stream has ended is accepted in any number of frames, and its window is returned."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(short(1, ended=False))
    caller.requests[1].answer(b"no")
    assert fate(caller.hear()) == ["RST_STREAM 1 NO_ERROR"]
    for _ in range(3000):
        caller.ask(data(1, bytes(16_384)))  # twice the connection's window
    assert not caller.transport.closing
    caller.leave()


def test_pings(caller: Caller) -> None:
    """Of a flood of pings only those are answered that are read together."""
    *pongs, goaway = caller.ask(ping() * 1000)
    assert {each.kind for each in pongs} == {"PING"} and len(pongs) <= PIECE_BYTES // len(ping())
    assert (goaway.kind, goaway.code, goaway.payload[8:]) == ("GOAWAY", "ENHANCE_YOUR_CALM", b"too_many_pings")


def test_early_pings(loop: Loop) -> None:
    """A ping every ten seconds is accepted, and three faster ones without an answer in between are not."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + request(3, ended=False))
    for _ in range(5):
        assert caller.ask(ping()) == [Frame("PING", ACK, 0, b"12345678")]
        caller.wait(10)
        caller.hear()
    for _ in range(3):
        assert fate(caller.ask(ping())) == []
    caller.requests[1].answer(b"x")
    assert caller.answers(caller.hear()) == {1: b"x"}
    for _ in range(2):
        assert fate(caller.ask(ping())) == []
    [*_, goaway] = caller.ask(ping())
    assert (goaway.kind, goaway.code, goaway.payload[8:]) == ("GOAWAY", "ENHANCE_YOUR_CALM", b"too_many_pings")
    assert caller.transport.closing
    caller.leave()


def test_pings_between_answers_of_a_stream(loop: Loop) -> None:
    """A client can ping after every answer of a stream, as clients that measure bandwidth do."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1, ended=False))
    each = caller.requests[1]
    loop.run_until_complete(caller.connection.sender.send(each, b"a", head=HEAD))
    for _ in range(20):
        caller.say(ping())
        loop.run_until_complete(caller.connection.sender.send(each, b"a"))
    assert fate(caller.hear()) == []
    caller.leave()


# Memory.


@pytest.fixture
def ticking(loop: Loop) -> Iterator[Loop]:
    """Return an event loop whose clock advances at every frame."""
    loop.tick = 0.00001
    yield loop
    loop.tick = 0.0


def test_half_a_frame(caller: Caller) -> None:
    """One incomplete frame is accepted, and a client that sends only parts of frames is asked to disconnect."""
    caller.say((16_384).to_bytes(3) + b"\x16\0\0\0\0\1")
    for _ in range(300):
        caller.wait(1)
        caller.say(bytes(50))
    assert caller.unread < 16_384 + 9
    assert caller.held == 0
    caller.wait(4)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"] * 2
    assert caller.transport.ended


def unfinished() -> bytes:
    """Build a header block with a value of 30,000 bytes and without an end, and an incomplete frame."""
    block = SHORT + b"\x00\x01a\x7f\xb1\xe9\x01" + b"x" * 30_000
    return frame("HEADERS", END_STREAM, 1, block[:16_384]) + frame("CONTINUATION", 0, 1, block[16_384:])[:-1]


def test_incomplete_blocks_are_counted(caller: Caller) -> None:
    """The bytes of a header block beyond one frame count in memory until the block ends."""
    caller.say(unfinished())
    assert caller.held == 3 * (len(unfinished()) - 16_393) > 39_000
    assert caller.answers(caller.ask(b"x" + frame("CONTINUATION", 4, 1, b""))) == {1: b""}
    assert caller.held == 0


def bombs(first: int) -> bytes:
    """Build 20 requests that repeat a field of 4 kB from HPACK's table, and that are reset: 600 kB when parsed."""
    streams = range(first, first + 40, 2)
    return b"".join(frame("HEADERS", 5, stream, SHORT + b"\xbe" * 7) + wire.reset(stream) for stream in streams)


@pytest.mark.parametrize("memory", [True, False], ids=["memory", "no memory"])
def test_queued_events_are_counted(ticking: Loop, memory: bool) -> None:
    """The events of a piece count in memory while they wait for the connection's turn. Without memory, it is closed."""
    caller = Caller(ticking, Request)
    caller.greet()
    caller.say(frame("HEADERS", 5, 1, SHORT + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968))
    others = 0 if memory else BUFFERED - 200_000
    caller.buffers.hold(others)
    ticking.tick = 0.0002
    caller.say(bombs(3))
    assert caller.held > 400_000 if memory else caller.held == others
    assert caller.failures == ([] if memory else ["limit"])
    caller.hear()
    assert caller.held == others
    caller.buffers.add(-others)
    caller.leave()


@pytest.mark.parametrize("end", ["lost", "failed", "shut down"])
def test_incomplete_blocks_are_released(loop: Loop, end: str) -> None:
    """This memory is released at every kind of end of the connection."""
    caller = Caller(loop)
    caller.greet()
    caller.say(unfinished())
    assert caller.held > 0
    if end == "failed":
        caller.say(bytes(1) + data(1, b"x"))
        assert caller.held == 0
    elif end == "shut down":
        caller.connection.shutdown()
        caller.wait(4)
        assert caller.transport.closing
    caller.leave()


def test_no_memory_for_incomplete_blocks(caller: Caller) -> None:
    """If there is no memory for the header block, the connection is closed."""
    caller.buffers.hold(BUFFERED - 1000)
    assert fate(caller.ask(unfinished())) == ["GOAWAY ENHANCE_YOUR_CALM"]
    assert caller.transport.closing
    caller.buffers.add(-(BUFFERED - 1000))


def test_lost_connection_beyond_the_limit(loop: Loop) -> None:
    """A connection with an incomplete header block ends even while unread answers of others exceed the limit."""
    caller = Caller(loop)
    caller.greet()
    caller.say(unfinished())
    assert caller.held > 0
    caller.buffers.add(BUFFERED + 1)
    caller.connection.connection_lost(None)
    assert caller.closed == 1 and caller.held == BUFFERED + 1


def test_unread_answers(loop: Loop) -> None:
    """The server stops reading from a client that sends requests and reads nothing, and counts the unsent bytes."""
    caller = Caller(loop)
    caller.greet()
    number = 1
    while caller.transport.reading:
        caller.say(short(number, ended=False) + data(number, bytes(1000), ended=True))
        caller.settle()
        number += 2
    assert len(caller.transport.unread) < 40_000
    caller.wait(1)
    assert caller.buffers.held == len(caller.transport.unread)
    frames = caller.hear()
    assert caller.answers(frames) == {each: bytes(1000) for each in range(1, number, 2)}
    caller.leave()


# Turns of the event loop.


HEAVY = {
    "windows": wire.window(0, 1) * 20_000,
    "data byte by byte": data(1, b"x") * 20_000,
    "requests": b"".join(short(number) + wire.window(0, 1) * 100 for number in range(3, 103, 2)),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_others_get_their_turn(ticking: Loop, kind: str) -> None:
    """Many frames that arrive at once are read in several turns, and the server receives nothing meanwhile."""
    caller = Caller(ticking, Request)
    caller.greet()
    caller.say(short(1, ended=False))
    caller.say(HEAVY[kind])
    turns = 0
    while not caller.transport.reading:
        assert caller.connection.idle_until is None
        assert caller.connection.running
        ticking.turn()
        turns += 1
    assert turns >= 2
    assert caller.unread == 0
    assert "GOAWAY" not in {each.kind for each in caller.hear()}
    caller.leave()


def test_running_between_turns(ticking: Loop) -> None:
    """A connection without a call is running while what it has received waits to be read."""
    caller = Caller(ticking)
    caller.greet()
    caller.say(HEAVY["windows"])
    assert not caller.transport.reading and not caller.connection.streams
    assert caller.connection.running
    caller.hear()
    assert not caller.connection.running
    caller.leave()


def test_turns_keep_the_order(ticking: Loop) -> None:
    """Bytes that arrive during other connections' turns are read in order, and a failure drops them."""
    caller = Caller(ticking)
    caller.greet()
    caller.say(wire.window(0, 1) * 5000 + short(1, ended=False))
    left, more = caller.unread, data(1, b"after", ended=True)
    caller.connection.data_received(more)  # as TLS does, which still has it
    assert caller.unread == left + len(more)
    assert caller.answers(caller.hear()) == {1: b"after"}
    caller.say(wire.window(0, 1) * 5000 + data(0) + short(3))
    assert fate(caller.hear()) == ["GOAWAY PROTOCOL_ERROR"]
    assert set(caller.requests) == {1}
    caller.leave()


def test_turns_of_a_client_that_does_not_read(ticking: Loop) -> None:
    """The server does not receive from a client that does not read, even after its turns."""
    caller = Caller(ticking, Request)
    caller.greet()
    caller.say(short(1))
    caller.requests[1].answer(bytes(65_530))
    caller.settle()
    assert not caller.transport.reading
    caller.connection.data_received(wire.window(0, 1) * 5000)
    caller.settle()
    assert caller.unread == 0 and not caller.transport.reading
    assert caller.answers(caller.hear()) == {1: bytes(65_530)}
    assert caller.transport.reading
    caller.leave()


def test_lost_between_turns(ticking: Loop) -> None:
    """A connection that closes before its turn is not read, counts no memory and takes no more turns."""
    turns = Turns(ticking)
    caller = Caller(ticking, turns=turns)
    caller.greet()
    caller.say(wire.window(0, 1) * 5000 + short(1))
    assert any(map(any, turns._waiting))
    caller.leave()
    assert caller.requests == {}
    assert not any(map(any, turns._waiting)) and not turns._begun


def test_defect_in_a_turn(ticking: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception closes its own connection, and the others continue."""
    turns = Turns(ticking)
    broken, other = (Caller(ticking, Request, turns=turns) for _ in range(2))
    for caller in (broken, other):
        caller.greet()
        caller.say(short(1, ended=False) + wire.window(0, 1) * 1000)
    broken.requests[1].complete = True  # which `received` does not expect
    broken.connection.data_received(data(1, b"x"))
    other.connection.data_received(data(1, b"x"))
    other.settle()
    assert broken.transport.closing and "a gRPC connection failed" in caplog.text
    assert other.requests[1].body == b"x" and other.transport.reading
    broken.leave()
    other.leave()


# Time.


@pytest.mark.parametrize("said", [b"", PREFACE[:20], PREFACE, PREFACE + settings()[:-1]])
def test_handshake(loop: Loop, said: bytes) -> None:
    """A client that has not sent its SETTINGS after `handshake_seconds` is disconnected, even if it sends bytes."""
    caller = Caller(loop, Request)
    caller.say(said)
    caller.wait(10)
    assert not caller.transport.closing
    caller.wait(1)
    assert caller.transport.aborted
    caller.leave()


def test_handshake_in_time(loop: Loop) -> None:
    """A client that has completed the handshake can wait."""
    caller = Caller(loop)
    caller.wait(9)
    caller.greet()
    caller.wait(9)
    assert caller.answers(caller.ask(request(1))) == {1: b""}
    caller.leave()


def test_unfinished_header_block(loop: Loop) -> None:
    """A client that keeps the memory of a header block for more than `header_seconds` is disconnected."""
    caller = Caller(loop)
    caller.greet()
    caller.live(100)
    caller.say(unfinished())
    caller.wait(20)
    assert not caller.transport.aborted
    caller.wait(2)
    assert caller.transport.aborted
    caller.leave()


def test_idle(loop: Loop) -> None:
    """A connection without a stream for `idle_seconds` is asked to disconnect, and closed a little later."""
    caller = Caller(loop)
    caller.greet()
    caller.live(200)
    assert caller.answers(caller.ask(request(1))) == {1: b""}
    caller.live(300)
    assert caller.hear() == []
    caller.wait(2)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    assert not caller.transport.closing
    caller.wait(2)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    assert caller.transport.ended and not caller.transport.aborted
    caller.leave()


def test_stream_is_not_idle(loop: Loop) -> None:
    """A stream keeps its connection open while the client answers pings."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.live(3000)
    assert caller.hear() == []
    caller.leave()


def test_idle_until(loop: Loop) -> None:
    """Idle connections and those with parked calls are evicted, least recently active first, and busy ones never."""
    caller = Caller(loop, Request)
    born = loop.now
    caller.say(PREFACE)
    assert caller.connection.idle_until is None  # the server's SETTINGS are unread
    caller.hear()
    assert caller.connection.idle_until == born + LIMITS.handshake_seconds
    loop.now += 5
    caller.ask(settings())
    caller.connection.enforce_timeouts(loop.now)
    assert caller.connection.idle_until == born + LIMITS.idle_seconds
    caller.say(request(1) + request(3))
    assert caller.connection.idle_until is None
    caller.wait(7)
    for each in caller.requests.values():
        each.waiting = True
    parked = loop.now + LIMITS.idle_seconds
    assert caller.connection.idle_until == parked
    caller.wait(7)
    assert caller.connection.idle_until == parked
    caller.requests[1].waiting = False
    assert caller.connection.idle_until is None
    for each in caller.requests.values():
        each.answer(b"x")
    caller.hear()
    assert caller.connection.idle_until == loop.now + LIMITS.idle_seconds
    caller.transport.close()
    assert caller.connection.idle_until is None
    caller.leave()


def test_running(loop: Loop) -> None:
    """A connection is running while the application works for a call, and not while a call waits for its client."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 5))
    assert not caller.connection.running
    caller.say(request(1))
    assert caller.connection.running
    caller.requests[1].waiting = True
    assert not caller.connection.running
    caller.requests[1].waiting = False
    caller.requests[1].answer(b"an answer")
    caller.hear()
    assert not caller.connection.running  # the window of the stream is too small
    caller.say(wire.window(1, 100))
    caller.hear()
    assert not caller.connection.streams
    caller.leave()


def test_age(loop: Loop) -> None:
    """A connection older than `age_seconds` is asked to reconnect, and its streams get the same time again."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.live(3600)
    assert caller.hear() == []
    caller.wait(1)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    caller.wait(2)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"]
    caller.live(3590)
    assert not caller.transport.closing
    caller.wait(10)
    assert caller.transport.aborted
    caller.leave()


def test_silent_client(loop: Loop) -> None:
    """A client that sends nothing for `write_seconds` is pinged, and disconnected if it does not answer."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.wait(30)
    assert caller.hear() == []
    caller.wait(1)
    [asked] = caller.hear()
    assert (asked.kind, asked.flags) == ("PING", 0)
    caller.say(ping(asked.payload, ACK))
    caller.wait(30)
    assert caller.hear() == []
    caller.wait(30)
    assert {each.kind for each in caller.hear()} == {"PING"}
    assert not caller.transport.closing
    caller.wait(1)
    assert caller.transport.aborted
    caller.leave()


def test_silent_client_after_its_goaway(loop: Loop) -> None:
    """A client that has sent a GOAWAY and answers pings is not disconnected while it waits for an answer."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + wire.go_away())
    for _ in range(4):
        caller.wait(31)
        for each in caller.hear():
            if each.kind == "PING":
                caller.say(ping(each.payload, ACK))
    assert not caller.transport.closing
    caller.requests[1].answer(b"x")
    assert caller.answers(caller.hear()) == {1: b"x"}
    assert caller.transport.closing and not caller.transport.aborted
    caller.leave()


def test_client_that_reads_nothing(loop: Loop) -> None:
    """A client that reads nothing for `write_seconds` is disconnected."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 10**6))
    caller.say(wire.window(0, 10**6) + request(1))
    caller.requests[1].answer(bytes(200_000))
    caller.wait(30)
    assert not caller.transport.closing
    caller.wait(2)
    assert caller.transport.aborted
    caller.leave()
    assert caller.requests[1].gone


def test_client_that_reads_slowly(loop: Loop) -> None:
    """A client that reads slowly is not treated as silent while the server does not receive from it."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.requests[1].answer(bytes(65_500))
    caller.settle()
    frames: list[Frame] = []
    while caller.transport.unread and len(frames) < 4:
        caller.wait(9)
        assert not caller.transport.closing
        frames += caller.hear(20_000)
        if caller.transport.reading:
            caller.say(ping(flags=ACK))
    frames += caller.hear()
    assert caller.answers(frames) == {1: bytes(65_500)}
    caller.leave()


def test_silence_after_a_pause(loop: Loop) -> None:
    """The time for which the server does not receive from a client is not the client's silence."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.wait(29)
    caller.requests[1].answer(bytes(65_500))
    caller.wait(29)
    assert not caller.transport.reading
    assert caller.answers(caller.hear()) == {1: bytes(65_500)}
    caller.wait(29)
    assert caller.hear() == [] and not caller.transport.closing
    caller.leave()


def test_failed_client_that_reads_nothing(loop: Loop) -> None:
    """A client that violates the protocol and does not read the error is disconnected after the same time."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(data(0))
    caller.wait(30)
    assert caller.transport.closing and not caller.transport.aborted
    caller.wait(2)
    assert caller.transport.aborted
    caller.leave()


def test_streams_are_watched(loop: Loop) -> None:
    """The connection calls `enforce_timeouts` of every stream."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + request(3))
    caller.wait(5)
    assert {each.watched for each in caller.requests.values()} == {loop.now}
    caller.leave()


def test_active_client(caller: Caller) -> None:
    """The server sends nothing to an active client because of time."""
    for _ in range(9):
        caller.wait(LIMITS.write_seconds - 1)
        assert caller.ask(ping(flags=ACK)) == []


def test_many_fields(caller: Caller) -> None:
    """Requests with many fields are read, and one with more fields than the limit ends its connection."""
    for number in numbers(20):
        caller.say(frame("HEADERS", 5, number, wire.block(*POST) + b"\x90" * 100))
    assert set(caller.answers(caller.hear())) == set(numbers(20))
    caller.say(frame("HEADERS", 5, 41, wire.block(*POST) + b"\x90" * 150))
    assert caller.transport.closing and caller.failures == ["limit"]
