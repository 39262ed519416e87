"""Calls in memory: their memory, answers and refusals."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
from base64 import b64decode
from collections.abc import Callable, Iterator

import pytest
from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from sentiment_conv1d.server.errors import ClientDisconnected, Overloaded, RequestError
from sentiment_conv1d.server.grpc.call import CALL_BYTES, Call
from sentiment_conv1d.server.grpc.call_context import CallContext
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.http2 import Fields
from sentiment_conv1d.server.grpc.messages import wrap
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.network.buffers import BODY_FACTOR, Buffers, Charge
from sentiment_conv1d.server.network.turns import TASK_SECONDS, Turns
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.grpc.health import Health
from sentiment_conv1d.service.grpc.methods import uncounted
from tests.server.grpc.caller import LIMITS, Loop, Transport, fate
from tests.service.grpc import wire

#: The memory for all calls, and for one message.
BUFFERED = 2_000_000
MESSAGE = 100_000

#: The first bytes of a message of 100.
HALF = b"\0\0\0\0\x64" + bytes(50)
WHOLE = HALF + bytes(50)


def head(path: str) -> list[tuple[str, str]]:
    """Build the head of a call."""
    return [*wire.POST[:2], (":path", path), wire.POST[3], ("content-type", "application/grpc")]


UNARY, STREAM, STARTED = head("/unary"), head("/stream"), head("/started")
FIELDS = {"unary": UNARY, "stream": STREAM, "started": STARTED}


class Caller:
    """A client in memory, with methods that return their messages: `started` in the next turn, without a task."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.calls: dict[int, Call] = {}
        self.ended: list[Call] = []
        self.outcomes: list[str | None] = []  # of ended calls, at their end
        self.methods = {
            "/unary": Method(self._unary),
            "/stream": Method(self._stream, streaming=True),
            "/started": Method(self._unary, start=self._start),
        }
        self.buffers = Buffers(BUFFERED)
        self.connection = GrpcConnection(
            loop, LIMITS, Turns(loop), self.buffers, self._open_call, lambda connection: None
        )
        self.transport = Transport(self.connection)
        self.connection.connection_made(self.transport)
        self.say(wire.PREFACE + wire.settings())
        self.transport.take()

    def _open_call(self, connection: GrpcConnection, number: int, verb: bytes, path: bytes, fields: Fields) -> Call:
        context = CallContext(MESSAGE, 30, self.buffers, asyncio.Lock(), self._ended)
        method = self.methods[path.decode()]
        self.calls[number] = Call(number, connection, path, dict(fields), method, context, self.loop)
        return self.calls[number]

    def _ended(self, call: Call) -> None:
        self.ended.append(call)
        self.outcomes.append(call.status)

    @property
    def task(self) -> asyncio.Task[None]:
        """Return the task of the first call."""
        task = self.calls[1]._task
        assert task is not None
        return task

    async def _unary(self, call: Call) -> None:
        await call.answer(await call.message())

    def _start(self, call: Call, message: bytes) -> bool:
        def cancel() -> None:
            answering.cancel()
            call.reply(ClientDisconnected())

        answering = self.loop.call_soon(call.reply, message)

        call.lost_before_reply, call.context = cancel, "begun"
        return True

    async def _stream(self, call: Call) -> None:
        while (message := await call.read()) is not None:
            await call.write(message, *call.more(message, 16, 4096))
        call.end()

    @property
    def held(self) -> int:
        """Return the counted bytes of what the client has sent."""
        return self.buffers.held - self.connection._unsent.held

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.connection.data_received(data)

    def wait(self, seconds: int) -> None:
        """Advance the clock."""
        for _ in range(seconds):
            self.loop.now += 1
            self.loop.turn()
            self.connection.enforce_timeouts(self.loop.now)

    def hear(self) -> list[wire.Frame]:
        """Read the bytes from the server until it sends no more."""
        heard, quiet = b"", 0
        while quiet < 10:
            self.loop.turn()
            taken = self.transport.take()
            heard += taken
            quiet = 0 if taken else quiet + 1
        return wire.read(heard)[0]


@pytest.fixture
def caller(loop: Loop) -> Iterator[Caller]:
    """Create a client with a manual clock, and check that it leaves nothing behind."""
    caller = Caller(loop)
    yield caller
    caller.connection.connection_lost(None)
    caller.transport.abort()
    caller.hear()
    assert caller.held == 0
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert loop.failures == []


def fields(frames: list[wire.Frame]) -> dict[str, str]:
    """Return all fields of the only answer."""
    found: dict[str, str] = {}
    for each in frames:
        if each.kind == "HEADERS":
            found |= wire.fields(each.payload)
    return found


def content(frames: list[wire.Frame]) -> bytes:
    """Return the content of the only answer."""
    return b"".join(each.payload for each in frames if each.kind == "DATA")


