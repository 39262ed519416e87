"""The service `sentiment.v1.Sentiment` on a real server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sentiment_conv1d.inference import prediction as core
from sentiment_conv1d.inference.classifier import Classifier
from sentiment_conv1d.protos.sentiment_pb2 import (
    ExplainRequest,
    PredictBatchRequest,
    Prediction,
    PredictRequest,
)
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service import artifacts
from tests.service.grpc.channels import connect, refused
from tests.service.telemetry.test_metrics import metric

TEXTS = ["A gripping, beautifully acted film.", "Two dull hours that I will never get back.", "qwertyuiop", "", "é ½"]

#: At least a fifth of a second of work, and as much as fits into a message: large texts take long to tokenize.
LARGE = ["a " * 17_000] * 230


def assert_answers(classifier: Classifier, texts: list[str], answers: list[Prediction]) -> None:
    for right, given in zip(classifier.predict(texts), answers, strict=True):
        assert_answers_one(right, given)


def assert_answers_one(right: core.Prediction, given: Prediction) -> None:
    assert (given.label, given.tokens, given.unknown_tokens) == (right.label, right.tokens, right.unknown_tokens)
    assert given.truncated is right.truncated
    assert given.confident is right.confident
    assert given.score == pytest.approx(right.score, abs=1e-6)
    assert [each.label for each in given.probabilities] == ["negative", "positive"]
    assert [each.probability for each in given.probabilities] == pytest.approx(list(right.probabilities), abs=1e-6)
    assert (given.model, given.version) == ("imdb-cnn", "1")


def texts_counted(server: ServerProcess) -> float:
    return metric(server, "sentiment_texts_total", model="imdb-cnn")


@pytest.fixture
def unused() -> Iterator[ServerProcess]:
    """Serve without earlier requests, whose texts would be counted some time after their answers."""
    with ServerProcess() as process:
        yield process


def calls_counted(server: ServerProcess, method: str, status: str) -> float:
    route = f"/sentiment.v1.Sentiment/{method}"
    return metric(server, "sentiment_requests_total", protocol="grpc", route=route, status=status)


@pytest.mark.parametrize("names", [{}, {"model": "imdb-cnn"}, {"version": "1"}, {"model": "imdb-cnn", "version": "1"}])
def test_predict(stub: SentimentStub, classifier: Classifier, names: dict[str, Any]) -> None:
    """A text gets its answer, with and without a model name."""
    for text in (*TEXTS, "word " * 500):
        assert_answers(classifier, [text], [stub.Predict(PredictRequest(text=text, **names))])


def test_predict_batch(stub: SentimentStub, classifier: Classifier) -> None:
    """The answers of a batch are in the order of its texts."""
    texts = [f"{text} {number}" for number in range(20) for text in TEXTS]
    answer = stub.PredictBatch(PredictBatchRequest(texts=texts, model="imdb-cnn", version="1"))
    assert_answers(classifier, texts, list(answer.predictions))


def test_predict_stream(stub: SentimentStub, classifier: Classifier) -> None:
    """The answers of a stream are in the order of its texts, and an empty stream gets no answer."""
    texts = [f"{text} {number}" for number in range(40) for text in TEXTS]
    assert_answers(classifier, texts, list(stub.PredictStream(PredictRequest(text=text) for text in texts)))
    assert list(stub.PredictStream(iter(()))) == []


def test_stream_answers_at_once(stub: SentimentStub) -> None:
    """An answer arrives before the next text is sent."""
    texts: queue.SimpleQueue[PredictRequest | None] = queue.SimpleQueue()
    answers = stub.PredictStream(iter(texts.get, None), timeout=PATIENCE)
    for number in range(5):
        texts.put(PredictRequest(text="word " * number))
        assert next(answers).tokens == number + 1
    texts.put(None)
    assert list(answers) == []


def test_stream_waits_for_its_reader(unused: ServerProcess) -> None:
    """While the caller takes no answers, the server stops reading texts; later it answers all of them in order."""
    count = 3000
    taken = 0
    weight = "x" * 8000  # one unknown word, so that the texts exceed all buffers between client and server

    def texts() -> Iterator[PredictRequest]:
        nonlocal taken
        for taken in range(1, count + 1):
            yield PredictRequest(text=weight + " word" * (taken % 7))

    # Flow control with the standard's fixed window; gRPC widens it for a reader that keeps up.
    with connect(unused, **{"http2.bdp_probe": 0}) as channel:
        answers = SentimentStub(channel).PredictStream(texts(), timeout=PATIENCE)
        still, answered = 0, 0.0
        while still < 100:  # scrapes in a row, each of which lets the server do all that it can
            now = texts_counted(unused)
            still = still + 1 if now == answered and now > 0 else 0
            answered = now
        assert answered < count / 2
        assert taken < count
        assert [each.tokens for each in answers] == [number % 7 + 2 for number in range(1, count + 1)]
    eventually(lambda: texts_counted(unused) == count)


def test_explain(stub: SentimentStub, classifier: Classifier) -> None:
    """`Explain` returns the prediction and the shares of the core."""
    for text in (*TEXTS, "word " * 500):
        answer = stub.Explain(ExplainRequest(text=text, model="imdb-cnn", version="1"))
        [encoding] = classifier.encode((text,))
        [prediction], _ = classifier.classify((encoding,))
        expected = classifier.explainer.explain(text, encoding, prediction.label)
        assert_answers_one(prediction, answer.prediction)
        assert answer.label == prediction.label
        total = answer.bias + answer.padding + sum(word.share for word in answer.words)
        assert answer.logit == pytest.approx(total, abs=1e-4)
        assert answer.logit == pytest.approx(expected.logit, abs=1e-5)
        for word, right in zip(answer.words, expected.words, strict=True):
            assert (word.text, word.start, word.end) == (right.text, right.start, right.end)
            assert (word.id, word.known) == (right.id, right.known)
            assert word.share == pytest.approx(right.share, abs=1e-6)
        for each, other in zip(answer.filters, expected.filters, strict=True):
            assert (each.width, each.index, each.start, each.end) == (other.width, other.index, other.start, other.end)
            assert each.activation * each.weight == pytest.approx(other.activation * other.weight, abs=1e-5)
        assert not answer.HasField("contrast")


def test_contrast(opinions: ServerProcess) -> None:
    """`Explain` explains positive against negative with the numbers of `/v1/explain`."""
    text = "praise complaint praise"
    expected = opinions.client.post("/v1/explain", json={"text": text}).json()["contrast"]
    with connect(opinions) as channel:
        contrast = SentimentStub(channel).Explain(ExplainRequest(text=text)).contrast
    assert (contrast.label, contrast.against) == ("positive", "negative")
    assert list(contrast.shares) == pytest.approx(expected["shares"], abs=1e-5)
    numbers = [contrast.log_odds, contrast.bias, contrast.padding]
    assert numbers == pytest.approx([expected[name] for name in ("log_odds", "bias", "padding")], abs=1e-5)


def test_explain_refusals(stub: SentimentStub, tmp_path: Path) -> None:
    """An unknown label is INVALID_ARGUMENT, and a model outside the family is FAILED_PRECONDITION."""
    refusal = refused(lambda: stub.Explain(ExplainRequest(text="x", label="other")))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT and "negative, positive" in refusal.message
    artifacts.publish_table(tmp_path)
    with ServerProcess("--workers", "1", repository=tmp_path) as server, connect(server) as channel:
        refusal = refused(lambda: SentimentStub(channel).Explain(ExplainRequest(text="praise")))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "no exact explanation for model 'tickets'" in refusal.message


@pytest.mark.parametrize(
    ("request_", "code", "names"),
    [
        (PredictRequest(text="x", model="other"), grpc.StatusCode.NOT_FOUND, "'other'"),
        (PredictRequest(text="x", version="2"), grpc.StatusCode.NOT_FOUND, "version '2'"),
        (PredictRequest(text="x" * 1_000_001), grpc.StatusCode.INVALID_ARGUMENT, "1000001 characters"),
        (PredictBatchRequest(), grpc.StatusCode.INVALID_ARGUMENT, "at least one text"),
        (PredictBatchRequest(texts=["x"] * 1025), grpc.StatusCode.INVALID_ARGUMENT, "1025 texts"),
        (PredictBatchRequest(texts=["x", "x" * 1_000_001]), grpc.StatusCode.INVALID_ARGUMENT, "text 1: 1000001"),
        (PredictBatchRequest(texts=["x"], model="other"), grpc.StatusCode.NOT_FOUND, "'other'"),
        (PredictBatchRequest(texts=["x"], version="new"), grpc.StatusCode.NOT_FOUND, "version 'new'"),
    ],
)
def test_refusals(
    server: ServerProcess,
    stub: SentimentStub,
    request_: PredictRequest | PredictBatchRequest,
    code: grpc.StatusCode,
    names: str,
) -> None:
    """A refusal has a status, names the reason and counts no text."""
    before = texts_counted(server)
    method: Any = stub.Predict if isinstance(request_, PredictRequest) else stub.PredictBatch
    refusal = refused(lambda: method(request_))
    assert refusal.code is code
    assert names in refusal.message
    assert texts_counted(server) == before


def test_refusal_in_a_stream(stub: SentimentStub) -> None:
    """A refused text ends the stream with its status, after the answers to earlier texts."""
    texts = [PredictRequest(text="a b"), PredictRequest(text="c", model="other"), PredictRequest(text="d")]
    answers = stub.PredictStream(iter(texts))
    assert next(answers).tokens == 3
    refusal = refused(lambda: next(answers))
    assert refusal.code is grpc.StatusCode.NOT_FOUND and "'other'" in refusal.message
    assert "x-request-id" in refusal.metadata


def test_message_too_large(stub: SentimentStub) -> None:
    """A message above --max-body-bytes is refused, and the reason contains both sizes."""
    refusal = refused(lambda: stub.PredictBatch(PredictBatchRequest(texts=["x" * 900_000] * 10)))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "8388608" in refusal.message


@pytest.mark.parametrize(
    "content", [b"\xff\xff", b"\x0a\x05abc", b"\x0a\x01\xff"], ids=["noise", "cut off", "no UTF-8"]
)
def test_invalid_messages(server: ServerProcess, channel: grpc.Channel, content: bytes) -> None:
    """Bytes that are not a message, or a text that is not UTF-8, are the caller's error and log no error."""
    for name in (
        "sentiment.v1.Sentiment/PredictBatch",
        "sentiment.v1.Sentiment/Predict",
        "grpc.health.v1.Health/Check",
    ):
        method: Any = channel.unary_unary(f"/{name}")
        refusal = refused(lambda method=method: method(content))  # type: ignore[misc]
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "not valid protobuf" in refusal.message
    stream: Any = channel.stream_stream("/sentiment.v1.Sentiment/PredictStream")
    refusal = refused(lambda: list(stream(iter([content]))))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "not valid protobuf" in refusal.message
    assert "Traceback" not in "".join(server.log)


