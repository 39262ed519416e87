"""Callers who mean harm: what they cost has an end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.service.http2 import wire
from tests.service.http2.caller import HEAD, LIMITS, Caller, Echo, Loop, Request, fate
from tests.service.http2.wire import ACK, END_HEADERS, END_STREAM, PADDED, POST, data, frame, ping, settings

#: A request of a few bytes: POST, http, /.
SHORT = b"\x83\x86\x84"


def short(stream: int, *, ended: bool = True) -> bytes:
    """The request."""
    return frame("HEADERS", END_HEADERS | ended, stream, SHORT)


def numbers(count: int) -> range:
    """So many streams."""
    return range(1, 2 * count + 1, 2)


FLOODS: dict[str, Callable[[int], bytes]] = {
    "rapid reset": lambda number: short(number) + wire.reset(number),
    "resets of closed streams": lambda number: wire.reset(1),
    "malformed requests": lambda number: frame("HEADERS", 5, number, b"\x83"),
    "windows that grow by nothing": lambda number: short(number, ended=False) + wire.window(number, 0),
    "windows that grow too large": lambda number: short(number, ended=False) + wire.window(number, 2**31 - 1),
    "data after the end": lambda number: short(number) + data(number, b"x"),
    "fields on closed streams": lambda number: short(1),
    "empty data": lambda number: data(1) if number > 1 else short(1, ended=False),
    "empty data with padding": lambda number: (
        frame("DATA", PADDED, 1, b"\x01\0") if number > 1 else short(1, ended=False)
    ),
    "settings": lambda number: settings(),
    "settings that change the window": lambda number: settings((wire.INITIAL_WINDOW_SIZE, number)),
    "priorities": lambda number: frame("PRIORITY", 0, number, bytes(5)),
    "broken priorities": lambda number: frame("PRIORITY", 0, 1, bytes(4)),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_flood(loop: Loop, flood: str) -> None:
    """Of what makes work and gets nothing done, a thousand and a hundred are borne at once, and a hundred a second."""
    caller = Caller(loop, Request)
    caller.greet()
    if "closed" in flood:
        caller.say(short(1))
        caller.requests[1].answer(b"")
        caller.hear()
    flooding = FLOODS[flood]
    for number in numbers(1000):
        caller.say(flooding(number))
    assert "GOAWAY" not in {each.kind for each in caller.hear()}
    caller.wait(2)
    for number in numbers(1290)[1000:]:
        caller.say(flooding(number))
    assert "GOAWAY" not in {each.kind for each in caller.hear()}
    for number in numbers(1400)[1290:]:
        caller.say(flooding(number))
    assert fate(caller.hear())[-1] == "GOAWAY ENHANCE_YOUR_CALM"
    assert caller.transport.closing
    caller.leave()
    assert all(each.gone for number, each in caller.requests.items() if "closed" not in flood or number > 1)


def test_some_calls_given_up(loop: Loop) -> None:
    """Who also gets something done may give up as many calls."""
    caller = Caller(loop, Echo)
    caller.greet()
    for number in numbers(6000)[::2]:
        assert fate(caller.ask(short(number) + short(number + 2, ended=False) + wire.reset(number + 2))) == []
    assert not caller.transport.closing
    caller.leave()


class Endless(Request):
    """Answers at once, and does not end."""

    def began(self) -> None:
        """Send the first of many answers."""
        super().began()
        self.task = self._loop.create_task(self.send(b"first", head=HEAD))


def test_answers_that_are_enough(loop: Loop) -> None:
    """Who ends every stream after the first of its answers does what clients do that have heard enough."""
    caller = Caller(loop, Endless)
    caller.greet()
    for number in numbers(3000):
        caller.ask(short(number, ended=False))
        assert caller.ask(wire.reset(number)) == []
    assert not caller.transport.closing
    caller.leave()


def test_answers_that_are_not_let_through(loop: Loop) -> None:
    """Who lets nothing of the answers through and ends the streams has heard nothing, and has what it asks for done."""
    caller = Caller(loop, Endless)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 0))
    for number in numbers(1100):
        caller.ask(short(number, ended=False))
        assert caller.ask(wire.reset(number)) == []
    caller.ask(short(2201, ended=False))
    assert fate(caller.ask(wire.reset(2201))) == ["GOAWAY ENHANCE_YOUR_CALM"]
    caller.leave()


class Early(Request):
    """Has said all before the request is complete."""

    def began(self) -> None:
        """Answer."""
        super().began()
        self.answer(b"")


def test_resets_of_streams_that_the_server_ended(loop: Loop) -> None:
    """Some clients reset every stream that the server has ended before they have; that is no flood."""
    caller = Caller(loop, Early)
    caller.greet()
    for number in numbers(3000):
        assert fate(caller.ask(short(number, ended=False))) == [f"RST_STREAM {number} NO_ERROR"]
        assert caller.ask(wire.reset(number)) == []
    assert not caller.transport.closing
    caller.leave()


def test_all_calls_given_up(loop: Loop) -> None:
    """Who has as many streams as there may be can give them all up at once, as when their deadline passes."""
    caller = Caller(loop, Request, LIMITS._replace(streams=3000))
    caller.greet()
    for number in numbers(3000):
        caller.say(short(number))
    for number in numbers(3000):
        caller.say(wire.reset(number))
    assert caller.hear() == []
    assert not caller.transport.closing
    caller.leave()


def test_refused_streams(loop: Loop) -> None:
    """A caller who takes no notice of the limit of streams is refused a thousand times and a hundred."""
    caller = Caller(loop, Request)
    caller.greet()
    for number in numbers(1200):
        caller.say(short(number))
    frames = caller.hear()
    assert fate(frames) == [f"RST_STREAM {number} REFUSED_STREAM" for number in numbers(1200)[100:]]
    assert fate(caller.ask(short(3001))) == ["GOAWAY ENHANCE_YOUR_CALM"]
    caller.leave()


def test_pings(caller: Caller) -> None:
    """A flood of pings is answered three times."""
    frames = caller.ask(ping() * 1000)
    assert [each.kind for each in frames] == ["PING"] * 3 + ["GOAWAY"]
    assert fate(frames) == ["GOAWAY ENHANCE_YOUR_CALM"]


BLOCK = wire.block(*POST)

BOMBS = {
    "many frames": frame("HEADERS", END_STREAM, 1, BLOCK) + frame("CONTINUATION", 0, 1, b"") * 16,
    "large frames": frame("HEADERS", END_STREAM, 1, bytes(16_384)) + frame("CONTINUATION", 0, 1, bytes(16_384)) * 2,
    "a large list in one frame": frame("HEADERS", 5, 1, BLOCK + b"\x40\x01a\x7f\x81\x1e" + b"x" * 3968 + b"\xbe" * 20),
    "fields that are empty": frame("HEADERS", 5, 1, BLOCK + b"\x10\0\0" * 2100),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_header_bomb(caller: Caller, bomb: str) -> None:
    """A block of fields of more than 16 frames, 32 KiB, or 64 KiB as it is read, ends the connection."""
    assert fate(caller.ask(BOMBS[bomb])) == ["GOAWAY ENHANCE_YOUR_CALM"]
    assert caller.requests == {}


def test_largest_block(caller: Caller) -> None:
    """One that is as large as can be is read."""
    value = b"b" * (32_768 - len(BLOCK) - 9)
    rest = len(value) - 127
    block = BLOCK + b"\0\x03x-a\x7f" + bytes((rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14)) + value
    assert len(block) == 32_768
    caller.say(frame("HEADERS", END_STREAM, 1, block[:16_384]))
    pieces = [block[start : start + 1100] for start in range(16_384, len(block), 1100)]
    assert len(pieces) == 15
    for piece in pieces[:-1]:
        caller.say(frame("CONTINUATION", 0, 1, piece))
    assert caller.answers(caller.ask(frame("CONTINUATION", END_HEADERS, 1, pieces[-1]))) == {1: b""}
    assert len(caller.requests[1].head.fields[b"x-a"]) == len(value)


def test_huge_frame(caller: Caller) -> None:
    """A frame that is too large ends the connection as soon as it is announced."""
    assert fate(caller.ask((2**24 - 1).to_bytes(3, "big") + bytes(6))) == ["GOAWAY FRAME_SIZE_ERROR"]


def test_half_a_frame(caller: Caller) -> None:
    """What is kept of a frame that never ends is less than one, and who only ever sends halves is asked to leave."""
    caller.say((16_384).to_bytes(3, "big") + b"\0\0\0\0\0\1")
    for _ in range(300):
        caller.wait(1)
        caller.say(bytes(50))
    assert len(caller.connection._rest) < 16_384 + 9
    caller.wait(4)
    assert fate(caller.hear()) == ["GOAWAY NO_ERROR"] * 2
    assert caller.transport.closing


def test_answers_that_nobody_reads(loop: Loop) -> None:
    """Who asks on and on and reads nothing is soon not listened to."""
    caller = Caller(loop)
    caller.greet()
    number = 1
    while caller.transport.reading:
        caller.say(short(number, ended=False) + data(number, bytes(1000), ended=True))
        caller.settle()
        number += 2
    assert len(caller.transport.unread) < 70_000
    frames = caller.hear()
    assert caller.answers(frames) == {each: bytes(1000) for each in range(1, number, 2)}
    caller.leave()


HEAVY = {
    "windows": wire.window(0, 1) * 20_000,
    "data byte by byte": data(1, b"x") * 20_000,
    "settings that are acknowledged": frame("SETTINGS", ACK) * 20_000,
    "unknown frames": frame(0x16) * 20_000,
    "many fields": b"".join(frame("HEADERS", 5, number, BLOCK + b"\x90" * 900) for number in range(3, 201, 2)),
}


@pytest.mark.parametrize("kind", HEAVY)
def test_others_get_their_turn(loop: Loop, kind: str) -> None:
    """Much work that comes at once is done in several turns of the event loop, and no more is read meanwhile."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(short(1, ended=False))
    caller.say(HEAVY[kind])
    turns = 0
    while not caller.transport.reading:
        left = len(caller.connection._rest)
        loop.turn()
        turns += 1
        assert 0 < left - len(caller.connection._rest) < len(HEAVY[kind]) / 2
    assert turns >= 2
    assert caller.connection._rest == b""
    assert "GOAWAY" not in {each.kind for each in caller.hear()}
    assert len(caller.requests) == 100 if kind == "many fields" else 1
    caller.leave()