def refusal(frames: list[wire.Frame]) -> tuple[str, str]:
    """Return the status and the message of the only answer."""
    found = fields(frames)
    return found["grpc-status"], found["grpc-message"]


def test_call_without_a_task(caller: Caller) -> None:
    """A call that is started is answered in a later turn without a task, and is not idle until then."""
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True))
    assert caller.connection.idle_until is None
    frames = caller.hear()
    assert (fields(frames)["grpc-status"], content(frames)) == ("0", WHOLE)
    assert caller.calls[1]._task is None
    assert caller.ended == [caller.calls[1]]
    assert caller.outcomes == ["OK"]
    assert caller.connection.idle_until is not None


@pytest.mark.parametrize("whole", [False, True], ids=["first part", "whole"])
def test_message_that_is_not_admitted(caller: Caller, whole: bool) -> None:
    """A message is refused as soon as its length is known, without a task, and the rest of it is dropped."""
    lengths: list[int] = []
    begun: list[Call] = []

    def admit(length: int, caller: str) -> None:
        lengths.append(length)
        raise Overloaded("2048 texts are waiting")

    caller.methods["/started"] = Method(caller._unary, start=caller._start, admit=admit, begin=begun.append)
    message = WHOLE if whole else wrap(bytes(40_000))
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, message[:9000], ended=whole))
    frames = caller.hear()
    assert refusal(frames) == ("8", "2048 texts are waiting")
    assert fields(frames)["grpc-retry-pushback-ms"] == "1000"
    assert fate(frames) == ([] if whole else ["RST_STREAM 1 NO_ERROR"])
    [call] = caller.calls.values()
    assert caller.held == 0 and call._task is None
    caller.say(wire.data(1, message[9000:], ended=True) if not whole else b"")
    assert lengths == [len(message) - 5]
    assert begun == caller.ended == [call] and caller.outcomes == ["RESOURCE_EXHAUSTED"]


def test_every_message_is_admitted_once(caller: Caller) -> None:
    """The length of each message of a stream is reported once, however its bytes arrive."""
    lengths: list[int] = []
    caller.methods["/stream"] = caller.methods["/stream"]._replace(admit=lambda length, caller: lengths.append(length))
    messages = wrap(bytes(100)) + wrap(bytes(200)) + wrap(b"")
    caller.say(wire.request(1, ended=False, head=STREAM))
    for start in range(0, len(messages), 3):
        caller.say(wire.data(1, messages[start : start + 3]))
    caller.say(wire.data(1, wrap(bytes(300)), ended=True))
    caller.hear()
    assert lengths == [100, 200, 0, 300]


def test_failures_without_a_task(caller: Caller) -> None:
    """A unary call that fails before it begins needs no task, and leaves no memory charged."""
    caller.methods["/unary"] = Method(caller._unary, begin=lambda call: None)
    for number, sent in enumerate([("grpc-timeout", "x"), b"\2" + bytes(10), wrap(b"a") * 2]):
        given = [sent] if isinstance(sent, tuple) else []
        caller.say(wire.request(2 * number + 1, *given, ended=False, head=UNARY))
        if isinstance(sent, bytes):
            caller.say(wire.data(2 * number + 1, sent))
        caller.hear()
        assert caller.held == 0
    assert caller.outcomes == ["INVALID_ARGUMENT"] * 3
    assert [call._task for call in caller.calls.values()] == [None] * 3


def test_started_call_that_is_reset(caller: Caller, caplog: pytest.LogCaptureFixture) -> None:
    """A started call that the client resets is not answered, ends once, and is no failure."""
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True) + wire.reset(1))
    assert caller.hear() == []
    assert caller.ended == [caller.calls[1]]
    assert caller.outcomes == [None]
    assert caller.held == 0
    assert not caplog.records


def test_started_call_that_fails(caller: Caller) -> None:
    """A started call whose method fails gets the status of the error, and ends once."""

    def start(call: Call, message: bytes) -> bool:
        caller.loop.call_soon(call.reply, NotFound("no"))
        return True

    caller.methods["/started"] = Method(caller._unary, start=start)
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True))
    assert refusal(caller.hear()) == ("5", "no")
    assert (caller.ended, caller.outcomes) == ([caller.calls[1]], ["NOT_FOUND"])


def test_started_call_without_room(caller: Caller) -> None:
    """A started call whose answer the client cannot receive yet is answered by a task when it can."""
    caller.say(wire.settings((4, 50)))
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True))
    assert content(caller.hear()) == WHOLE[:50]
    assert caller.task is not None
    assert caller.outcomes == []
    caller.say(wire.window(1, 100))
    frames = caller.hear()
    assert (content(frames), fields(frames)["grpc-status"]) == (WHOLE[50:], "0")
    assert caller.ended == [caller.calls[1]]
    assert caller.outcomes == ["OK"]


