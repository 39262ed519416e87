"""One request and its answer, as the application has them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from service.http2.frames import Fault
from service.http2.stream import CallerGone

from tests.service.http2 import wire
from tests.service.http2.caller import HEAD, TAIL, Caller, Loop, Request, fate
from tests.service.http2.wire import END_HEADERS, END_STREAM, PADDED, data, frame, request, window


@pytest.fixture
def asker(loop: Loop) -> Iterator[Caller]:
    """A caller whose requests are answered when the test says so."""
    caller = Caller(loop, Request)
    caller.greet()
    yield caller
    caller.leave()
    assert caller.connection._streams == {}


def run(asker: Caller, work: Coroutine[Any, Any, None]) -> None:
    """Run what sends."""
    asker.loop.run_until_complete(work)


def shape(asker: Caller) -> list[tuple[str, int, bytes]]:
    """Kind, flags and content of the frames."""
    return [(each.kind, each.flags, each.payload) for each in asker.hear()]


def test_unary_call_is_one_write(asker: Caller) -> None:
    """An answer that fits goes out in one write: head, data and end."""
    asker.say(request(1, ended=False) + data(1, b"x", ended=True))
    writes: list[bytes] = []
    asker.transport.write = writes.append  # type: ignore[assignment]
    run(asker, asker.requests[1].send(b"answer", head=HEAD, tail=TAIL))
    assert len(writes) == 1
    head, content, tail = wire.read(writes[0])[0]
    assert (head.kind, head.flags, head.payload) == ("HEADERS", END_HEADERS, b"\x20" + HEAD)
    assert (content.kind, content.flags, content.payload) == ("DATA", 0, b"answer")
    assert (tail.kind, tail.flags, tail.payload) == ("HEADERS", END_HEADERS | END_STREAM, TAIL)


def test_several_sends(asker: Caller) -> None:
    """An answer may come in parts, with or without a head in front and an end."""
    asker.say(request(1) + request(3))
    run(asker, asker.requests[3].send(b"", head=HEAD))
    asker.hear()
    each = asker.requests[1]
    run(asker, each.send(b"a", head=HEAD))
    run(asker, each.send(b"b"))
    each.finish(TAIL)
    assert shape(asker) == [
        ("HEADERS", END_HEADERS, HEAD),
        ("DATA", 0, b"a"),
        ("DATA", 0, b"b"),
        ("HEADERS", END_HEADERS | END_STREAM, TAIL),
    ]


def test_data_that_says_it_was_all(asker: Caller) -> None:
    """The application hears with the data whether that was all, also where the end comes alone or with fields."""
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


def test_reset_by_the_caller(asker: Caller) -> None:
    """A stream that the caller ends is told once, and nothing more is sent on it."""
    asker.say(request(1))
    asker.requests[1].answer(bytes(100_000))
    asker.hear()
    asker.say(wire.reset(1))
    asker.settle()
    each = asker.requests[1]
    assert each.gone and each.cut
    assert each.task is not None and each.task.done()
    assert asker.ask(window(0, 10**6) + wire.reset(1)) == []
    with pytest.raises(CallerGone):
        run(asker, each.send(b"x"))
    with pytest.raises(CallerGone):
        each.finish(TAIL)
    each.reset(Fault.CANCEL)
    assert asker.hear() == []


def test_reset_by_the_application(asker: Caller) -> None:
    """The application may end a stream without an answer, once; whatever waits to be sent on it ends as well."""
    asker.say(request(1) + wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    each = asker.requests[1]
    each.answer(b"x")
    asker.hear()
    each.reset(Fault.INTERNAL_ERROR)
    each.reset(Fault.INTERNAL_ERROR)
    assert fate(asker.hear()) == ["RST_STREAM 1 INTERNAL_ERROR"]
    assert each.gone and each.task is not None and each.task.done()
    assert asker.connection._streams == {}


def test_reset_after_the_end(asker: Caller) -> None:
    """A stream that has ended on both sides cannot be reset."""
    asker.say(request(1))
    asker.requests[1].answer(b"x")
    asker.hear()
    asker.requests[1].reset(Fault.INTERNAL_ERROR)
    assert asker.hear() == []


def test_fault_while_sending(asker: Caller) -> None:
    """A caller who breaks a rule on a stream gets no more on it, and the application hears of it once."""
    asker.say(request(1, ended=False))
    each = asker.requests[1]
    each.answer(bytes(100_000))
    asker.hear()
    assert fate(asker.ask(window(1, 0) + window(0, 10**6))) == ["RST_STREAM 1 PROTOCOL_ERROR"]
    assert each.gone and each.cut
    assert asker.connection._streams == {}


def test_sender_that_is_cancelled(asker: Caller) -> None:
    """Who no longer wants to send leaves the stream as it is, and its turn to the next."""
    asker.say(request(1) + request(3) + wire.settings((wire.INITIAL_WINDOW_SIZE, 10**6)))
    first, second = asker.requests[1], asker.requests[3]
    first.answer(bytes(70_000))
    asker.hear()
    second.answer(b"second")
    frames = asker.hear()
    asker.say(window(0, 6))  # which is the first one's turn
    assert first.task is not None
    first.task.cancel()
    assert asker.answers(frames + asker.hear()) == {3: b"second"}
    first.finish(TAIL)
    assert [each.stream for each in asker.hear()] == [1]


def test_small_credits_wait(asker: Caller) -> None:
    """The caller is allowed more when there is something to be said, not for every few bytes."""
    asker.say(request(1, ended=False))
    frames = []
    for _ in range(70):
        frames += asker.ask(data(1, bytes(1000)))
    assert [(each.kind, each.stream, each.number) for each in frames] == [("WINDOW_UPDATE", 1, 66_000)]


def test_no_credit_after_the_end(asker: Caller) -> None:
    """Who sends no more on a stream is allowed nothing more on it."""
    asker.say(request(1, ended=False) + data(1, bytes(16_384)) * 3)
    assert asker.ask(data(1, bytes(16_384), ended=True)) == []
