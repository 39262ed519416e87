"""Attacks over HTTP/1.1."""

from __future__ import annotations

import gzip
import itertools
import json
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress

import httpx

from tests.attacks.scenarios import BUFFERED_MEGABYTES, LEFTOVER_MEGABYTES, OPEN, Scenarios, Setup
from tests.attacks.wire import PIECE, connections, send_all
from tests.proc import children
from tests.proc import connections as established
from tests.processes import PATIENCE, ServerProcess
from tests.service.rest.raw import request

SCENARIOS = Scenarios()

#: Bytes of an endless part per connection, at the normal size.
_ENDLESS = 60_000_000

#: The longest time to send an endless part, in seconds.
_LONGEST = 10.0

#: Requests that are answered before their body: one lacks a key, and one needs none.
_ANSWERED_EARLY = (
    b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
)

#: `--write-timeout` for slow readers.
WRITE_TIMEOUT = 3


def _endless(server: ServerProcess, starts: Iterable[bytes], piece: bytes, times: int) -> int:
    """Send a start and then the same piece repeatedly, on one connection per start."""
    starts = list(starts)
    count = times * _ENDLESS // len(piece)
    with connections(server.port, len(starts)) as opened:
        return send_all(
            [
                (connection, itertools.chain([start], itertools.repeat(piece, count)))
                for connection, start in zip(opened, starts, strict=True)
            ],
            times * _LONGEST,
        ).sent


@SCENARIOS.add()
def endless_trailer(server: ServerProcess, times: int) -> int:
    """Send an endless trailer field after a request that was answered before its body."""
    return _endless(server, [start + b"0\r\nX-A: " for start in _ANSWERED_EARLY], b"a" * PIECE, times)