def test_started_call_without_room_that_is_reset(caller: Caller) -> None:
    """A started call whose answer waits for a task is dropped if the client resets it before the task begins."""
    caller.say(wire.settings((4, 50)))
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True))
    caller.loop.turn()
    task = caller.task
    assert not task.done()
    caller.say(wire.reset(1))
    assert content(caller.hear()) == b""
    assert task.cancelled()
    assert caller.outcomes == [None]
    assert caller.held == 0


@pytest.mark.parametrize("expired", [False, True])
def test_method_that_does_not_start(caller: Caller, expired: bool) -> None:
    """A call whose method does not start runs as a task. It gets a status if the shutdown ends before this begins."""
    caller.methods["/started"] = Method(caller._unary, start=lambda call, message: False)
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, WHOLE, ended=True))
    caller.calls[1]._context.expired = expired
    caller.connection.enforce_timeouts(caller.loop.now)
    frames = caller.hear()
    assert (content(frames), fields(frames)["grpc-status"]) == ((b"", "14") if expired else (WHOLE, "0"))
    assert caller.task.done()


# Memory.


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("first", [HALF, WHOLE], ids=["in part", "whole"])
@pytest.mark.parametrize("last", [b"", wire.data(1, HALF[:5] + bytes(100), ended=True)], ids=["open", "ended"])
@pytest.mark.parametrize("at_once", [True, False])
def test_call_that_is_given_up(caller: Caller, kind: str, first: bytes, last: bytes, at_once: bool) -> None:
    """A cancelled call leaves no counted bytes and no timer, even if its method had not started."""
    begin = wire.request(1, ("grpc-timeout", "99999999H"), ended=False, head=FIELDS[kind])
    caller.say(begin + wire.data(1, first) + last + (wire.reset(1) if at_once else b""))
    caller.hear()
    caller.say(wire.reset(1))
    caller.hear()
    assert caller.held == 0
    assert caller.calls[1]._timer is None


ENDINGS: dict[str, Callable[[Caller], None]] = {
    "answered": lambda caller: caller.say(wire.data(1, HALF[55:] + bytes(50), ended=True)),
    "malformed": lambda caller: caller.say(wire.data(1, bytes(50) + b"\7" * 5, ended=True)),
    "cut short": lambda caller: caller.say(wire.data(1, b"x", ended=True)),
    "reset": lambda caller: caller.say(wire.reset(1)),
    "lost": lambda caller: caller.connection.connection_lost(None),
    "failed": lambda caller: caller.say(wire.data(0, b"x")),
    "late": lambda caller: caller.wait(7),
    "slow": lambda caller: caller.wait(32),
}


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("begun", [True, False])
def test_memory_of_calls(caller: Caller, kind: str, ending: str, begun: bool) -> None:
    """The call, its fields and its messages count in memory while it runs, and not after any kind of end."""
    more = [("grpc-timeout", "5S")] if ending == "late" else []
    caller.say(wire.request(1, ("x-kept", "k" * 1000), *more, ended=False, head=FIELDS[kind]))
    assert CALL_BYTES + 1000 <= caller.held < CALL_BYTES + 1200
    caller.say(wire.data(1, HALF))
    assert CALL_BYTES + 1000 + BODY_FACTOR * 55 <= caller.held < CALL_BYTES + 1200 + BODY_FACTOR * 60
    if begun:
        caller.hear()
    ENDINGS[ending](caller)
    frames = caller.hear()
    assert caller.held == 0
    statuses = {"answered": "0", "malformed": "3", "cut short": "3", "late": "4", "slow": "4"}
    assert fields(frames).get("grpc-status") == statuses.get(ending)
    assert not caller.connection.streams


@pytest.mark.parametrize("error", [NotFound("no"), ValueError("a defect"), None], ids=["refused", "defect", "kept"])
def test_memory_of_methods(caller: Caller, error: Exception | None) -> None:
    """A call releases its memory if its method raises or is stopped with the server."""

    async def run(call: Call) -> None:
        await call.message()
        if error is not None:
            raise error
        await asyncio.Event().wait()

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, WHOLE, ended=True))
    caller.hear()
    if error is None:
        assert caller.held > CALL_BYTES
        caller.task.cancel()
        caller.hear()
    assert caller.held == 0


@pytest.mark.parametrize("end", ["refused", "answered", "cancelled", "cancelled at once"])
def test_ended_calls_are_in_no_reference_cycle(caller: Caller, end: str) -> None:
    """A call that has ended is freed at once, without the garbage collector."""

    async def run(call: Call) -> None:
        message = await call.message()
        if end == "refused":
            raise NotFound("no")
        if end == "cancelled":
            await asyncio.Event().wait()
        await call.answer(message)

    def open_calls() -> int:
        return sum(isinstance(each, Call) for each in gc.get_objects())

    caller.methods["/unary"] = Method(run)
    gc.collect()
    before = open_calls()
    gc.disable()
    try:
        call = wire.request(1, ended=False, head=UNARY) + wire.data(1, WHOLE, ended=True)
        packets = {"cancelled": [call, wire.reset(1)], "cancelled at once": [call + wire.reset(1)]}
        for packet in packets.get(end, [call]):
            caller.say(packet)
            caller.hear()
        caller.calls.clear()
        caller.ended.clear()
        assert open_calls() == before
    finally:
        gc.enable()


