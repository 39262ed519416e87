"""Records the bytes that real clients send on their connections."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import httpx

from sentiment_conv1d.protos.sentiment_pb2 import ExplainRequest, PredictBatchRequest, PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE

_GOOD = b'{"text": "good"}'


def record(port: int, client: Callable[[int], None]) -> bytes:
    """Return the bytes that a client sends on its connection. It gets a port that leads to the server's port."""
    recorded = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def forward() -> None:
            accepted, _ = listening.accept()
            with accepted, socket.create_connection(("127.0.0.1", port), PATIENCE) as server:
                answers = threading.Thread(target=_copy, args=(server, accepted))
                answers.start()
                for piece in _pieces(accepted):
                    recorded.extend(piece)
                    server.sendall(piece)
                server.shutdown(socket.SHUT_WR)
                answers.join(PATIENCE)

        forwarding = threading.Thread(target=forward)
        forwarding.start()
        client(listening.getsockname()[1])
        forwarding.join(PATIENCE)
    return bytes(recorded)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # the client has closed its connection
        for piece in _pieces(source):
            target.sendall(piece)


def _pieces(source: socket.socket) -> Iterator[bytes]:
    with suppress(ConnectionError):
        while piece := source.recv(65_536):
            yield piece


def _httpx(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
        assert client.get("/livez").status_code == 200
        assert client.post("/v1/predict", json={"text": "good"}).status_code == 200
        assert client.post("/v1/explain", json={"text": "a good film"}).status_code == 200
        compressed = {"content-encoding": "gzip", "content-type": "application/json"}
        assert client.post("/v1/predict", content=gzip.compress(_GOOD), headers=compressed).status_code == 200
        assert client.post("/v1/predict", content=iter([_GOOD[:5], _GOOD[5:]])).status_code == 200


def _standard_library(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    for headers in ({}, {"Expect": "100-continue"}, {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}):
        connection.request("POST", "/v1/predict_batch", b'{"texts": ["good", "bad"]}', headers)
        assert connection.getresponse().read()
    connection.close()


def _grpc(port: int, compression: grpc.Compression) -> None:
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options, compression) as channel:
        stub = SentimentStub(channel)
        metadata = (("x-request-id", "fuzzed"), ("data-bin", b"\0\xff"))
        assert stub.Predict(PredictRequest(text="good"), timeout=PATIENCE, metadata=metadata).tokens == 2
        texts = PredictBatchRequest(texts=["good", "bad"] * 40)
        assert len(stub.PredictBatch(texts, timeout=PATIENCE).predictions) == 80
        assert len(list(stub.PredictStream(iter([PredictRequest(text="good")] * 3), timeout=PATIENCE))) == 3
        assert stub.Explain(ExplainRequest(text="good"), timeout=PATIENCE).words


def record_rest(port: int) -> list[bytes]:
    """Return the connections of clients of REST."""
    return [record(port, client) for client in (_httpx, _standard_library)]


def record_grpc(port: int) -> list[bytes]:
    """Return the connections of gRPC's own client, with and without compression."""
    kinds = (grpc.Compression.NoCompression, grpc.Compression.Gzip)
    return [record(port, lambda port, kind=kind: _grpc(port, kind)) for kind in kinds]  # type: ignore[misc]