@SCENARIOS.add()
def endless_trailers(server: ServerProcess, times: int) -> int:
    """Send endless small trailer fields."""
    return _endless(server, [start + b"0\r\n" for start in _ANSWERED_EARLY], b"a:b\r\n" * (PIECE // 5), times)


@SCENARIOS.add()
def endless_trailer_name(server: ServerProcess, times: int) -> int:
    """Send a trailer field with an endless name."""
    return _endless(server, [start + b"0\r\n" for start in _ANSWERED_EARLY], b"a" * PIECE, times)


@SCENARIOS.add()
def endless_chunk_extension(server: ServerProcess, times: int) -> int:
    """Send an endless chunk extension."""
    return _endless(server, [start + b"1;a=" for start in _ANSWERED_EARLY], b"a" * PIECE, times)


@SCENARIOS.add()
def endless_chunk_size(server: ServerProcess, times: int) -> int:
    """Send a chunk length with endless leading zeros."""
    return _endless(server, _ANSWERED_EARLY, b"0" * PIECE, times)


@SCENARIOS.add()
def endless_unwanted_body(server: ServerProcess, times: int) -> int:
    """Send an endless body in one-byte chunks after a request that was answered before its body."""
    return _endless(server, _ANSWERED_EARLY, b"1\r\na\r\n" * (PIECE // 6), times)


@SCENARIOS.add()
def endless_header_line(server: ServerProcess, times: int) -> int:
    """Send an endless header field."""
    return _endless(server, [b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: "], b"a" * PIECE, times)


@SCENARIOS.add()
def endless_request_line(server: ServerProcess, times: int) -> int:
    """Send an endless path, and an endless method."""
    return _endless(server, [b"GET /", b""], b"A" * PIECE, times)


@SCENARIOS.add()
def endless_empty_lines(server: ServerProcess, times: int) -> int:
    """Send endless empty lines where a request should begin."""
    return _endless(server, [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], b"\r\n" * (PIECE // 2), times)


@SCENARIOS.add()
def pipelined_requests(server: ServerProcess, times: int) -> int:
    """Pipeline many requests on several connections."""
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with connections(server.port, 24) as opened:
        return send_all(((each, itertools.repeat(ask * 5000, times)) for each in opened), times * _LONGEST).sent


@SCENARIOS.add()
def many_header_fields(server: ServerProcess, times: int) -> int:
    """Send heads with the maximum number of fields repeatedly, on several connections."""
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 16_000 + b"\r\n"
    with connections(server.port, 24) as opened:
        return send_all(((each, itertools.repeat(head, 10 * times)) for each in opened), times * _LONGEST).sent


@SCENARIOS.add(peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def unfinished_heads(server: ServerProcess, times: int) -> int:
    """Send incomplete heads with thousands of fields on hundreds of connections."""
    head = b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 15_000
    with connections(server.port, 500 * times) as opened:
        return send_all(((each, [head]) for each in opened), times * _LONGEST, linger=1).sent


@SCENARIOS.add()
def declined_upgrades(server: ServerProcess, times: int) -> int:
    """Send many requests, each of which offers a protocol upgrade."""
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    with connections(server.port, 24) as opened:
        return send_all(((each, itertools.repeat(ask * 3000, times)) for each in opened), times * _LONGEST).sent


@SCENARIOS.add()
def occupied_by_unwanted_bodies(server: ServerProcess, times: int) -> int:
    """Open more connections than the limit, with bodies that are discarded. New callers can still connect."""
    with connections(server.port, 2100 * times) as opened:
        sent = send_all(((each, [_ANSWERED_EARLY[number % 2]]) for number, each in enumerate(opened)), times).sent
        for _ in range(3):
            health = httpx.get(f"{server.url}/livez", trust_env=False, timeout=PATIENCE)
            assert health.status_code == 200, f"a new caller was answered with {health.status_code}"
        return sent


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def tiny_chunks(server: ServerProcess, times: int) -> int:
    """Send incomplete valid bodies in chunks of two bytes."""
    start = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"2\r\n  \r\n" * (PIECE // 7)
    bodies = [itertools.chain([start], itertools.repeat(piece, 300)) for _ in range(2 * times)]
    with connections(server.port, len(bodies)) as opened:
        return send_all(zip(opened, bodies, strict=True), times * _LONGEST).sent


def _bodies(server: ServerProcess, path: str, body: bytes, count: int, *fields: str, connected: int = 4) -> int:
    """Send the same request many times in one write, on each of several connections."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", ""]
    ask = "\r\n".join(lines).encode() + body
    with connections(server.port, connected) as opened:
        return send_all(((each, itertools.repeat(ask, count)) for each in opened), count * _LONGEST, linger=2).sent


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def gzip_bodies(server: ServerProcess, times: int) -> int:
    """Send bodies of 8 kB that decompress to 8 MB, 30 per write."""
    body = gzip.compress(json.dumps({"text": "a" * 8_388_000}).encode())
    return _bodies(server, "/v1/predict", body, 30 * times, "Content-Encoding: gzip")


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def deflate_bodies(server: ServerProcess, times: int) -> int:
    """Send decompression bombs compressed with zlib."""
    body = zlib.compress(json.dumps({"text": "a" * 8_388_000}).encode(), 9)
    return _bodies(server, "/v1/predict", body, 30 * times, "Content-Encoding: deflate")


def _documents() -> Iterator[tuple[str, bytes]]:
    """Return paths and bodies of valid size with millions of values."""
    tensor = b'{"inputs":[{"name":"tokens","shape":[1,9],"datatype":"INT32","data":[%b]}]}'
    yield "/v1/predict_batch", b'{"texts":[' + b'"",' * 2_700_000 + b'""]}'
    yield "/v1/predict_batch", b'{"texts":[' + b"{}," * 2_700_000 + b"{}]}"
    yield "/v1/predict_batch", b'{"on_error":"report","texts":[' + b"1," * 420_000 + b"1]}"
    yield "/v1/predict", b"{" + b",".join(b'"%x":0' % number for number in range(700_000)) + b"}"
    yield "/v2/models/imdb-cnn/infer", b'{"inputs":[' + b"{}," * 2_700_000 + b"{}]}"
    yield "/v2/models/imdb-cnn/infer", tensor % (b"[]," * 2_700_000 + b"[]")
    yield "/v2/models/imdb-cnn/infer", tensor % (b"1," * 4_100_000 + b"1")
    yield "/v2/models/imdb-cnn/infer", tensor % (b"1," * 1_000_000 + b"[" * 8 + b"1" + b"]" * 8)
    ids = b'{"inputs":[{"name":"tokens","shape":[1024,1000],"datatype":"INT32","data":[%b]}]}'
    yield "/v2/models/accurate/infer", ids % (b"4999," * 1_023_999 + b"1")  # the largest valid batch
    yield "/v2/models/imdb-cnn/infer", b'{"inputs":[{"shape":[' + b"1," * 4_100_000 + b"1]}]}"
    yield "/v2/models/imdb-cnn/infer", b'{"inputs":[{"data":[' + b"12345678901234567890," * 380_000 + b"1]}]}"
    yield "/v1/models/imdb-cnn:predict", b'{"instances":[' + b"{}," * 2_700_000 + b"{}]}"
    yield "/predict", b'{"inputs":[' + b"[]," * 2_700_000 + b"[]]}"
    yield "/invocations", b'{"inputs":[' + b"[]," * 2_700_000 + b"[]]}"
    yield "/classify", b'{"input":[' + b"[]," * 2_700_000 + b"[]]}"


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def large_documents(server: ServerProcess, times: int) -> int:
    """Send documents that cost far more memory and time than their size, one at a time, over every protocol."""
    sent = 0
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
        for path, body in _documents():
            for _ in range(times):
                status = client.post(path, content=body).status_code
                assert status < 500, f"a document for {path} was answered with {status}"
                sent += len(body)
    return sent


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def compressed_small_objects(server: ServerProcess, times: int) -> int:
    """Send such documents compressed to 8 kB, five per write."""
    body = gzip.compress(b'{"texts":[' + b"{}," * 2_700_000 + b"{}]}")
    return _bodies(server, "/v1/predict_batch", body, 5 * times, "Content-Encoding: gzip")


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def compressed_surrogates(server: ServerProcess, times: int) -> int:
    """Send documents with a lone surrogate in each text, which the fast JSON parser rejects."""
    body = gzip.compress(b'{"texts":[' + b'"\\ud800",' * 800_000 + b'""]}')
    return _bodies(server, "/v1/predict_batch", body, 5 * times, "Content-Encoding: gzip")


@SCENARIOS.add(Setup(("--workers", "1", "--write-timeout", str(WRITE_TIMEOUT))), peak_megabytes=BUFFERED_MEGABYTES)
def slow_readers(server: ServerProcess, times: int) -> int:
    """Callers that read their answers byte by byte are disconnected."""
    body = json.dumps({"texts": ["a"] * 500}).encode()
    ask = f"POST /v1/predict_batch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    [worker] = children(server.process.pid)
    others = established(worker, server.port)
    with connections(server.port, 4 * times, receive_buffer=4096) as opened:
        for connection in opened:
            with suppress(ConnectionError):  # on a busy machine, it is disconnected before it has sent everything
                connection.sendall(ask * 110)  # the answers exceed the kernel's buffers of a connection
        deadline = time.monotonic() + PATIENCE
        # The kernel's buffers can still be read after the worker has closed a connection.
        while (left := established(worker, server.port)) > others:
            assert time.monotonic() < deadline, f"{left - others} slow readers are still connected"
            for connection in opened:
                with suppress(OSError):
                    connection.recv(1)
            time.sleep(0.5)
        return len(opened) * 110 * len(ask)


#: More than the memory of an idle connection with its beginning of a head, see docs/security.md, in megabytes.
_IDLE_MEGABYTES = 0.02


@SCENARIOS.add(peak_megabytes=2000 * _IDLE_MEGABYTES)
def idle_after_long_heads(server: ServerProcess, times: int) -> int:
    """Send a head of 60 kB on each of 2,000 connections, for an open route and for another one, and leave them open."""
    sent = 0
    for path in ("/livez", f"/%F0%9F%98%80{8000 * 'x'}"):
        ask = request(path, f"X: {50_000 * 'x'}", method="GET")
        with ExitStack() as stack:
            for _ in range(20):
                opened = stack.enter_context(connections(server.port, 100))
                sent += send_all(((each, [ask]) for each in opened), _LONGEST, linger=0.1).sent
    return sent


#: Flags that allow loading and unloading models.
_ADMINISTERED = Setup(("--workers", "1", "--admin", "open"))


@SCENARIOS.add(_ADMINISTERED)
def unload_from_a_web_page(server: ServerProcess, times: int) -> int:
    """A web page cannot unload a model with a simple request."""
    fields = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    for _ in range(times):
        unload = httpx.post(
            f"{server.url}/v2/repository/models/imdb-cnn/unload",
            content=b"{}",
            headers=fields,
            timeout=PATIENCE,
            trust_env=False,
        )
        assert unload.status_code in (403, 404, 415), f"unloading was answered with {unload.status_code}"
    assert httpx.get(f"{server.url}/readyz", timeout=PATIENCE, trust_env=False).status_code == 200
    return 0