def test_no_memory_for_a_call(caller: Caller) -> None:
    """A call is refused if there is no memory for it or for its message."""
    caller.buffers.hold(BUFFERED - CALL_BYTES)
    caller.say(wire.request(1, ended=False, head=UNARY))
    assert refusal(caller.hear())[0] == "8"
    caller.buffers.add(-(BODY_FACTOR * 50_000))
    caller.say(wire.request(3, ended=False, head=UNARY))
    caller.say(b"".join(wire.data(3, piece) for piece in (wrap(bytes(90_000))[:16_384], *[bytes(16_384)] * 3)))
    frames = caller.hear()
    assert refusal(frames)[0] == "8"
    assert fields(frames)["grpc-retry-pushback-ms"] == "1000"
    caller.buffers.add(-(BUFFERED - CALL_BYTES - BODY_FACTOR * 50_000))
    assert caller.held == 0


def test_incomplete_message_of_a_caller_that_holds_most(caller: Caller) -> None:
    """An incomplete message is refused to make room for another caller that needs less, and its bytes are released."""
    caller.say(wire.request(1, ended=False, head=UNARY))
    caller.say(b"".join(wire.data(1, piece) for piece in (wrap(bytes(90_000))[:16_384], *[bytes(16_384)] * 2)))
    caller.buffers.add(BUFFERED - caller.held, "many others")
    other = Charge(caller.buffers, "other")
    other.add(100_000)
    assert refusal(caller.hear())[0] == "8"
    assert caller.calls[1].charge.held == 0
    other.release()
    caller.buffers.add(-caller.held, "many others")


def test_unread_answer_of_a_caller_that_holds_most(caller: Caller) -> None:
    """An answer that its client does not read is stopped to make room for another caller that needs less."""

    async def run(call: Call) -> None:
        await call.answer(bytes(500_000))

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, WHOLE, ended=True))
    caller.hear()
    caller.buffers.add(BUFFERED - caller.held, "many others")
    other = Charge(caller.buffers, "other")
    other.add(100_000)
    caller.hear()
    assert caller.calls[1].status == "RESOURCE_EXHAUSTED"
    other.release()
    caller.buffers.add(-caller.held, "many others")


def test_failed_call_of_a_caller_that_holds_most(caller: Caller) -> None:
    """A stream that reads no more messages, and answers one, is not ended again to make room for another caller."""
    proceed = asyncio.Event()

    async def run(call: Call) -> None:
        await call.read()
        await proceed.wait()
        await call.read()

    caller.methods["/stream"] = Method(run, streaming=True)
    message = wrap(bytes(20_000))
    caller.say(
        wire.request(1, ended=False, head=STREAM) + wire.data(1, message[:16_384]) + wire.data(1, message[16_384:])
    )
    caller.hear()
    caller.say(wire.data(1, message[:16_384]))
    for _ in range(2):
        caller.wait(16)
        caller.hear()
        caller.say(wire.ping(flags=wire.ACK))
    held = caller.calls[1].charge.held
    assert caller.calls[1].failure is not None and held > BODY_FACTOR * 20_000
    caller.buffers.add(BUFFERED - caller.held, "many others")
    with pytest.raises(Overloaded):
        Charge(caller.buffers, "other").add(20_000)
    assert caller.calls[1].charge.held == held
    proceed.set()
    assert refusal(caller.hear()) == ("4", "a message was not complete after 30 s")
    caller.buffers.add(-caller.held, "many others")


def test_content_after_a_status(caller: Caller, loop: Loop) -> None:
    """Messages of a stream that already has a status are not admitted, although its reset is read after them."""
    admitted: list[int] = []

    async def run(call: Call) -> None:
        raise NotFound("no")

    caller.methods["/stream"] = Method(run, streaming=True, admit=lambda length, caller: admitted.append(length))
    loop.tick = 1.0  # so that the method runs before the rest is read
    messages = wire.data(1, wrap(b"x")) + wire.window(0, 1) * 12 + wire.data(1, wrap(b"too late"))
    caller.say(wire.request(1, ended=False, head=STREAM) + messages + wire.reset(1))
    caller.hear()
    loop.tick = 0.0
    assert caller.outcomes == ["NOT_FOUND"] and admitted == [1]