def test_turns_keep_the_order(loop: Loop) -> None:
    """What comes while others have their turn is read after what came before, and a fault ends both."""
    caller = Caller(loop)
    caller.greet()
    caller.say(wire.window(0, 1) * 5000 + short(1, ended=False))
    left, more = len(caller.connection._rest), data(1, b"after", ended=True)
    caller.connection.data_received(more)  # as TLS does, which still has it
    assert len(caller.connection._rest) == left + len(more)
    assert caller.answers(caller.hear()) == {1: b"after"}
    caller.say(wire.window(0, 1) * 5000 + data(0) + short(3))
    assert fate(caller.hear()) == ["GOAWAY PROTOCOL_ERROR"]
    assert set(caller.requests) == {1}
    caller.leave()


def test_turns_of_one_who_does_not_read(loop: Loop) -> None:
    """Who does not read is not listened to when its turns are over."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(short(1))
    caller.requests[1].answer(bytes(65_530))
    caller.settle()
    assert not caller.transport.reading
    caller.connection.data_received(wire.window(0, 1) * 5000)
    caller.settle()
    assert caller.connection._rest == b"" and not caller.transport.reading
    assert caller.answers(caller.hear()) == {1: bytes(65_530)}
    assert caller.transport.reading
    caller.leave()


def test_gone_between_turns(loop: Loop) -> None:
    """Who is gone when its turn comes again is no longer read."""
    caller = Caller(loop)
    caller.greet()
    caller.say(wire.window(0, 1) * 5000 + short(1))
    caller.leave()
    assert caller.requests == {}


def test_rest_of_what_was_refused(loop: Loop) -> None:
    """Data that was on the way when its stream ended is borne in any number of frames."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(short(1, ended=False))
    caller.requests[1].answer(b"no")
    assert fate(caller.hear()) == ["RST_STREAM 1 NO_ERROR"]
    for _ in range(5000):
        caller.say(data(1, bytes(100)))
    assert {each.kind for each in caller.hear()} == set()
    assert not caller.transport.closing
    caller.leave()


def test_acknowledgements_cost_nothing(caller: Caller) -> None:
    """Frames that make no work are borne in any number."""
    nothing = frame("SETTINGS", ACK) + ping(flags=ACK) + wire.window(0, 1) + frame(0x16)
    assert caller.ask(nothing * 5000) == []
    assert caller.answers(caller.ask(short(1))) == {1: b""}
