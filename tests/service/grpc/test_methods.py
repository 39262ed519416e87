"""The code that all methods share, tested with calls without a network."""

from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sentiment_conv1d.protos.sentiment_pb2 import Prediction, PredictRequest
from sentiment_conv1d.server.errors import ClientDisconnected, DeadlineExceeded, Overloaded, RequestError
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.grpc.status import as_refusal
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.grpc.methods import MethodBuilder
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, DataPlane
from sentiment_conv1d.service.telemetry.metrics import Metrics, RouteKind
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from tests.service.telemetry.test_metrics import series


class FakeCall:
    """A call with one message, or a stream with several, whose caller disconnects before it takes an answer."""

    def __init__(self, *messages: bytes, remaining: float | None = None, gone: bool = True) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.request_id = ""
        self.charge = Charge(Buffers(0))
        self.failure: RequestError | None = None
        self.status: str | None = None
        self.refusals: list[RequestError] = []
        self.answers: list[bytes] = []
        self._messages = list(messages)
        self._remaining = remaining
        self._gone = gone
        self.started = 0.0
        self.context: Any = None

    def run(self, maker: MethodBuilder, method: Method) -> None:
        """Run a method to its end, as the server does."""
        self._maker = maker
        asyncio.run(Call._run_to_end(cast(Call, self), partial(method.run, self)))

    def _end(self) -> None:
        self._maker.ended(cast(Call, self), self.status or "CANCELLED")

    def remaining(self) -> float | None:
        return self._remaining

    async def message(self) -> bytes:
        return self._messages.pop()

    async def read(self) -> bytes | None:
        return self._messages.pop(0) if self._messages else None

    def more(self, message: bytes, most: int, size: int) -> list[bytes]:
        messages, self._messages = self._messages[: most - 1], self._messages[most - 1 :]
        return messages

    async def write(self, *messages: bytes) -> None:
        if self._gone:
            raise ClientDisconnected
        self.answers += messages

    async def answer(self, message: bytes) -> None:
        await self.write(message)
        self.end()

    def end(self) -> None:
        self.status = "OK"

    def refuse(self, error: Exception) -> None:
        self.refusals.append(as_refusal(error, "/method", "id"))
        self.status = self.refusals[-1].grpc_status


def fail(content: bytes) -> PredictRequest:
    pytest.fail("the message was read")


#: A class of messages that must not be read.
UNREAD: Any = SimpleNamespace(FromString=fail)


async def unanswered(request: PredictRequest, context: RequestContext) -> Prediction:
    pytest.fail("the request was answered")


async def answered(request: PredictRequest, context: RequestContext) -> Prediction:
    return Prediction(label=request.text)


def counted(metrics: Metrics, **dataplane: Any) -> MethodBuilder:
    return MethodBuilder(cast(DataPlane, SimpleNamespace(**dataplane)), metrics)


def calls_ended(metrics: Metrics) -> dict[str, float]:
    """Return the number of ended calls by status."""
    samples = series(metrics.expose().decode())
    return {
        dict(labels)["status"]: number
        for (name, labels), number in samples.items()
        if name == "sentiment_requests_total" and number
    }


@pytest.fixture
def metrics() -> Metrics:
    """Create the metrics of one method."""
    return Metrics({"grpc": {"/method": RouteKind.OTHER}})


def test_answer(metrics: Metrics) -> None:
    """A unary call is answered and counted."""
    call = FakeCall(PredictRequest(text="x").SerializeToString(), gone=False)
    maker = counted(metrics)
    call.run(maker, maker.unary("/method", PredictRequest, answered))
    assert [Prediction.FromString(answer).label for answer in call.answers] == ["x"]
    assert calls_ended(metrics) == {"OK": 1}


def test_deadline_had_passed_on_arrival(metrics: Metrics) -> None:
    """A call that arrives after its deadline is refused and counted before its message is read."""
    call = FakeCall(b"", remaining=0.0)
    maker = counted(metrics)
    call.run(maker, maker.unary("/method", UNREAD, unanswered))
    [refusal] = call.refusals
    assert refusal.message == "the deadline had passed before the request was read"
    assert calls_ended(metrics) == {"DEADLINE_EXCEEDED": 1}


def test_large_messages_without_a_place_are_not_read(metrics: Metrics) -> None:
    """A large message that cannot be admitted is refused before it is read, and a small one is read."""

    def full(size: int, caller: str) -> None:
        raise Overloaded("2048 texts are waiting")

    large, small = FakeCall(b"\xff" * (INLINE_CHARACTERS + 1)), FakeCall(b"\xff" * INLINE_CHARACTERS)
    maker = counted(metrics, parsing_large=full, expect=None)
    large.run(maker, maker.unary("/method", UNREAD, unanswered))
    small.run(maker, maker.unary("/method", PredictRequest, unanswered))
    assert [refusal.code for refusal in (*large.refusals, *small.refusals)] == ["overloaded", "malformed"]
    assert calls_ended(metrics) == {"RESOURCE_EXHAUSTED": 1, "INVALID_ARGUMENT": 1}


