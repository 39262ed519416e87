"""A call in memory: what it holds, and how it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from service.buffers import Buffers
from service.errors import NotFound, Overloaded
from service.grpc.call import Call, Method, Terms
from service.http2.connection import Connection
from service.http2.fields import Head
from tests.service.http2 import wire
from tests.service.http2.caller import LIMITS, Loop, Transport

UNARY = [*wire.POST[:2], (":path", "/unary"), ("content-type", "application/grpc")]
STREAM = [*wire.POST[:2], (":path", "/stream"), ("content-type", "application/grpc")]

#: The first bytes of a message of 100.
HALF = b"\0\0\0\0\x64" + bytes(50)


class Caller:
    """A caller of two methods, in memory."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.calls: dict[int, Call] = {}
        self.buffers = Buffers(100_000)
        self.connection = Connection(loop, LIMITS, self._opened, lambda connection: None)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)
        self.say(wire.PREFACE + wire.settings())
        self.transport.take()

    def _opened(self, connection: Connection, number: int, head: Head) -> Call:
        streaming = head.path == b"/stream"
        method = Method(self._run, streaming, streaming)
        terms = Terms(10_000, 30, self.buffers)
        self.calls[number] = Call(connection, number, head.fields, method, terms, self._start, self.loop)
        return self.calls[number]

    def _start(self, call: Call) -> asyncio.Task[None]:
        return self.loop.create_task(call.method.run(call))

    async def _run(self, call: Call) -> None:
        try:
            if call.method.request_streaming:
                await call.read()
            await call.answer(b"")
        finally:
            call.release()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.data_received(data)

    def hear(self) -> list[wire.Frame]:
        """What the server has sent."""
        for _ in range(5):
            self.loop.turn()
        return wire.read(self.transport.take())[0]


@pytest.fixture
def caller() -> Iterator[Caller]:
    """A caller with an event loop whose clock stands still."""
    loop = Loop()
    caller = Caller(loop)
    yield caller
    caller.connection.connection_lost(None)
    caller.hear()
    loop.close()


@pytest.mark.parametrize("fields", [UNARY, STREAM], ids=["unary", "stream"])
@pytest.mark.parametrize("first", [HALF, HALF + bytes(50)], ids=["in part", "whole"])
@pytest.mark.parametrize("last", [b"", wire.data(1, HALF[:5] + bytes(100), ended=True)], ids=["open", "ended"])
@pytest.mark.parametrize("at_once", [True, False])
def test_call_that_is_given_up(
    caller: Caller, fields: list[tuple[str, str]], first: bytes, last: bytes, at_once: bool
) -> None:
    """Nothing is held of a call that was given up, also where its work had not begun, and no timer is left."""
    head = wire.request(1, ("grpc-timeout", "99999999H"), ended=False, head=fields)
    caller.say(head + wire.data(1, first) + last + (wire.reset(1) if at_once else b""))
    caller.hear()
    caller.say(wire.reset(1))
    caller.hear()
    assert caller.buffers.hold(100_000) == 100_000  # all there is
    assert caller.calls[1]._timer is None
    assert not [handle for handle in caller.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("message", ["m" * 100_000, "é" * 100_000, "\U0001f600" * 100_000])
def test_long_refusal(caller: Caller, message: str) -> None:
    """A refusal fits into a frame, however long what it quotes; the caller reads its beginning."""
    caller.say(wire.request(1, ended=False, head=UNARY))
    caller.calls[1].refuse(NotFound(message))
    [answer, reset] = caller.hear()
    assert (answer.kind, reset.kind) == ("HEADERS", "RST_STREAM")
    assert len(answer.payload) <= 16_384
    fields = dict(wire.fields(answer.payload))
    assert (fields[":status"], fields["grpc-status"]) == ("200", "5")


def test_no_room_for_the_first_answer(caller: Caller) -> None:
    """A call whose first answer finds no room is refused with a head all the same."""
    caller.say(wire.request(1, ended=False, head=UNARY))
    call = caller.calls[1]
    caller.buffers.hold(90_000)

    async def write() -> None:
        try:
            await call.write(bytes(20_000))
        except Overloaded as error:
            call.refuse(error)

    caller.loop.run_until_complete(write())
    answer = caller.hear()[0]
    fields = dict(wire.fields(answer.payload))
    assert (fields[":status"], fields["grpc-status"]) == ("200", "8")
    caller.buffers.release(90_000)