def test_unknown_method(channel: grpc.Channel) -> None:
    """An unknown method is UNIMPLEMENTED."""
    method: Any = channel.unary_unary("/sentiment.v1.Sentiment/Nothing")
    assert refused(lambda: method(b"")).code is grpc.StatusCode.UNIMPLEMENTED


def test_deadline_has_passed(server: ServerProcess, stub: SentimentStub) -> None:
    """A call is not processed after its deadline."""
    before = texts_counted(server)
    refusal = refused(lambda: stub.Predict(PredictRequest(text="x"), timeout=-1))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert texts_counted(server) == before


def test_deadline_in_a_large_batch(unused: ServerProcess) -> None:
    """A deadline in the middle of a batch ends the work: no text is counted, and the next call is answered.

    Whether the server or gRPC notices first, the call is not counted as answered.
    """
    with connect(unused) as channel:
        stub = SentimentStub(channel)
        refusal = refused(lambda: stub.PredictBatch(PredictBatchRequest(texts=LARGE), timeout=0.05))
        assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert stub.Predict(PredictRequest(text="x")).tokens == 2
        assert len(stub.PredictBatch(PredictBatchRequest(texts=["x"] * 100)).predictions) == 100
    eventually(lambda: (texts_counted(unused), calls_counted(unused, "PredictBatch", "OK")) == (101, 1))