def test_messages_that_wait(caller: Caller) -> None:
    """Messages of a stream count until they are read, and the client has to wait until then to send many more."""
    started = asyncio.Event()

    async def run(call: Call) -> None:
        await started.wait()
        while await call.read() is not None:
            pass
        call.end()

    caller.methods["/stream"] = Method(run, streaming=True)
    caller.say(wire.request(1, ended=False, head=STREAM))
    message = wrap(bytes(8187))
    left, number = 65_535, 0
    while left >= 8192:
        number += 1
        caller.say(wire.data(1, message))
        assert caller.held >= CALL_BYTES + number * BODY_FACTOR * 8187
        left += sum(each.number for each in caller.hear() if each.kind == "WINDOW_UPDATE" and each.stream == 1) - 8192
        assert number < 32
    started.set()
    frames = caller.hear()
    assert "WINDOW_UPDATE" in {each.kind for each in frames if each.stream == 1}
    assert caller.held < CALL_BYTES + 1000
    caller.say(wire.data(1, message) * 3 + wire.data(1, ended=True))
    assert fields(caller.hear())["grpc-status"] == "0"


def test_many_small_messages(caller: Caller) -> None:
    """Empty messages count, because each takes memory."""

    async def run(call: Call) -> None:
        await asyncio.Event().wait()

    caller.methods["/stream"] = Method(run, streaming=True)
    caller.say(wire.request(1, ended=False, head=STREAM) + wire.data(1, bytes(500)))
    assert caller.held >= CALL_BYTES + 100 * 128


def test_large_answer_that_is_not_taken(caller: Caller) -> None:
    """A large answer counts until the client has taken it or cancelled."""
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    for number in (1, 3):
        caller.say(wire.request(number, ended=False, head=UNARY))
    pieces = [wrap(bytes(50_000))[at : at + 16_000] for at in range(0, 50_005, 16_000)]
    for number in (1, 3):
        for piece in pieces:
            caller.say(wire.data(number, piece, ended=piece is pieces[-1]))
    caller.hear()
    held = CALL_BYTES + BODY_FACTOR * 50_000 + 50_000
    assert 2 * held <= caller.held < 2 * held + 2000
    caller.say(wire.window(1, 60_000))
    caller.hear()
    assert held <= caller.held < held + 1000
    caller.loop.now += 31
    caller.hear()
    assert caller.held == 0
    assert [call.status for call in caller.ended] == ["OK", None]


def test_no_memory_for_a_large_answer_without_a_task(caller: Caller) -> None:
    """A started call with a large answer is refused if there is no memory for the answer, although it could be sent."""
    caller.say(wire.request(1, ended=False, head=STARTED) + wire.data(1, wrap(bytes(5000)), ended=True))
    others = caller.buffers.hold(BUFFERED - caller.held)
    frames = caller.hear()
    assert (refusal(frames)[0], content(frames)) == ("8", b"")
    caller.buffers.add(-others)


@pytest.mark.parametrize("kind", FIELDS)
def test_compressed_message(caller: Caller, kind: str) -> None:
    """The task of a call decompresses its message, which counts with its decompressed size."""
    plain = os.urandom(900) * 100
    packed = wrap(gzip.compress(plain), compressed=True)
    caller.say(wire.request(1, ("grpc-encoding", "gzip"), ended=False, head=FIELDS[kind]))
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)) + wire.data(1, packed, ended=True))
    assert caller.held < CALL_BYTES + 10_000
    caller.hear()
    assert caller.held >= CALL_BYTES + BODY_FACTOR * 90_000 + 90_000  # the message, and the answer
    caller.say(wire.window(1, 10**6) + wire.window(0, 10**6))
    frames = caller.hear()
    assert content(frames) == wrap(plain)
    assert caller.held == 0


