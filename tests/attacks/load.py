"""Valid work that exceeds a worker's memory or time."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import httpx

from benchmarks.stops import hostile_texts
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.server.http.connection import DISCARD_SECONDS, MAX_PIPELINED
from tests.attacks.http1 import WRITE_TIMEOUT
from tests.attacks.scenarios import (
    BUFFERED_MEGABYTES,
    KEY,
    LEFTOVER_MEGABYTES,
    OPEN,
    PAGE,
    UNREAD_MEGABYTES,
    Scenarios,
    Setup,
)
from tests.attacks.wire import (
    HELLO,
    PREDICT_BATCH,
    PREDICT_STREAM,
    REFLECTION,
    REPOSITORY_INDEX,
    block,
    connections,
    data,
    headers,
    message,
    send_all,
    settings,
    streams,
    window,
)
from tests.kernel_memory import kernel_megabytes
from tests.processes import PATIENCE, ServerProcess, eventually

SCENARIOS = Scenarios()

#: The memory limit of a container in the shipped deployments, in megabytes.
_ALL_PROCESSES = 1024

_TEXTS = ["a good film " * 680] * 1020


#: An HTTP/2 client that accepts any amount of data.
_WIDE = HELLO + settings(INITIAL_WINDOW_SIZE=2**31 - 1) + window(0, 2**31 - 65_536)

#: Seconds for the bytes of an attacker, at the normal size.
_LONGEST = 10.0


def _call(server: ServerProcess, content: bytes, times: int, count: int) -> int:
    """Send the same bytes on several gRPC connections."""
    with connections(server.grpc_port, count * times) as opened:
        return send_all(((connection, [content]) for connection in opened), _LONGEST, linger=1).sent


@SCENARIOS.add(OPEN, refusals=True)
def small_messages(server: ServerProcess, times: int) -> int:
    """Send streaming calls with 20,000 small messages each."""
    text = message(PredictRequest(text="a").SerializeToString())
    return _call(server, _WIDE + headers(1, block(PREDICT_STREAM)) + data(1, text * 20_000), times, 24)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES, refusals=True)
def unread_streams(server: ServerProcess, times: int) -> int:
    """Send the maximum number of streaming calls with 2,000 messages each, and read no answers."""
    text = message(PredictRequest(text="a").SerializeToString())
    head = block(PREDICT_STREAM)
    calls = b"".join(headers(stream, head) + data(stream, text * 2000) for stream in streams(100))
    return _call(server, HELLO + settings(INITIAL_WINDOW_SIZE=0) + calls, times, 4)


_SYMBOL = b"inference.GRPCInferenceService"

#: A request of 35 bytes whose answer has some kB.
_QUESTION = message(b"\x22" + bytes((len(_SYMBOL),)) + _SYMBOL)


@SCENARIOS.add(OPEN)
def reflection(server: ServerProcess, times: int) -> int:
    """Send thousands of requests of 35 bytes whose answers have some kB."""
    return _call(server, _WIDE + headers(1, block(REFLECTION)) + data(1, _QUESTION * 5000), times, 8)


@SCENARIOS.add(OPEN)
def thousands_of_calls(server: ServerProcess, times: int) -> int:
    """Send more small calls than a connection can have, in one write."""
    head = block(REPOSITORY_INDEX)
    calls = b"".join(headers(stream, head) + data(stream, message(b""), ended=True) for stream in streams(1000))
    return _call(server, _WIDE + calls, times, 24)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES, refusals=True)
def unread_answers(server: ServerProcess, times: int) -> int:
    """Send small requests with answers of 270 kB and disconnect without reading. The log has no errors."""
    body = b'{"text":"good"}'
    ask = b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with connections(server.port, 30 * times, receive_buffer=4096) as opened:
        for connection in opened:
            connection.sendall(ask * (1 + MAX_PIPELINED))
        time.sleep(2)
    return 30 * times * (1 + MAX_PIPELINED) * len(ask)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES, refusals=True)
def unread_feature_maps(server: ServerProcess, times: int) -> int:
    """Send small requests with answers of 4.9 MB on 200 connections, and read no answers."""
    body = b'{"text":"good","model":"reviews","feature_map":true}'
    ask = b"POST /v1/inspect HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with connections(server.port, 200 * times, receive_buffer=4096) as opened:
        for connection in opened:
            connection.sendall(ask)
        begun = {connection.recv(12, socket.MSG_PEEK | socket.MSG_WAITALL) for connection in opened}
    assert begun <= {b"HTTP/1.1 200", b"HTTP/1.1 429"}, begun
    return len(opened) * len(ask)


def _leave_unread(opened: Sequence[socket.socket], ask: bytes) -> int:
    """Send the same bytes on every connection, each when the previous one has an answer, and read nothing."""
    for connection in opened:
        with suppress(ConnectionError):  # the server can reject it
            connection.sendall(ask)
            connection.recv(1, socket.MSG_PEEK)
    return len(opened) * len(ask)


def _unread(port: int, ask: bytes, count: int) -> int:
    """Leave answers unread until they do not grow any more."""
    with connections(port, count, receive_buffer=4096) as opened:
        sent = _leave_unread(opened, ask)
        held, deadline = 0.0, time.monotonic() + _LONGEST
        while (now := kernel_megabytes([port])) > held and time.monotonic() < deadline:
            held = now
            time.sleep(1)
        return sent


#: The largest file that needs no key.
_LARGEST_FILE = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n%b\r\n"


@SCENARIOS.add(PAGE)
def unread_files(server: ServerProcess, times: int) -> int:
    """Pipeline eight requests for a file of 1.5 MB on each of 400 connections, and read no answers."""
    return _unread(server.port, 8 * (_LARGEST_FILE % b""), 400 * times)


@SCENARIOS.add(OPEN, peak_megabytes=LEFTOVER_MEGABYTES + 400 * UNREAD_MEGABYTES)
def unread_calls(server: ServerProcess, times: int) -> int:
    """Send a call with answers of 200 kB on each of 400 connections with open windows, and read no answers."""
    ask = _WIDE + headers(1, block(REFLECTION)) + data(1, _QUESTION * 60)
    return _unread(server.grpc_port, ask, 400 * times)


@SCENARIOS.add(Setup(("--workers", "1", "--open-page", "--write-timeout", str(WRITE_TIMEOUT)), KEY))
def abandoned_answers(server: ServerProcess, times: int) -> int:
    """The kernel ends connections that the worker has closed and whose callers do not read the rest."""
    ask = _LARGEST_FILE % b"Connection: close\r\n"
    before = kernel_megabytes([server.port])
    with connections(server.port, 200 * times, receive_buffer=4096) as opened:
        sent = _leave_unread(opened, ask)
        eventually(lambda: kernel_megabytes([server.port]) > before + 2)
        deadline = time.monotonic() + PATIENCE
        while (held := kernel_megabytes([server.port]) - before) > 1:
            assert time.monotonic() < deadline, f"the kernel still holds {held:.0f} MB"
            time.sleep(0.5)
        return sent


@SCENARIOS.add(Setup(("--workers", "2")), peak_megabytes=_ALL_PROCESSES, total=True, refusals=True)
def large_batches(server: ServerProcess, times: int) -> int:
    """Send 80 complete bodies of 8 MB over both protocols. Each is answered or rejected."""
    body = json.dumps({"texts": _TEXTS}).encode()
    batch = PredictBatchRequest(texts=_TEXTS).SerializeToString()

    def rest() -> str:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2 * PATIENCE)
        try:
            connection.request("POST", "/v1/predict_batch", body)
            response = connection.getresponse()
            response.read()
            return str(response.status)
        finally:
            connection.close()

    def call() -> str:
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
            try:
                method: Any = channel.unary_unary(PREDICT_BATCH.decode())
                method(batch, timeout=2 * PATIENCE)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "200"

    def ask(once: Callable[[], str]) -> str:
        started = time.monotonic()
        try:
            return once()
        except OSError as error:
            # The server reads a rejected body for some seconds, in which a slow machine does not send it.
            reset = isinstance(error, ConnectionError) and time.monotonic() > started + DISCARD_SECONDS
            return "reset" if reset else type(error).__name__

    callers = [rest, call] * 40 * times
    with ThreadPoolExecutor(80) as pool:
        outcomes = Counter(pool.map(ask, callers))
    assert outcomes.keys() <= {"200", "429", "RESOURCE_EXHAUSTED", "reset"}, dict(outcomes)
    return 40 * times * (len(body) + len(batch))


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def long_texts_with_sentences(server: ServerProcess, times: int) -> int:
    """Ask for the sentences of the longest texts, on two connections. Each is answered or rejected."""
    bodies = [
        json.dumps({"text": text, "sentences": True}, ensure_ascii=False).encode() for text in hostile_texts().values()
    ]

    def ask() -> int:
        with httpx.Client(base_url=server.url, timeout=2 * PATIENCE, trust_env=False) as client:
            for body in bodies * times:
                status = client.post("/v1/predict", content=body).status_code
                assert status in (200, 413, 429), f"a long text was answered with {status}"
        return times * sum(map(len, bodies))

    with ThreadPoolExecutor(2) as pool:
        return sum(each.result() for each in [pool.submit(ask) for _ in range(2)])