def test_server_deadline_in_a_large_batch() -> None:
    """The request timeout is a DEADLINE_EXCEEDED that states the seconds, and no text is counted."""
    with ServerProcess("--request-timeout", "0.02") as server, connect(server) as channel:
        refusal = refused(lambda: SentimentStub(channel).PredictBatch(PredictBatchRequest(texts=LARGE)))
        assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "0.02 s" in refusal.message
        assert texts_counted(server) == 0
        eventually(lambda: calls_counted(server, "PredictBatch", "DEADLINE_EXCEEDED") == 1)


def test_overloaded() -> None:
    """Too many waiting texts are RESOURCE_EXHAUSTED, and a small call is still answered."""
    limits = ("--max-batch-texts", "300", "--max-pending-texts", "300")
    with ServerProcess(*limits) as server, connect(server) as channel:
        stub = SentimentStub(channel)
        calls = [stub.PredictBatch.future(PredictBatchRequest(texts=LARGE)) for _ in range(4)]
        assert stub.Predict(PredictRequest(text="x")).tokens == 2
        codes = sorted(call.code().name for call in calls)
        assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
        [refused, *_] = [call for call in calls if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert "limit of 300" in refused.details()
        assert dict(refused.trailing_metadata())["grpc-retry-pushback-ms"] == "1000"


def test_cancelled_batch(server: ServerProcess, stub: SentimentStub) -> None:
    """A cancelled batch is counted as cancelled, its texts are not counted, and the next call is answered."""
    before = texts_counted(server)
    answered, cancelled = (calls_counted(server, "PredictBatch", status) for status in ("OK", "CANCELLED"))
    while True:
        call = stub.PredictBatch.future(PredictBatchRequest(texts=LARGE))
        running = server.client.get("/livez")  # it is on its way when this is answered, or will be refused as cancelled
        assert running.status_code == 200
        call.cancel()
        if call.cancelled():  # otherwise it was answered before
            break
    assert len(stub.PredictBatch(PredictBatchRequest(texts=["x"] * 100)).predictions) == 100

    def texts_of_answers() -> float:
        others = calls_counted(server, "PredictBatch", "OK") - answered - 1
        return before + 100 + len(LARGE) * others

    eventually(lambda: texts_counted(server) == texts_of_answers())  # a worker counts after it has answered
    assert calls_counted(server, "PredictBatch", "CANCELLED") - cancelled in (0, 1)


def test_cancelled_stream(server: ServerProcess, stub: SentimentStub) -> None:
    """A cancelled stream ends on the server, is counted as cancelled, and logs no error."""
    before = calls_counted(server, "PredictStream", "CANCELLED")
    going = threading.Event()

    def texts() -> Iterator[PredictRequest]:
        yield PredictRequest(text="one")
        going.wait(PATIENCE)

    answers = stub.PredictStream(texts())
    assert next(answers).tokens == 2
    answers.cancel()
    going.set()
    eventually(lambda: calls_counted(server, "PredictStream", "CANCELLED") == before + 1)
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("sent", ["abc", "A-Z:a/b+c=d~e._", "x" * 128])
def test_request_id_is_kept(stub: SentimentStub, sent: str) -> None:
    """The trailing metadata has the caller's request id, in answers and in refusals."""
    metadata = (("x-request-id", sent),)
    _, call = stub.Predict.with_call(PredictRequest(text="x"), metadata=metadata)
    assert dict(call.trailing_metadata())["x-request-id"] == sent
    refusal = refused(lambda: stub.Predict(PredictRequest(model="other"), metadata=metadata))
    assert refusal.metadata["x-request-id"] == sent
    answers = stub.PredictStream(iter([PredictRequest(text="x")]), metadata=metadata)
    assert len(list(answers)) == 1
    assert dict(answers.trailing_metadata())["x-request-id"] == sent


@pytest.mark.parametrize("metadata", [(), (("x-request-id", "a b"),), (("x-request-id", "x" * 129),)])
def test_request_id_is_made(stub: SentimentStub, metadata: tuple[tuple[str, str], ...]) -> None:
    """A call with no request id, or an unsafe one, gets a new one."""
    ids = set()
    for _ in range(3):
        _, call = stub.Predict.with_call(PredictRequest(text="x"), metadata=metadata)
        ids.add(dict(call.trailing_metadata())["x-request-id"])
    assert len(ids) == 3
    assert all(len(each) == 16 for each in ids)


def test_counts(unused: ServerProcess) -> None:
    """Every call is counted by method and status, with protocol="grpc"."""
    expected = {("Predict", "OK"): 2, ("Predict", "NOT_FOUND"): 1, ("PredictBatch", "OK"): 1}
    expected |= {("PredictBatch", "INVALID_ARGUMENT"): 1, ("PredictStream", "OK"): 1}
    with connect(unused) as channel:
        stub = SentimentStub(channel)
        for _ in range(2):
            stub.Predict(PredictRequest(text="x"))
        refused(lambda: stub.Predict(PredictRequest(model="other")))
        stub.PredictBatch(PredictBatchRequest(texts=["x"] * 3))
        refused(lambda: stub.PredictBatch(PredictBatchRequest()))
        assert len(list(stub.PredictStream(PredictRequest(text="x") for _ in range(4)))) == 4
    eventually(lambda: {key: calls_counted(unused, *key) for key in expected} == expected)
    eventually(lambda: texts_counted(unused) == 2 + 3 + 4)