def test_started_calls_shorten_the_turn(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that starts, or goes on, takes time from the turn in which it was read, and one that waits takes none."""
    spent: list[float] = []
    monkeypatch.setattr(Turns, "spend", lambda turns, seconds=TASK_SECONDS: spent.append(seconds))
    caller.say(wire.request(1, ended=False, head=UNARY))
    assert spent == []
    caller.say(wire.data(1, wrap(b"x"), ended=True) + wire.request(3, ended=False, head=STREAM))
    assert len(spent) == 2 and min(spent) > TASK_SECONDS  # the methods never answer without a task
    run = caller.methods["/unary"].run
    caller.methods["/unary"] = Method(run, start=lambda call, message: False)
    caller.say(wire.request(5, ended=False, head=UNARY) + wire.data(5, wrap(b"x"), ended=True))
    assert spent[2:] == [TASK_SECONDS]
    caller.hear()
    caller.say(wire.data(3, wrap(b"x")))  # the stream has waited for it
    assert spent[3:] == [TASK_SECONDS]
    monkeypatch.undo()


@pytest.mark.parametrize("kind", FIELDS)
def test_decompression_bombs(caller: Caller, kind: str) -> None:
    """Messages that decompress to more than the available memory are refused, and the others are answered."""
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    packed = wrap(gzip.compress(os.urandom(900) * 100), compressed=True)
    for number in range(1, 21, 2):
        caller.say(wire.request(number, ("grpc-encoding", "gzip"), ended=False, head=FIELDS[kind]))
        caller.say(wire.data(number, packed, ended=True))
    frames = caller.hear()
    refused = [each.stream for each in frames if each.flags & wire.END_STREAM and each.kind == "HEADERS"]
    assert 5 <= len(refused) < 10
    assert caller.held <= BUFFERED


# Answers.


def test_status_of_an_answer(caller: Caller) -> None:
    """The status of an answered call is OK, and the call's own fields follow it."""

    async def run(call: Call) -> None:
        call.trailing.append((b"x-request-id", b"mine"))
        await call.answer(await call.message())

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, WHOLE, ended=True))
    frames = caller.hear()
    assert content(frames) == WHOLE
    assert fields(frames) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "0",
        "x-request-id": "mine",
    }
    assert caller.ended == [caller.calls[1]] and caller.calls[1].status == "OK"


def ask(caller: Caller, kind: str, accepted: str, message: bytes) -> list[wire.Frame]:
    """Make a call that accepts these encodings."""
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 10**6)) + wire.window(0, 10**6))
    caller.say(wire.request(1, ("grpc-accept-encoding", accepted), ended=False, head=FIELDS[kind]))
    data = wrap(message)
    for at in range(0, len(data), 16_384):
        caller.say(wire.data(1, data[at : at + 16_384], ended=at + 16_384 >= len(data)))
    return caller.hear()


@pytest.mark.parametrize("kind", FIELDS)
@pytest.mark.parametrize("size", [16_384, 99_990])
@pytest.mark.parametrize("accepted", ["gzip", "identity,deflate,gzip", "identity, gzip"])
def test_compressed_answer(caller: Caller, kind: str, size: int, accepted: str) -> None:
    """A large answer is compressed for a client that accepts gzip."""
    frames = ask(caller, kind, accepted, b"m" * size)
    assert fields(frames)["grpc-encoding"] == "gzip"
    data = content(frames)
    assert data[0] == 1 and int.from_bytes(data[1:5]) == len(data) - 5 < 1000
    assert gzip.decompress(data[5:]) == b"m" * size


@pytest.mark.parametrize(
    ("accepted", "message"),
    [
        ("identity,deflate", b"m" * 50_000),
        ("gzip", b"m" * 16_383),
        ("gzip", b"".join(number.to_bytes(8) for number in range(0, 2**64, 2**64 // 6000))[:16_384]),
        ("", b"m" * 50_000),
    ],
    ids=["not accepted", "small", "no gain", "empty"],
)
def test_answer_that_is_not_compressed(caller: Caller, accepted: str, message: bytes) -> None:
    """Other answers are not compressed and name no compression."""
    frames = ask(caller, "unary", accepted, message)
    data = content(frames)
    if data[0]:
        assert gzip.decompress(data[5:]) == message and len(data) < len(message)
    else:
        assert data == wrap(message)
        assert "grpc-encoding" not in fields(frames)


@pytest.mark.parametrize(("most", "size", "taken"), [(1, 999, 1), (3, 999, 3), (9, 999, 5), (9, 30, 3), (9, 29, 2)])
def test_messages_together(caller: Caller, most: int, size: int, taken: int) -> None:
    """A method takes as many waiting messages together as it asks for, within its size, and the first one always."""
    sizes: list[int] = []

    async def run(call: Call) -> None:
        while (message := await call.read()) is not None:
            sizes.append(1 + len(call.more(message, most, size)))
        call.end()

    caller.methods["/stream"] = Method(run, streaming=True)
    caller.say(wire.request(1, ended=False, head=STREAM) + wire.data(1, wrap(bytes(10)) * 5, ended=True))
    assert fields(caller.hear())["grpc-status"] == "0"
    assert sizes[0] == taken and sum(sizes) == 5


# Refusals.


@pytest.mark.parametrize("message", ["m" * 100_000, "é" * 100_000, "\U0001f600" * 100_000])
def test_long_refusal(caller: Caller, message: str) -> None:
    """A refusal fits into one frame: a long quotation is truncated."""

    async def run(call: Call) -> None:
        raise NotFound(message)

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, head=UNARY))
    [answer] = caller.hear()
    assert len(answer.payload) <= 16_384
    assert (fields([answer])[":status"], fields([answer])["grpc-status"]) == ("200", "5")


@pytest.mark.parametrize("error", [NotFound("there is none"), Overloaded("full")], ids=["for good", "for now"])
def test_details_of_a_refusal(caller: Caller, error: RequestError) -> None:
    """`grpc-status-details-bin` contains the error code, the request id, and when to retry."""

    async def run(call: Call) -> None:
        call.request_id = "mine"
        raise error

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, WHOLE, ended=True))
    found = fields(caller.hear())
    status = RpcStatus.FromString(b64decode(found["grpc-status-details-bin"] + "=="))
    assert (status.code, status.message) == (int(found["grpc-status"]), error.message)
    info, request, retry = ErrorInfo(), RequestInfo(), RetryInfo()
    assert status.details[0].Unpack(info) and status.details[1].Unpack(request)
    assert (info.reason, info.domain, request.request_id) == (error.code.upper(), "sentiment-conv1d", "mine")
    if error.retry_after is None:
        assert len(status.details) == 2 and "grpc-retry-pushback-ms" not in found
    else:
        assert status.details[2].Unpack(retry) and retry.retry_delay.seconds == error.retry_after
        assert found["grpc-retry-pushback-ms"] == str(1000 * error.retry_after)


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
def test_no_memory_for_the_first_answer(caller: Caller, accepted: str) -> None:
    """If there is no memory for the first answer before it is compressed, the call is refused with a complete head."""

    async def large(request: HealthCheckRequest) -> HealthCheckRequest:
        return HealthCheckRequest(service="s" * 20_000)

    caller.methods["/unary"] = uncounted(HealthCheckRequest, large)
    caller.buffers.hold(BUFFERED - 10_000)
    begin = wire.request(1, ("grpc-accept-encoding", accepted), ended=False, head=UNARY)
    caller.say(begin + wire.data(1, bytes(5), ended=True))
    found = fields(caller.hear())
    assert (found[":status"], found["grpc-status"]) == ("200", "8")
    caller.buffers.add(-(BUFFERED - 10_000))


