"""Every client supports compression, metadata, deadlines, cancellation and errors of a call."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from tests.interop.answers import HEALTH, SENTIMENT, TEXTS, predictions
from tests.interop.client import Client, End
from tests.processes import ServerProcess
from tests.service.reviews import reviews

PREDICT = f"{SENTIMENT}/Predict"
PREDICT_BATCH = f"{SENTIMENT}/PredictBatch"
PREDICT_STREAM = f"{SENTIMENT}/PredictStream"

#: The encoding that each client reports for large answers; None if it reports none. All accept gzip.
ENCODINGS = (None, "gzip")


@pytest.fixture
def goes_on(client: Client, server: ServerProcess) -> Callable[[], None]:
    """Assert that the server answers further calls on the same channel."""
    expected = predictions(server, TEXTS[2:3])[0]

    def ask() -> None:
        assert client.call(PREDICT, {"text": TEXTS[2]}) == expected

    return ask


def is_refused(end: End, status: StatusCode, message: str = "") -> None:
    """Assert that a call ended with a status."""
    assert end.code == status.value[0] and message in end.message, end


def detail(end: End, kind: Any) -> Any:
    """Return an error's detail of one type."""
    status = Status.FromString(b64decode(end.trailers["grpc-status-details-bin"]))
    assert (status.code, status.message) == (end.code, end.message)
    assert any(each.Unpack(kind) for each in status.details), status
    return kind


def test_gzip(client: Client, server: ServerProcess) -> None:
    """Compressed requests and answers have the same content."""
    texts = reviews(300, seed=4)
    expected = predictions(server, texts)
    for options in ({}, {"gzip": True}):
        answers, end = client.start(PREDICT_BATCH, {"texts": texts}, **options).result()
        assert end.code == 0 and [each["predictions"] for each in answers] == [expected]
        assert end.encoding in ENCODINGS
    answers, end = client.start(PREDICT_STREAM, *({"text": text} for text in texts), gzip=True).result()
    assert end.code == 0 and answers == expected


def test_metadata(client: Client, server: ServerProcess) -> None:
    """The server receives 6 kB of binary metadata and returns its own as trailers."""
    metadata = {
        "x-context-bin": b64encode(random.Random(5).randbytes(6000)).decode(),
        "x-request-id": "interop-1",
    }
    answers, end = client.start(PREDICT, {"text": TEXTS[2]}, metadata=metadata).result()
    assert end.code == 0 and answers == predictions(server, TEXTS[2:3])
    assert end.trailers["x-request-id"] == "interop-1"


def test_deadline(client: Client, goes_on: Callable[[], None]) -> None:
    """A call ends at its deadline, whether it computes or waits for its caller."""
    is_refused(client.refused(PREDICT_BATCH, {"texts": TEXTS * 50}, timeout_ms=1), StatusCode.DEADLINE_EXCEEDED)
    waiting = client.start(PREDICT_STREAM, {"text": "good"}, timeout_ms=1000, keep_open=True)
    assert waiting.answer()["label"] == "positive"
    is_refused(waiting.end(), StatusCode.DEADLINE_EXCEEDED)
    goes_on()


def test_cancellation(client: Client, goes_on: Callable[[], None]) -> None:
    """A call ends when its caller cancels it, and the next call succeeds."""
    stream = client.start(PREDICT_STREAM, {"text": "good"}, keep_open=True)
    assert stream.answer()["label"] == "positive"
    stream.cancel()
    is_refused(stream.end(), StatusCode.CANCELLED)
    batches = [client.start(PREDICT_BATCH, {"texts": TEXTS * 50}) for _ in range(2)]
    for batch in batches:
        batch.cancel()
    ends = {batch.result()[1].code for batch in batches}
    assert ends <= {StatusCode.OK.value[0], StatusCode.CANCELLED.value[0]}
    goes_on()


def test_large_messages(client: Client, server: ServerProcess) -> None:
    """Messages larger than HTTP/2's windows arrive completely, in both directions."""
    texts = ["a good film " * 80_000] * 7  # almost 7 MB
    assert client.call(PREDICT_BATCH, {"texts": texts})["predictions"] == predictions(server, texts[:1]) * 7
    texts = [f"{number} was a bad year" for number in range(1024)]  # whose answer has almost 100 kB
    assert client.call(PREDICT_BATCH, {"texts": texts})["predictions"] == predictions(server, texts)


def test_too_large(client: Client, goes_on: Callable[[], None]) -> None:
    """A message over the limit is rejected, and the channel stays open."""
    texts = ["a good film " * 80_000] * 10
    is_refused(client.refused(PREDICT_BATCH, {"texts": texts}), StatusCode.RESOURCE_EXHAUSTED, "the limit is 8388608")
    goes_on()


@pytest.mark.parametrize("path", [f"/{SENTIMENT}/Nothing", "/nothing.Nothing/Predict"])
def test_unknown_method(client: Client, path: str, goes_on: Callable[[], None]) -> None:
    """An unknown method or service is UNIMPLEMENTED."""
    is_refused(client.refused(PREDICT, {"text": "good"}, path=path), StatusCode.UNIMPLEMENTED, path)
    goes_on()


def test_wrong_requests(client: Client) -> None:
    """An invalid request gets a status and a message, whatever characters the message quotes."""
    end = client.refused(f"{SENTIMENT}/Explain", {"text": "good", "label": "100 % „naïve“"})
    is_refused(end, StatusCode.INVALID_ARGUMENT, "100 % „naïve“")
    assert end.trailers["x-request-id"]
    is_refused(client.refused(PREDICT, {"text": "good", "model": "nothing"}), StatusCode.NOT_FOUND, "nothing")
    answers, end = client.start(PREDICT_STREAM, {"text": "good"}, {"text": "good", "model": "nothing"}).result()
    assert len(answers) == 1
    is_refused(end, StatusCode.NOT_FOUND, "nothing")


def test_overload(client: Client, goes_on: Callable[[], None]) -> None:
    """Texts over the limit are rejected with a retry delay."""
    # Short texts: the client writes these calls faster than the server answers them.
    batches = [client.start(PREDICT_BATCH, {"texts": ["good"] * 1024}) for _ in range(64)]
    ends = [batch.result()[1] for batch in batches]
    refused = [end for end in ends if end.code]
    assert refused
    for end in refused:
        is_refused(end, StatusCode.RESOURCE_EXHAUSTED)
        assert int(end.trailers["grpc-retry-pushback-ms"]) > 0
        assert detail(end, RetryInfo()).retry_delay.ToMilliseconds() > 0
    goes_on()


def test_details(client: Client) -> None:
    """An error also carries its status as details for programs."""
    end = client.refused(f"{SENTIMENT}/Explain", {"text": "good", "label": "nothing"})
    information = detail(end, ErrorInfo())
    assert information.reason and information.domain
    assert detail(end, RequestInfo()).request_id == end.trailers["x-request-id"]


def test_concurrent_calls(client: Client, server: ServerProcess) -> None:
    """A thousand concurrent calls on one channel all get their own answers."""
    texts = [f"{number} {TEXTS[number % len(TEXTS)]}" for number in range(1000)]
    calls = [client.start(PREDICT, {"text": text}) for text in texts]
    watch = client.start(f"{HEALTH}/Watch", {})  # among them
    assert watch.answer() == {"status": "SERVING"}
    results = [call.result() for call in calls]
    assert [end for _, end in results if end.code] == []
    assert [answers for answers, _ in results] == [[each] for each in predictions(server, texts)]
    watch.cancel()
    is_refused(watch.end(), StatusCode.CANCELLED)