@pytest.mark.parametrize("kind", ["unary", "stream"])
def test_answer_after_a_disconnection(metrics: Metrics, kind: str) -> None:
    """A call counts as cancelled if its caller has disconnected before the answer."""
    maker = counted(metrics)
    FakeCall(b"").run(maker, getattr(maker, kind)("/method", PredictRequest, answered))
    assert calls_ended(metrics) == {"CANCELLED": 1}


def test_deadline_of_a_stream(metrics: Metrics) -> None:
    """A call that is cancelled after its deadline is refused and counted as DEADLINE_EXCEEDED."""

    async def cancelled(request: PredictRequest, context: RequestContext) -> Prediction:
        call.failure = DeadlineExceeded("the deadline has passed")
        raise asyncio.CancelledError

    call = FakeCall(b"")
    maker = counted(metrics)
    call.run(maker, maker.stream("/method", PredictRequest, cancelled))
    assert [refusal.message for refusal in call.refusals] == ["the deadline has passed"]
    assert calls_ended(metrics) == {"DEADLINE_EXCEEDED": 1}


def test_defects_are_not_shown(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is an internal error for the caller, and the log contains its reason."""

    async def broken(request: PredictRequest, context: RequestContext) -> Prediction:
        raise ValueError("secret")

    call = FakeCall(b"")
    maker = counted(metrics)
    call.run(maker, maker.unary("/method", PredictRequest, broken))
    assert [refusal.message for refusal in call.refusals] == ["internal error"]
    assert "secret" in caplog.text
    assert calls_ended(metrics) == {"INTERNAL": 1}


def texts(*each: str) -> list[bytes]:
    return [PredictRequest(text=text).SerializeToString() for text in each]


def labels(answers: list[bytes]) -> list[str]:
    return [Prediction.FromString(answer).label for answer in answers]


def test_requests_of_a_stream_run_together(metrics: Metrics) -> None:
    """Requests that arrive at the same moment run together, up to 16, and are answered in their order."""
    running: list[str] = []
    together: list[int] = []

    async def slowest_first(request: PredictRequest, context: RequestContext) -> Prediction:
        running.append(request.text)
        together.append(len(running))
        for _ in range(40 - int(request.text)):
            await asyncio.sleep(0)
        running.remove(request.text)
        return Prediction(label=request.text)

    call = FakeCall(*texts(*map(str, range(40))), gone=False)
    maker = counted(metrics)
    call.run(maker, maker.stream("/method", PredictRequest, slowest_first))
    assert labels(call.answers) == [str(number) for number in range(40)]
    assert max(together) == 16
    assert calls_ended(metrics) == {"OK": 1}


def test_a_bad_request_among_others_of_a_stream(metrics: Metrics) -> None:
    """The requests before an invalid one are answered, and then the call is refused, and freed without a collector."""

    async def picky(request: PredictRequest, context: RequestContext) -> Prediction:
        if request.text == "bad":
            raise Invalid("no")
        return Prediction(label=request.text)

    call = FakeCall(*texts("a", "b", "bad", "c"), gone=False)
    maker = counted(metrics)
    gc.disable()
    try:
        call.run(maker, maker.stream("/method", PredictRequest, picky))
        assert labels(call.answers) == ["a", "b"]
        assert [refusal.code for refusal in call.refusals] == ["invalid"]
        assert calls_ended(metrics) == {"INVALID_ARGUMENT": 1}
        freed = weakref.ref(call)
        call.refusals.clear()
        del call
        assert freed() is None
    finally:
        gc.enable()


def test_a_stream_does_not_crowd_itself_out() -> None:
    """If only some of a stream's requests can be admitted, the others wait. If none can be, the stream is refused."""
    places = 2

    async def crowded(request: PredictRequest, context: RequestContext) -> Prediction:
        nonlocal places
        if not places:
            raise Overloaded("full")
        places -= 1
        await asyncio.sleep(0)
        places += 1
        return Prediction(label=request.text)

    for free, answers, statuses in ((2, ["a", "b", "c", "d", "e"], {"OK": 1}), (0, [], {"RESOURCE_EXHAUSTED": 1})):
        places = free
        metrics = Metrics({"grpc": {"/method": RouteKind.OTHER}})
        call = FakeCall(*texts("a", "b", "c", "d", "e"), gone=False)
        maker = counted(metrics)
        call.run(maker, maker.stream("/method", PredictRequest, crowded))
        assert labels(call.answers) == answers
        assert calls_ended(metrics) == statuses
