"""A call in memory: what it holds, and how it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from service.http2.connection import Connection
from service.http2.fields import Head

from service.buffers import Buffers
from service.errors import NotFound
from service.grpc.health import Health
from service.grpc.methods import uncounted
from service.grpc.transport.call import Call, Method, Terms
from tests.service.grpc import wire
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
        self.methods = {"/unary": Method(self._run), "/stream": Method(self._run, True, True)}
        self.buffers = Buffers(100_000)
        self.connection = Connection(loop, LIMITS, self._opened, lambda connection: None)
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)
        self.say(wire.PREFACE + wire.settings())
        self.transport.take()

    def _opened(self, connection: Connection, number: int, head: Head) -> Call:
        terms = Terms(10_000, 30, self.buffers)
        method = self.methods[head.path.decode()]
        self.calls[number] = Call(connection, number, head.fields, method, terms, self._start, self.loop)
        return self.calls[number]

    def _start(self, call: Call) -> asyncio.Task[None]:
        return self.loop.create_task(call.run())

    async def _run(self, call: Call) -> None:
        if call.method.request_streaming:
            await call.read()
        await call.answer(call.message())

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.data_received(data)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.loop.now += 1
            self.connection.watch(self.loop.now)

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
    """A call whose first answer finds no room is refused with a head all the same, counted or not."""

    async def large(request: HealthCheckRequest) -> HealthCheckRequest:
        return HealthCheckRequest(service="s" * 20_000)

    caller.methods["/unary"] = uncounted(HealthCheckRequest.FromString, large)
    caller.buffers.hold(90_000)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, bytes(5), ended=True))
    fields = dict(wire.fields(caller.hear()[0].payload))
    assert (fields[":status"], fields["grpc-status"]) == ("200", "8")
    caller.buffers.release(90_000)


def test_uncounted_methods_refuse_noise(caller: Caller) -> None:
    """A method that is not counted tells a message from noise all the same."""

    async def unreachable(request: HealthCheckRequest) -> HealthCheckRequest:
        pytest.fail("the request was answered")

    caller.methods["/unary"] = uncounted(HealthCheckRequest.FromString, unreachable)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, b"\0\0\0\0\x01\xff", ended=True))
    fields = dict(wire.fields(caller.hear()[0].payload))
    assert (fields["grpc-status"], fields["grpc-message"]) == ("3", "the message is not valid protobuf")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (NotFound("there is none"), "5", "there is none"),
        (DecodeError("at 0"), "3", "the message is not valid protobuf"),
        (ValueError("secret"), "13", "internal error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_method_that_raises(
    caller: Caller, caplog: pytest.LogCaptureFixture, error: Exception, status: str, message: str
) -> None:
    """What a method raises is the status of its call; the reason of a defect is for the log alone."""

    async def run(call: Call) -> None:
        raise error

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, bytes(5), ended=True))
    fields = dict(wire.fields(caller.hear()[0].payload))
    assert (fields["grpc-status"], fields["grpc-message"]) == (status, message)
    assert ("secret" in caplog.text) == (message == "internal error")
    assert caller.buffers.hold(100_000) == 100_000


@pytest.mark.parametrize("first", [b"", HALF, HALF + bytes(50)], ids=["nothing", "half", "whole"])
@pytest.mark.parametrize("timeout", [None, "99999999H"])
def test_unary_call_that_does_not_end(caller: Caller, first: bytes, timeout: str | None) -> None:
    """A unary call is waited for no longer than a message, whatever is there of it, and refused."""
    more = [] if timeout is None else [("grpc-timeout", timeout)]
    caller.say(wire.request(1, *more, ended=False, head=UNARY) + wire.data(1, first))
    caller.wait(30)
    assert caller.hear() == []
    caller.wait(2)
    answer = next(each for each in caller.hear() if each.kind == "HEADERS")
    fields = dict(wire.fields(answer.payload))
    assert (fields["grpc-status"], fields["grpc-message"]) == ("4", "a message was not complete after 30 s")


def test_deadline_of_a_unary_call_that_does_not_end(caller: Caller) -> None:
    """A unary call whose deadline comes sooner is waited for until then."""
    caller.say(wire.request(1, ("grpc-timeout", "5S"), ended=False, head=UNARY))
    caller.wait(5)
    assert caller.hear() == []
    caller.wait(1)
    assert dict(wire.fields(caller.hear()[0].payload))["grpc-message"] == "the deadline has passed"


def test_deadline_before_the_work_begins(caller: Caller) -> None:
    """A stream whose deadline passes before its turn comes is refused all the same."""
    caller.say(wire.request(1, ("grpc-timeout", "5S"), ended=False, head=STREAM))
    caller.loop.now += 6
    caller.calls[1]._expire()
    assert dict(wire.fields(caller.hear()[0].payload))["grpc-status"] == "4"


def test_stream_that_only_waits(caller: Caller) -> None:
    """A stream may wait between its messages as long as its caller likes."""
    caller.say(wire.request(1, ended=False, head=STREAM))
    for _ in range(10):
        caller.wait(29)
        caller.say(wire.ping(flags=wire.ACK))
        assert [each.kind for each in caller.hear() if each.kind != "PING"] == []
    caller.say(wire.data(1, bytes(5)))
    assert "HEADERS" in {each.kind for each in caller.hear()}


def test_health_changes_while_it_is_told(caller: Caller) -> None:
    """Who watches hears of what changes while it does not let itself be told."""
    health = Health([""])
    caller.methods |= health.methods()
    head = [*wire.POST[:2], (":path", "/grpc.health.v1.Health/Watch"), ("content-type", "application/grpc")]
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    caller.say(wire.request(1, ended=False, head=head) + wire.data(1, bytes(5), ended=True))
    assert "DATA" not in {each.kind for each in caller.hear()}
    health.tell(False)
    caller.hear()
    caller.say(wire.window(1, 100))
    told = [each.payload[5:] for each in caller.hear() if each.kind == "DATA"]
    statuses = [HealthCheckResponse.FromString(each).status for each in told]
    assert statuses == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
