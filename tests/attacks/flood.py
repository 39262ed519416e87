"""Cheap requests in large numbers, and small requests for much work."""

from __future__ import annotations

import gzip
import json

from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest
from tests.attacks.scenarios import (
    BUFFERED_MEGABYTES,
    KEYED,
    LEFTOVER_MEGABYTES,
    OPEN,
    Scenarios,
    Setup,
)
from tests.attacks.wire import (
    CHECK,
    HELLO,
    PREDICT_BATCH,
    block,
    connections,
    data,
    headers,
    literal,
    message,
    send_all,
    settings,
    streams,
)
from tests.processes import ServerProcess
from tests.service.rest.raw import request

SCENARIOS = Scenarios()

#: The routes of the service that need no model are open, as in many clusters.
PUBLIC = Setup(("--workers", "2", "--open-metrics", "--open-page"), KEYED.key)

#: The most kernel memory of a connection whose peer reads a large answer, but acknowledges it late: the send buffer.
_SENDING_MEGABYTES = 0.256

#: Seconds for the bytes of an attacker, at the normal size.
_LONGEST = 30.0


def _send(server: ServerProcess, content: bytes, count: int, times: int) -> int:
    """Send the same bytes on `count` connections at once, `times` times in a row."""
    sent = 0
    for _ in range(times):
        with connections(server.port, count) as opened:
            sent += send_all(((connection, [content]) for connection in opened), _LONGEST, linger=1).sent
    return sent


@SCENARIOS.add(PUBLIC, peak_megabytes=LEFTOVER_MEGABYTES + 3000 * _SENDING_MEGABYTES)
def scrapes(server: ServerProcess, times: int) -> int:
    """Request the metrics once on each of thousands of connections."""
    return _send(server, request("/metrics", method="GET"), 3000, times)


@SCENARIOS.add(PUBLIC, peak_megabytes=LEFTOVER_MEGABYTES + 2000 * _SENDING_MEGABYTES)
def documents(server: ServerProcess, times: int) -> int:
    """Request the OpenAPI document once on each of thousands of connections."""
    return _send(server, request("/openapi.json", method="GET"), 2000, times)


@SCENARIOS.add(PUBLIC, peak_megabytes=LEFTOVER_MEGABYTES + 1000 * _SENDING_MEGABYTES)
def scripts(server: ServerProcess, times: int) -> int:
    """Request the largest file of the API reference once on each of thousands of connections."""
    return _send(server, request("/docs/swagger-ui-bundle.js", method="GET"), 1000, times)


@SCENARIOS.add(PUBLIC)
def revalidations(server: ServerProcess, times: int) -> int:
    """Revalidate a file of the page once on each of thousands of connections, which takes a thread."""
    return _send(server, request("/docs/swagger-ui.css", "If-None-Match: x", method="GET"), 1000, times)


@SCENARIOS.add(KEYED)
def pipelined_probes(server: ServerProcess, times: int) -> int:
    """Pipeline as many health checks as a connection can have, again and again."""
    return _send(server, request("/livez", method="GET") * 32, 60, 10 * times)


@SCENARIOS.add(KEYED, peak_megabytes=BUFFERED_MEGABYTES)
def pipelined_refusals(server: ServerProcess, times: int) -> int:
    """Pipeline as many requests without a route or a key as a connection can have, on a thousand connections."""
    return _send(server, request("/v1/models", method="GET") * 32, 1000, times)


@SCENARIOS.add(KEYED)
def long_paths(server: ServerProcess, times: int) -> int:
    """Request more than a thousand different paths of 60 kB, each of which has 240 kB when it is decoded."""
    sent = 0
    for start in range(0, 1200 * times, 100):
        with connections(server.port, 100) as opened:
            asks = (request(f"/{start + n}%F0%9F%98%80{60_000 * 'x'}", "Content-Length: 0") for n in range(100))
            sent += send_all(((each, [ask]) for each, ask in zip(opened, asks, strict=True)), _LONGEST).sent
    return sent


@SCENARIOS.add(KEYED)
def checks(server: ServerProcess, times: int) -> int:
    """Check the health over gRPC on hundreds of connections, in as many calls as each can have."""
    head = block(CHECK)
    calls = b"".join(headers(stream, head) + data(stream, message(b""), ended=True) for stream in streams(100))
    with connections(server.grpc_port, 200 * times) as opened:
        return send_all(((each, [HELLO + settings() + calls]) for each in opened), _LONGEST, linger=1).sent


@SCENARIOS.add(OPEN)
def last_bytes(server: ServerProcess, times: int) -> int:
    """Send all but the last byte of a batch of bad texts on each of 200 connections, and then the last bytes."""
    body = b'{"on_error":"report","texts":[' + b"1," * 1023 + b"1]}"
    ask = request("/v1/predict_batch", f"Content-Length: {len(body)}") + body
    sent = 0
    for _ in range(times):
        with connections(server.port, 200) as opened:
            sent += send_all(((each, [ask[:-1]]) for each in opened), _LONGEST, linger=1.5).sent
            sent += send_all(((each, [ask[-1:]]) for each in opened), _LONGEST, linger=1).sent
    return sent


def _small_bodies(server: ServerProcess, texts: list[str], times: int) -> int:
    """Send a compressed batch in one request on each of a hundred connections, and over gRPC."""
    body = gzip.compress(json.dumps({"texts": texts}).encode())
    ask = request("/v1/predict_batch", "Content-Encoding: gzip", f"Content-Length: {len(body)}") + body
    batch = gzip.compress(PredictBatchRequest(texts=texts).SerializeToString())
    head = block(PREDICT_BATCH, literal(b"grpc-encoding", b"gzip"))
    call = headers(1, head) + data(1, message(batch, compressed=True), ended=True)
    with connections(server.port, 100 * times) as rest, connections(server.grpc_port, 100 * times) as rpc:
        targets = [*((each, [ask]) for each in rest), *((each, [HELLO + call]) for each in rpc)]
        return send_all(targets, _LONGEST, linger=2).sent


@SCENARIOS.add(OPEN, refusals=True)
def compressed_short_texts(server: ServerProcess, times: int) -> int:
    """Send a hundred bytes of gzip that are the largest batch of texts of one letter."""
    return _small_bodies(server, ["a"] * 1024, times)


@SCENARIOS.add(OPEN, refusals=True)
def compressed_long_texts(server: ServerProcess, times: int) -> int:
    """Send some kilobytes of gzip that are eight megabytes of text."""
    return _small_bodies(server, ["a " * 499_000] * 8, times)