def test_methods_without_metrics(caller: Caller) -> None:
    """A method without metrics also refuses invalid messages."""

    async def unreachable(request: HealthCheckRequest) -> HealthCheckRequest:
        pytest.fail("the request was answered")

    caller.methods["/unary"] = uncounted(HealthCheckRequest, unreachable)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, b"\0\0\0\0\x01\xff", ended=True))
    assert refusal(caller.hear()) == ("3", "the message is not valid protobuf")


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
    """An exception of a method becomes the status of its call, and only the log has the reason of a defect."""

    async def run(call: Call) -> None:
        raise error

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, bytes(5), ended=True))
    assert refusal(caller.hear()) == (status, message)
    assert ("secret" in caplog.text) == (message == "internal error")
    assert caller.ended == [caller.calls[1]] and caller.calls[1].status == Code.Name(int(status))


@pytest.mark.parametrize("end", ["aborted", "reset", "lost"])
def test_method_that_raises_without_a_client(caller: Caller, end: str) -> None:
    """An exception after the client has disconnected is ignored."""
    proceed = asyncio.Event()

    async def run(call: Call) -> None:
        try:
            await proceed.wait()
        except asyncio.CancelledError:
            raise NotFound("no") from None
        raise NotFound("no")

    caller.methods["/unary"] = Method(run)
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, bytes(5), ended=True))
    caller.hear()
    if end == "aborted":
        caller.transport.abort()
        proceed.set()
    elif end == "reset":
        caller.say(wire.reset(1))
    else:
        caller.transport.abort()
        caller.connection.connection_lost(None)
    assert caller.hear() == []
    assert caller.task.done() and caller.task.exception() is None


# Deadlines and slow clients.


@pytest.mark.parametrize("first", [b"", HALF, WHOLE], ids=["nothing", "half", "whole"])
@pytest.mark.parametrize("timeout", [None, "99999999H"])
def test_unary_call_that_does_not_end(caller: Caller, first: bytes, timeout: str | None) -> None:
    """A unary call whose message stays incomplete is refused after the body timeout."""
    more = [] if timeout is None else [("grpc-timeout", timeout)]
    caller.say(wire.request(1, *more, ended=False, head=UNARY) + wire.data(1, first))
    caller.wait(30)
    assert caller.hear() == []
    caller.wait(2)
    assert refusal(caller.hear()) == ("4", "a message was not complete after 30 s")


def test_deadline_of_a_unary_call_that_does_not_end(caller: Caller) -> None:
    """A unary call waits for its message until its deadline if that is earlier."""
    caller.say(wire.request(1, ("grpc-timeout", "5S"), ended=False, head=UNARY))
    caller.wait(5)
    assert caller.hear() == []
    caller.wait(1)
    assert refusal(caller.hear()) == ("4", "the deadline has passed")


def test_deadline_before_the_work_begins(caller: Caller) -> None:
    """A stream whose deadline passes before its method starts is refused."""
    caller.say(wire.request(1, ("grpc-timeout", "5S"), ended=False, head=STREAM))
    caller.loop.now += 6
    caller.calls[1]._expire()
    assert fields(caller.hear())["grpc-status"] == "4"


