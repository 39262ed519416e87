"""The same in the real server, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import hpack
import pytest

from service.grpc.protos.sentiment_pb2 import Prediction, PredictRequest
from service.grpc.sentiment import PREDICT
from tests.processes import PATIENCE, ServerProcess
from tests.service.http2 import wire
from tests.service.http2.wire import END_STREAM, Frame

HEAD = [*wire.POST[:2], (":path", PREDICT), ("content-type", "application/grpc"), ("te", "trailers")]
MESSAGE = PredictRequest(text="A great film.").SerializeToString()
CALL = wire.request(1, ended=False, head=HEAD) + wire.data(1, bytes(4) + bytes((len(MESSAGE),)) + MESSAGE, ended=True)


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[socket.socket]:
    """A connection on which hello was said."""
    with socket.create_connection(("127.0.0.1", server.grpc_port), PATIENCE) as connection:
        connection.sendall(wire.PREFACE + wire.settings())
        yield connection


def answer(connection: socket.socket) -> list[Frame]:
    """The frames of the only stream."""
    received = b""
    frames: list[Frame] = []
    while not frames or not frames[-1].flags & END_STREAM:
        part = connection.recv(65_536)
        assert part
        received += part
        frames = [each for each in wire.read(received)[0] if each.stream == 1]
    return frames


def test_unary_call(connection: socket.socket) -> None:
    """A call is answered with a head, a message and a status, and nothing else."""
    connection.sendall(CALL)
    head, data, tail = answer(connection)
    assert (head.kind, data.kind, tail.kind) == ("HEADERS", "DATA", "HEADERS")
    decoder = hpack.Decoder()
    assert dict(wire.fields(head.payload, decoder)) == {":status": "200", "content-type": "application/grpc"}
    assert dict(wire.fields(tail.payload, decoder))["grpc-status"] == "0"
    assert data.payload[:5] == b"\0" + (len(data.payload) - 5).to_bytes(4, "big")
    assert Prediction.FromString(data.payload[5:]).label == "positive"


def test_caller_who_sends_no_more(connection: socket.socket) -> None:
    """Who closes its half of the connection is taken to be gone, with its calls."""
    connection.sendall(CALL[:-1])
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65_536):
        pass


def test_more_than_a_turn(connection: socket.socket) -> None:
    """A caller who has very much to say at once is heard to its end."""
    connection.sendall(wire.window(0, 1) * 100_000 + CALL)
    assert [each.kind for each in answer(connection)] == ["HEADERS", "DATA", "HEADERS"]
