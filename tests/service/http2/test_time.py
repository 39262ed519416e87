"""Callers who do not go on, as time passes."""

from __future__ import annotations

import pytest

from tests.service.http2 import wire
from tests.service.http2.caller import LIMITS, Caller, Loop, Request, fate
from tests.service.http2.wire import ACK, PREFACE, Frame, data, ping, request, settings


@pytest.mark.parametrize("said", [b"", PREFACE[:20], PREFACE, PREFACE + settings()[:-1]])
def test_handshake(loop: Loop, said: bytes) -> None:
    """Who has not said hello after `handshake_seconds` is cut off, however slowly it speaks."""
    caller = Caller(loop)
    caller.say(said)
    caller.wait(10)
    assert not caller.transport.closing
    caller.wait(1)
    assert caller.transport.aborted
    caller.leave()


def test_handshake_in_time(loop: Loop) -> None:
    """Who has said hello may take its time."""
    caller = Caller(loop)
    caller.wait(9)
    caller.greet()
    caller.wait(9)
    assert caller.answers(caller.ask(request(1))) == {1: b""}
    caller.leave()


def test_idle(loop: Loop) -> None:
    """A connection without a stream for `idle_seconds` is asked to leave, and closed a little later."""
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
    assert caller.transport.closing and not caller.transport.aborted
    caller.leave()


def test_stream_is_not_idle(loop: Loop) -> None:
    """A stream keeps a connection, as long as the caller answers to pings."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.live(3000)
    assert caller.hear() == []
    caller.leave()


def test_age(loop: Loop) -> None:
    """A connection older than `age_seconds` is asked to leave; its streams have that long again."""
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


def test_silent_caller(loop: Loop) -> None:
    """A caller who has said nothing for `write_seconds` is pinged; who does not answer for as long again is gone."""
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


def test_silent_caller_who_leaves(loop: Loop) -> None:
    """Who has been asked to leave and waits for an answer is pinged as well, and not cut off unasked."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.connection.leave()
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


def test_caller_who_reads_nothing(loop: Loop) -> None:
    """A caller who reads nothing of what waits for `write_seconds` is cut off."""
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


def test_caller_who_reads_slowly(loop: Loop) -> None:
    """Who reads a little now and then is borne, and not taken for silent while the server does not listen."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1))
    caller.requests[1].answer(bytes(65_500))
    caller.settle()
    frames = []
    while caller.transport.unread:
        caller.wait(29)
        assert not caller.transport.closing
        frames += caller.hear(10_000)
        if caller.transport.reading:
            caller.say(ping(flags=ACK))
    assert caller.answers(frames) == {1: bytes(65_500)}
    caller.leave()


def test_refused_caller_who_reads_nothing(loop: Loop) -> None:
    """Who is refused and does not read so is not waited for longer than anyone else."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(data(0))
    caller.wait(30)
    assert caller.transport.closing and not caller.transport.aborted
    caller.wait(2)
    assert caller.transport.aborted
    caller.leave()


def test_streams_are_watched(loop: Loop) -> None:
    """Every stream hears that time passes."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1) + request(3))
    caller.wait(5)
    assert {each.watched for each in caller.requests.values()} == {loop.now}
    caller.leave()


def test_nothing_to_say_to_one_who_answers(caller: Caller) -> None:
    """A caller who speaks hears of no timer."""
    for _ in range(10):
        caller.wait(LIMITS.write_seconds - 1)
        assert caller.ask(ping(flags=ACK)) == []


def test_early_pings(loop: Loop) -> None:
    """A ping every ten seconds is borne; three that come sooner are too many, unless something was sent in between."""
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