def test_deadline_while_an_answer_waits(caller: Caller) -> None:
    """A stream ends at its deadline even if its client does not take an answer."""
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 2)))
    caller.say(wire.request(1, ("grpc-timeout", "5S"), ended=False, head=STREAM) + wire.data(1, WHOLE))
    caller.hear()
    caller.loop.now += 6
    assert fate(caller.hear()) == ["RST_STREAM 1 CANCEL"]
    assert caller.held == 0


def test_deadline_of_a_watching_call(caller: Caller) -> None:
    """A call that watches health ends at its deadline."""
    caller.methods |= Health([""]).methods()
    watch = wire.request(1, ("grpc-timeout", "5S"), ended=False, head=head("/grpc.health.v1.Health/Watch"))
    caller.say(watch + wire.data(1, bytes(5), ended=True))
    assert "grpc-status" not in fields(caller.hear())
    caller.loop.now += 6
    assert refusal(caller.hear()) == ("4", "the deadline has passed")


def test_stream_that_only_waits(caller: Caller) -> None:
    """A stream can wait for its next message without a limit."""
    caller.say(wire.request(1, ended=False, head=STREAM))
    for _ in range(10):
        caller.wait(29)
        caller.say(wire.ping(flags=wire.ACK))
        assert [each.kind for each in caller.hear() if each.kind != "PING"] == []
    caller.say(wire.data(1, bytes(5)))
    assert "HEADERS" in {each.kind for each in caller.hear()}


def test_stream_that_is_not_taken(caller: Caller) -> None:
    """A stream whose answers are not taken is cancelled after the write timeout, with its messages."""
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    caller.say(wire.request(1, ended=False, head=STREAM) + wire.data(1, WHOLE))
    caller.hear()
    caller.say(wire.data(1, WHOLE))
    for _ in range(2):
        caller.wait(16)
        caller.say(wire.ping(flags=wire.ACK))
    assert [each.code for each in caller.hear() if each.kind == "RST_STREAM"] == ["CANCEL"]
    assert caller.held == 0 and caller.calls[1].status is None


def test_streams_at_shutdown(caller: Caller) -> None:
    """At shutdown, a stream ends if no message arrives for a while, or after some seconds with messages."""
    for number in (1, 3):
        caller.say(wire.request(number, ended=False, head=STREAM))
    caller.hear()
    started = caller.loop.now
    for call in caller.calls.values():
        call._context.left_at = started
    statuses: dict[int, float] = {}
    while len(statuses) < 2:
        if 3 not in statuses:
            caller.say(wire.data(3, bytes(5)))
        caller.loop.now += 0.1
        frames = caller.hear()
        caller.connection.enforce_timeouts(caller.loop.now)
        for each in frames + caller.hear():
            if each.kind == "HEADERS" and each.flags & wire.END_STREAM:
                assert dict(wire.fields(each.payload))["grpc-status"] == "14"
                statuses[each.stream] = caller.loop.now - started
    assert 0.2 < statuses[1] < 0.4 and 5 < statuses[3] < 5.2


# Which calls let their connection be evicted.


def test_parked_calls(caller: Caller) -> None:
    """A call is parked while it waits for its client or watches health, and not while it works."""
    proceed = asyncio.Event()

    async def run(call: Call) -> None:
        await call.read()
        await proceed.wait()
        call.end()

    async def watch(call: Call) -> None:
        await proceed.wait()
        call.end()

    caller.methods |= {
        "/stream": Method(run, streaming=True),
        "/watch": Method(watch, watching=True),
    }
    caller.say(wire.request(1, ended=False, head=UNARY) + wire.data(1, HALF))
    caller.say(wire.request(3, ended=False, head=STREAM) + wire.request(5, head=head("/watch")))
    caller.hear()
    assert [caller.calls[number].parked for number in (1, 3, 5)] == [True, True, True]
    caller.say(wire.data(3, bytes(5)))
    caller.hear()
    assert not caller.calls[3].parked
    proceed.set()
    assert len([each for each in caller.hear() if each.flags & wire.END_STREAM]) == 2


def test_health_changes_while_a_client_reads(caller: Caller) -> None:
    """A watching client that is slow to read gets the changes later."""
    health = Health([""])
    caller.methods |= health.methods()
    caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    begin = wire.request(1, ended=False, head=head("/grpc.health.v1.Health/Watch"))
    caller.say(begin + wire.data(1, bytes(5), ended=True))
    assert "DATA" not in {each.kind for each in caller.hear()}
    health.tell(False)
    caller.hear()
    caller.say(wire.window(1, 100))
    told = [each.payload[5:] for each in caller.hear() if each.kind == "DATA"]
    statuses = [HealthCheckResponse.FromString(each).status for each in told]
    assert statuses == [HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING]
