"""Calls that follow gRPC's protocol, and calls that violate it."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator

import grpc
import pytest

from sentiment_conv1d.protos.sentiment_pb2 import (
    PredictBatchRequest,
    PredictBatchResponse,
    Prediction,
    PredictRequest,
)
from sentiment_conv1d.server.network.compression import FREE_BYTES, MAX_RATIO
from sentiment_conv1d.service.protocols.native.grpc import PREDICT, PREDICT_BATCH, PREDICT_STREAM
from sentiment_conv1d.service.protocols.oip.grpc import MODEL_STREAM_INFER
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.grpc import wire
from tests.service.grpc.channels import connect, refused
from tests.service.grpc.raw import Caller, message
from tests.service.telemetry.test_metrics import metric

OK, INVALID, LATE, EXHAUSTED, UNIMPLEMENTED = 0, 3, 4, 8, 12
ONE = PredictRequest(text="one").SerializeToString()


@pytest.fixture
def caller(server: ServerProcess) -> Iterator[Caller]:
    """Connect to the shared server."""
    with Caller(server.grpc_port) as caller:
        yield caller


def tokens(messages: list[bytes]) -> list[int]:
    return [Prediction.FromString(each).tokens for each in messages]


def test_answer(caller: Caller) -> None:
    """An answer has the fields that gRPC requires, and the connection accepts the next call."""
    for number in range(3):
        answer = caller.call(PREDICT, ONE, {"x-request-id": f"mine-{number}"})
        assert tokens(answer.messages) == [2]
        assert answer.fields == {
            ":status": "200",
            "content-type": "application/grpc",
            "grpc-status": "0",
            "x-request-id": f"mine-{number}",
        }
        assert answer.reset is None


@pytest.mark.parametrize("content_type", ["application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_types(caller: Caller, content_type: str) -> None:
    """A content type can have a suffix or parameters."""
    assert caller.call(PREDICT, ONE, {"content-type": content_type}).status == OK


@pytest.mark.parametrize(
    "fields",
    [
        {":method": "GET"},
        *({"content-type": each} for each in ("", "application/json", "application/grpc-web", "application/grpc+json")),
    ],
    ids=str,
)
def test_http_requests(caller: Caller, fields: dict[str, str]) -> None:
    """A request that is not gRPC gets an HTTP error, and the server does not wait for its body."""
    stream = caller.begin("/v1/predict", fields)
    answer = caller.answer(stream)
    assert answer.fields == {":status": "415", "content-type": "text/plain"}
    assert caller.call(PREDICT, ONE).status == OK


@pytest.mark.parametrize(
    "path", ["/", "/sentiment.v1.Sentiment", "/sentiment.v1.Sentiment/Nothing", "/é".encode().decode("latin-1")]
)
def test_unknown_methods(caller: Caller, path: str) -> None:
    """The refusal of an unknown method names it and has a request id."""
    answer = caller.call(path, ONE)
    assert answer.status == UNIMPLEMENTED
    assert answer.fields["grpc-message"].startswith("there is no method /")
    assert len(answer.fields["x-request-id"]) == 16


def test_two_messages_in_a_unary_call(caller: Caller) -> None:
    """A unary call with two messages is refused, whether they arrive in one frame or in two."""
    for pieces in ([message(ONE) * 2], [message(ONE), message(ONE)]):
        stream = caller.begin(PREDICT)
        for number, piece in enumerate(pieces, start=1):
            caller.data(stream, piece, ended=number == len(pieces))
        answer = caller.answer(stream)
        assert (answer.status, answer.fields["grpc-message"]) == (
            INVALID,
            "the method takes one message, and there are more",
        )


def test_no_message_in_a_unary_call(caller: Caller) -> None:
    """A unary call without a message is refused, for every way to end it."""
    bare = caller.begin(PREDICT, ended=True)
    assert caller.answer(bare).fields["grpc-message"] == "the method takes one message, and there is none"
    empty = caller.begin(PREDICT)
    caller.data(empty, b"")
    assert caller.answer(empty).status == INVALID


def test_stream_without_messages(caller: Caller) -> None:
    """A stream without messages is accepted."""
    answer = caller.answer(caller.begin(PREDICT_STREAM, ended=True))
    assert (answer.status, answer.messages) == (OK, [])


@pytest.mark.parametrize("path", [PREDICT, PREDICT_STREAM])
@pytest.mark.parametrize("size", [1, 4, 5, 6, len(message(ONE)) - 1])
def test_message_that_is_not_complete(caller: Caller, path: str, size: int) -> None:
    """A call with an incomplete last message is refused."""
    stream = caller.begin(path)
    caller.data(stream, message(ONE)[:size])
    answer = caller.answer(stream)
    assert (answer.status, answer.fields["grpc-message"]) == (INVALID, "the last message is not complete")


@pytest.mark.parametrize("path", [PREDICT, PREDICT_STREAM])
def test_messages_in_pieces(caller: Caller, path: str) -> None:
    """A message can be divided at any byte."""
    whole = message(ONE)
    for cut in range(len(whole) + 1):
        stream = caller.begin(path)
        caller.data(stream, whole[:cut], ended=False)
        caller.data(stream, whole[cut:])
        assert tokens(caller.answer(stream).messages) == [2]


def test_messages_in_one_frame(caller: Caller) -> None:
    """Several messages of a stream can arrive at once, divided at any byte."""
    whole = b"".join(message(PredictRequest(text="x " * number).SerializeToString()) for number in range(5))
    for cut in range(0, len(whole), 3):
        stream = caller.begin(PREDICT_STREAM)
        caller.data(stream, whole[:cut], ended=False)
        caller.data(stream, whole[cut:])
        assert tokens(caller.answer(stream).messages) == [1, 2, 3, 4, 5]


def test_answers_of_a_stream_keep_their_order(stub: SentimentStub) -> None:
    """Small and large requests of a stream are answered in their order."""
    sizes = [number % 7 if number % 10 else 4000 + number for number in range(200)]
    answers = stub.PredictStream(PredictRequest(text="word " * size) for size in sizes)
    assert [answer.tokens for answer in answers] == [size + 1 for size in sizes]


@pytest.mark.parametrize("path", [PREDICT, PREDICT_STREAM])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression(caller: Caller, path: str, encoding: str) -> None:
    """A compressed message is decompressed, and uncompressed messages can be mixed with it."""
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    for content in (message(compress(ONE), flag=1), message(ONE)):
        stream = caller.begin(path, {"grpc-encoding": encoding})
        caller.data(stream, content)
        assert tokens(caller.answer(stream).messages) == [2]


BOMB = gzip.compress(bytes(9 * 1024 * 1024))
EXPANDED = FREE_BYTES + MAX_RATIO * len(BOMB)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no gzip", "the content is not valid gzip: Error -3 while decompressing data: incorrect header check"),
        (gzip.compress(ONE)[:-3], "the content is not valid gzip: the stream is not complete"),
        (gzip.compress(ONE) + b"more", "the content is not valid gzip: there are bytes after the end of the stream"),
        (BOMB, f"{len(BOMB)} compressed bytes expand to more than {EXPANDED} bytes, the limit for that size"),
    ],
    ids=["noise", "cut", "more", "bomb"],
)
def test_invalid_compression(caller: Caller, content: bytes, reason: str) -> None:
    """A message that cannot be decompressed, or whose content is too large, is refused."""
    stream = caller.begin(PREDICT, {"grpc-encoding": "gzip"})
    caller.data(stream, message(content, flag=1))
    answer = caller.answer(stream)
    assert answer.fields["grpc-message"] == reason
    assert answer.status == (EXHAUSTED if content is BOMB else INVALID)


def test_unknown_compression(caller: Caller) -> None:
    """An unknown compression is refused, and the answer lists the known ones, as gRPC specifies."""
    answer = caller.call(PREDICT, ONE, {"grpc-encoding": "snappy"})
    assert answer.status == UNIMPLEMENTED
    assert "snappy" in answer.fields["grpc-message"]
    assert answer.fields["grpc-accept-encoding"] == "identity,gzip,deflate"


@pytest.mark.parametrize("flag", [1, 2, 255])
def test_flags_of_messages(caller: Caller, flag: int) -> None:
    """A compressed message without a named compression, or with another flag, is refused."""
    stream = caller.begin(PREDICT)
    caller.data(stream, message(ONE, flag=flag))
    assert caller.answer(stream).status == INVALID


@pytest.mark.parametrize("path", [PREDICT, PREDICT_STREAM])
def test_message_that_is_too_large(caller: Caller, path: str) -> None:
    """A message that is announced as too large is refused at once, and the caller need not send the rest."""
    stream = caller.begin(path)
    caller.data(stream, message(b"", length=2**32 - 1), ended=False)
    answer = caller.answer(stream)
    assert answer.status == EXHAUSTED
    assert answer.fields["grpc-message"] == "a message has 4294967295 bytes; the limit is 8388608"
    assert caller.next_frame() == wire.Frame("RST_STREAM", 0, stream, bytes(4))
    caller.data(stream, bytes(10_000), ended=False)  # it was on the way
    assert caller.call(PREDICT, ONE).status == OK


@pytest.mark.parametrize("timeout", ["1", "S", "1s", "-1S", "123456789S", "1.5S"])
def test_invalid_timeouts(caller: Caller, timeout: str) -> None:
    """An invalid deadline is refused, and the message quotes it."""
    answer = caller.call(PREDICT, ONE, {"grpc-timeout": timeout})
    assert (answer.status, answer.fields["grpc-message"]) == (INVALID, f"grpc-timeout {timeout!r} is not valid")


@pytest.mark.parametrize("timeout", ["99999999H", "1M", "30S", "60000m", "60000000u"])
def test_timeouts(caller: Caller, timeout: str) -> None:
    """A deadline in the future has no effect, in any unit."""
    assert caller.call(PREDICT, ONE, {"grpc-timeout": timeout}).status == OK


@pytest.mark.parametrize("timeout", ["0S", "00000000n"])
def test_timeouts_that_have_passed(caller: Caller, timeout: str) -> None:
    """A call is refused if its deadline has passed when it is read."""
    assert caller.call(PREDICT, ONE, {"grpc-timeout": timeout}).status == LATE


@pytest.mark.parametrize("path", [PREDICT_STREAM, MODEL_STREAM_INFER, "/grpc.health.v1.Health/Watch"])
def test_deadline_of_a_stream(caller: Caller, path: str) -> None:
    """A stream ends at its deadline, whether it waits for its caller or for a change of health."""
    stream = caller.begin(path, {"grpc-timeout": "50m"}, ended=False)
    if path.endswith("Watch"):
        caller.data(stream, message(b""))
    answer = caller.answer(stream)
    assert (answer.status, answer.fields["grpc-message"]) == (LATE, "the deadline has passed")


def test_slow_messages() -> None:
    """A message that stays incomplete ends its call or stream after the body timeout, which is no error in the log."""
    with ServerProcess("--body-timeout", "0.5", "--workers", "1") as server, Caller(server.grpc_port) as caller:
        for path in (PREDICT, PREDICT_STREAM):
            stream = caller.begin(path)
            caller.data(stream, message(ONE)[:-1], ended=False)
            answer = caller.answer(stream)
            assert (answer.status, answer.fields["grpc-message"]) == (LATE, "a message was not complete after 0.5 s")
        resting = caller.begin(PREDICT_STREAM)
        caller.data(resting, message(ONE), ended=False)
        stream = caller.begin(PREDICT)
        caller.data(stream, message(ONE)[:-1], ended=False)
        assert caller.answer(stream).status == LATE  # after the time in which the other has sent nothing
        caller.data(resting, b"")
        assert caller.answer(resting).status == OK
        assert [line for line in server.log if "ERROR" in line] == []


def test_memory_for_slow_messages() -> None:
    """The memory of unfinished messages is limited: calls over the limit are refused, and the others continue."""
    text = PredictRequest(text="x" * 400_000).SerializeToString()
    limits = ("--max-buffered-bytes", "5000000", "--max-body-bytes", "500000")
    with ServerProcess(*limits, "--workers", "1") as server, connect(server) as channel:
        stub = SentimentStub(channel)
        with Caller(server.grpc_port) as slow:
            streams = [slow.begin(PREDICT) for _ in range(2)]
            for stream in streams:
                for start in range(0, len(message(text)) - 1, 16_384):
                    slow.data(stream, message(text)[start : min(start + 16_384, len(message(text)) - 1)], ended=False)
            slow.send(wire.ping(b"is read?"))
            while slow.next_frame() != wire.Frame("PING", wire.ACK, 0, b"is read?"):
                pass
            assert (
                refused(lambda: stub.Predict(PredictRequest(text="x" * 400_000))).code
                is grpc.StatusCode.RESOURCE_EXHAUSTED
            )
            for stream in streams:
                slow.data(stream, message(text)[-1:])
                assert slow.answer(stream).status == OK
        assert stub.Predict(PredictRequest(text="x" * 400_000)).tokens == 2


def test_cancelled_before_the_message(server: ServerProcess, caller: Caller) -> None:
    """A call that is cancelled before its message is complete leaves nothing behind."""
    for path in (PREDICT, PREDICT_STREAM):
        stream = caller.begin(path)
        caller.data(stream, message(ONE)[:-1], ended=False)
        caller.send(wire.reset(stream))
    assert caller.call(PREDICT, ONE).status == OK
    # A worker counts after it has answered.
    eventually(lambda: metric(server, "sentiment_requests_in_flight", protocol="grpc") == 0)


def test_large_answer_within_small_windows(server: ServerProcess) -> None:
    """An answer that is larger than all windows arrives as the windows are opened."""
    batch = PredictBatchRequest(texts=["x"] * 1024)
    with Caller(server.grpc_port) as caller:
        caller.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1000)))
        stream = caller.begin(PREDICT_BATCH)
        caller.data(stream, message(batch.SerializeToString()))
        content = b""
        while True:
            each = caller.next_frame()
            assert each is not None
            if each.stream != stream or each.kind != "DATA":
                if each.kind == "HEADERS" and each.flags & wire.END_STREAM:
                    break
                continue
            assert len(each.payload) <= 1000
            content += each.payload
            caller.send(wire.window(stream, len(each.payload)) + wire.window(0, len(each.payload)))
        assert len(PredictBatchResponse.FromString(content[5:]).predictions) == 1024


def test_counts_of_answers_that_wait() -> None:
    """An answer counts, with its status, when the client has made room for it, or has left."""

    def calls(server: ServerProcess, status: str) -> float:
        return metric(server, "sentiment_requests_total", protocol="grpc", route=PREDICT, status=status)

    def in_flight(server: ServerProcess) -> float:
        return metric(server, "sentiment_requests_in_flight", protocol="grpc")

    with ServerProcess("--workers", "1") as server, Caller(server.grpc_port) as caller:
        caller.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1)))
        streams = [caller.begin(PREDICT) for _ in range(2)]
        for stream in streams:
            caller.data(stream, message(ONE))
        for frame in iter(caller.next_frame, wire.Frame("DATA", 0, streams[1], b"\0")):
            assert frame is not None
        assert (in_flight(server), calls(server, "OK"), calls(server, "CANCELLED")) == (2, 0, 0)
        caller.send(wire.reset(streams[0]) + wire.window(streams[1], 1000))
        caller.answer(streams[1])
        eventually(lambda: in_flight(server) == 0)
        assert (calls(server, "OK"), calls(server, "CANCELLED")) == (1, 1)


def test_http1(server: ServerProcess) -> None:
    """A client that speaks HTTP/1.1 gets an answer that names the gRPC port."""
    with socket.create_connection(("127.0.0.1", server.grpc_port), PATIENCE) as connection:
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: test\r\n\r\n")
        received = b""
        while piece := connection.recv(4096):
            received += piece
    assert received.startswith(b"HTTP/1.1 505 ")
    assert received.endswith(b"this port serves gRPC over HTTP/2 only\n")
