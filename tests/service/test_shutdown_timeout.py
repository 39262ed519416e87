"""Requests that have not ended after the shutdown timeout get an error instead of a reset."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from typing import Any

import pytest

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.protocols.native.grpc import PREDICT, PREDICT_STREAM
from tests.processes import ServerProcess
from tests.service.grpc import wire
from tests.service.grpc.raw import Caller, message
from tests.service.rest.raw import Connection

#: Routes of protocols with different forms of errors. FastAPI handles the last one.
NATIVE, TF_SERVING, TEI, VLLM, TRITON, REPOSITORY = (
    "/v1/predict",
    "/v1/models/imdb-cnn:predict",
    "/predict",
    "/classify",
    "/v2/models/imdb-cnn/infer",
    "/v2/repository/index",
)
FORMS: dict[str, Any] = {
    NATIVE: lambda document: document["error"]["message"],
    TF_SERVING: lambda document: document["error"],
    TEI: lambda document: document["error"],
    VLLM: lambda document: document["error"]["message"],
    TRITON: lambda document: document["error"],
    REPOSITORY: lambda document: document["error"],
}

#: Bytes of a body that is short enough for the fast path, and of one that is not.
SHORT, LONG = 1000, 1_000_000

#: A message without its last byte.
INCOMPLETE = message(PredictRequest(text="x").SerializeToString())[:-1]
UNAVAILABLE = 14


def test_incomplete_requests() -> None:
    """A REST request with an incomplete body gets a 503 in the form of its protocol, and a closed connection."""
    with ServerProcess("--shutdown-timeout", "0") as server, ExitStack() as stack:
        open_ones = []
        for path in FORMS:
            for length in (SHORT,) if path == REPOSITORY else (SHORT, LONG):  # the index takes short bodies only
                connection = stack.enter_context(Connection(server.port))
                connection.post(path, b"{", length=length)
                open_ones.append((path, connection))
        server.process.send_signal(signal.SIGTERM)
        for path, connection in open_ones:
            answer = connection.answer()
            found = answer.status, answer.headers["retry-after"], answer.headers["connection"]
            assert found == (503, "1", "close"), path
            assert FORMS[path](json.loads(answer.body)).startswith("the server is shutting down"), path
            assert connection.is_closed()
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("path", [PREDICT, PREDICT_STREAM])
def test_incomplete_calls(path: str) -> None:
    """A gRPC call whose message is incomplete ends with UNAVAILABLE and a time for a retry."""
    with ServerProcess("--shutdown-timeout", "0") as server, Caller(server.grpc_port) as caller:
        caller.send(wire.ping(b"is read?"))
        while caller.next_frame() != wire.Frame("PING", wire.ACK, 0, b"is read?"):
            pass
        stream = caller.begin(path)
        caller.data(stream, INCOMPLETE, ended=False)
        server.process.send_signal(signal.SIGTERM)
        answer = caller.answer(stream)
        assert (answer.status, answer.fields["grpc-retry-pushback-ms"]) == (UNAVAILABLE, "1000")
        assert answer.fields["grpc-message"].startswith("the server is shutting down, and the call did not end")
        assert server.stop() == 0
        assert "Traceback" not in "".join(server.log)
