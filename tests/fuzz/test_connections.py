"""Fuzzes HTTP/1.1 and HTTP/2 connections: recorded ones with mutations, and generated ones, mostly nearly valid.

The worker must stay healthy for other callers, and no memory may stay charged.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import suppress

import grpc
import httpx
import pytest
from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.server.network.buffers import BODY_FACTOR
from sentiment_conv1d.stubs import SentimentStub
from tests.attacks.wire import PREFACE, frames, message
from tests.fuzz.recording import record_grpc, record_rest
from tests.proc import anonymous_megabytes, children
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.grpc.channels import connect

#: Seconds within which another caller must get an answer, and a half-closed connection must end.
PROMPT = 60.0

#: Seconds of silence before a caller closes its half of a connection.
QUIET = 0.02

#: Megabytes by which the worker may grow in total.
GROWTH = 48

#: `--max-body-bytes` and `--max-buffered-bytes`. The largest body fits only if almost nothing is charged.
LARGE = 400_000
BUFFERED = BODY_FACTOR * LARGE + 50_000

_INTERNAL_ERROR = 2  # of HTTP/2


class Target:
    """A worker and another caller."""

    def __init__(self, server: ServerProcess, client: httpx.Client, channel: grpc.Channel) -> None:
        self.server = server
        self._client = client
        self._stub = SentimentStub(channel)
        self._workers = children(server.process.pid)
        self.recorded_rest = record_rest(server.port)
        self.recorded_grpc = record_grpc(server.grpc_port)
        self._bound = float("inf")
        self.check()
        self._bound = anonymous_megabytes(self._workers) + GROWTH

    def check(self) -> None:
        """Assert that the same worker answers another caller and has not grown."""
        assert self._client.post("/v1/predict", json={"text": "good"}).status_code == 200
        assert self._stub.Predict(PredictRequest(text="good"), timeout=PROMPT).tokens == 2
        assert children(self.server.process.pid) == self._workers
        assert anonymous_megabytes(self._workers) < self._bound

    def send(self, port: int, pieces: list[bytes], *, leave: bool) -> bytes:
        """Send bytes on a connection. Returns the response, or nothing if the caller disconnects at once."""
        received = b""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.settimeout(PROMPT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(ConnectionError):
                for piece in pieces:
                    connection.sendall(piece)
            if leave:
                return b""
            with suppress(ConnectionError):
                # HTTP/2 treats a half-closed connection as closed, so read the answers first.
                while select.select([connection], [], [], QUIET)[0] and (content := connection.recv(65_536)):
                    received += content
            with suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError):
                while content := connection.recv(65_536):
                    received += content
        return received


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Run a server whose log must not contain errors, except for calls with a very short deadline."""
    flags = ("--workers", "1", "--max-body-bytes", str(LARGE), "--max-buffered-bytes", str(BUFFERED))
    with ServerProcess(*flags) as server, connect(server) as channel:
        with httpx.Client(base_url=server.url, timeout=PROMPT, trust_env=False) as client:
            yield Target(server, client, channel)
            large = b'{"text": "good"}'.ljust(LARGE)
            eventually(lambda: client.post("/v1/predict", content=large).status_code == 200)  # the last ones have ended
        errors = [line for line in server.log if "status=DEADLINE_EXCEEDED" not in line]
        defects = [line for line in errors if " ERROR " in line or "Traceback" in line]
        assert not defects, "".join(server.log[server.log.index(defects[0]) :][:60])


@st.composite
def cut(draw: st.DrawFn, content: bytes) -> list[bytes]:
    """Split the content into pieces, possibly without its end."""
    places = sorted(draw(st.lists(st.integers(0, len(content)), max_size=4)))
    pieces = [content[start:end] for start, end in zip([0, *places], [*places, len(content)], strict=True)]
    return pieces[:-1] if places and draw(st.integers(0, 5)) == 5 else pieces


@st.composite
def spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    """Replace, insert, remove or repeat a few bytes of the content."""
    for _ in range(draw(st.sampled_from([0] * 5 + [1, 1, 2, 3]))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.sampled_from([0, 0, 1, 1, 2, 9]))
        put = draw(st.binary(max_size=4) | st.sampled_from([b"\r\n", b"\n", b"\r", b"\0", b":", b" ", b"\r\n\r\n"]))
        again = draw(st.sampled_from([1, 1, 1, 300]))
        content = content[:at] + put * again + content[at + size :]
    return content


@st.composite
def mutated(draw: st.DrawFn, recorded: list[bytes]) -> bytes:
    """Mutate a recorded connection: change bytes, and repeat, drop or exchange parts of it or of another one."""
    content = draw(st.sampled_from(recorded))
    for _ in range(draw(st.integers(0, 2))):
        other = draw(st.sampled_from(recorded))
        start, end = sorted((draw(st.integers(0, len(other))), draw(st.integers(0, len(other)))))
        at, until = sorted((draw(st.integers(0, len(content))), draw(st.integers(0, len(content)))))
        content = content[:at] + other[start:end] + content[draw(st.sampled_from([at, until])) :]
    return draw(spoilt(content))


def assert_http1(received: bytes) -> None:
    """Assert that a response begins properly, and that none is an internal error."""
    assert not received or received.startswith(b"HTTP/1.1 ")
    assert not re.search(rb"^HTTP/1\.1 500 ", received, re.MULTILINE)


def assert_http2(received: bytes) -> None:
    """Assert that the frames are valid, and that none is an internal error."""
    if not received.startswith(b"HTTP/1.1 505 "):
        answered: list[Frame] = list(frames(bytearray(received)))
        for frame in answered:
            assert not (isinstance(frame, GoAwayFrame | RstStreamFrame) and frame.error_code == _INTERNAL_ERROR)


@given(data=st.data(), leave=st.sampled_from([False, False, True]))
def test_recorded_requests(target: Target, data: st.DataObject, leave: bool) -> None:
    """Mutated connections of HTTP/1.1 clients never get an internal error."""
    pieces = data.draw(cut(data.draw(mutated(target.recorded_rest))))
    assert_http1(target.send(target.server.port, pieces, leave=leave))
    target.check()


@given(data=st.data(), leave=st.sampled_from([False, False, True]))
def test_recorded_calls(target: Target, data: st.DataObject, leave: bool) -> None:
    """Mutated connections of gRPC's client get valid frames and no internal error."""
    pieces = data.draw(cut(data.draw(mutated(target.recorded_grpc))))
    assert_http2(target.send(target.server.grpc_port, pieces, leave=leave))
    target.check()


_TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC-_!#0123", min_size=1, max_size=12)
_VALUE = st.text("abcXYZ019 ,;=/", max_size=30) | st.text(
    st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=30
)
_FIELD = st.one_of(
    st.tuples(_TOKEN, _VALUE),
    st.tuples(_TOKEN, st.just("x")),
    st.tuples(_TOKEN, st.just("")),
    st.sampled_from(
        [
            *(("Connection", "close"), ("Connection", "keep-alive"), ("Connection", "upgrade"), ("Upgrade", "h2c")),
            *(("Expect", "100-continue"), ("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
            *(("Transfer-Encoding", "gzip"), ("Content-Length", "7"), ("TE", "trailers"), ("Host", "y")),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
        ]
    ),
)
_BODY = st.sampled_from([b'{"text": "good"}', b'{"texts": ["good", "bad"]}', b"", b"{"]) | st.binary(max_size=60)
_START = st.one_of(
    st.sampled_from(["POST /v1/predict HTTP/1.1", "POST /v1/predict_batch HTTP/1.1", "GET /livez HTTP/1.1"]),
    st.sampled_from(["HEAD /livez HTTP/1.1", "POST /v2/models/imdb-cnn/infer HTTP/1.1", "GET /metrics HTTP/1.1"]),
    st.sampled_from(
        [
            *("OPTIONS * HTTP/1.1", "GET /docs HTTP/1.0", "POST /v1/predict HTTP/1.0", "GET http://x/livez HTTP/1.1"),
            *("GET /x HTTP/2.0", "GET /livez", "PRI * HTTP/2.0", "CONNECT x:1 HTTP/1.1", "POST  /v1/predict HTTP/1.1"),
        ]
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Build an HTTP/1.1 request with a length or chunks, possibly with trailers."""
    fields = [*draw(st.sampled_from([[("Host", "x")]] * 7 + [[]])), *draw(st.lists(_FIELD, max_size=2))]
    body = draw(_BODY)
    match draw(st.sampled_from(["length", "length", "chunked", "chunked", "none"])):
        case "length":
            wrong = draw(st.sampled_from([0] * 9 + [1, -1, 100_000]))
            fields.append(("Content-Length", str(max(0, len(body) + wrong))))
        case "chunked":
            fields.append(
                ("Transfer-Encoding", draw(st.sampled_from(["chunked"] * 9 + ["gzip, chunked", "chunked, x"])))
            )
            body = draw(chunked(body))
        case _:
            pass
    lines = [draw(_START), *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """Build a chunked body."""
    encoded = b""
    for piece in draw(cut(body)):
        extension = draw(st.sampled_from(["", "", "", ";a", ';a="b"', " ;a=b", ";" + "a" * 200]))
        wrong = draw(st.sampled_from([0] * 20 + [1, 2**40]))
        if piece or wrong:
            encoded += f"{len(piece) + wrong:x}{extension}\r\n".encode() + piece + b"\r\n"
    trailers = draw(st.lists(_FIELD, max_size=2))
    return encoded + b"0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers).encode("latin-1") + b"\r\n"


@given(data=st.data(), leave=st.sampled_from([False, False, True]))
def test_any_requests(target: Target, data: st.DataObject, leave: bool) -> None:
    """Pipelined, nearly valid requests that are cut anywhere never get an internal error."""
    whole = b"".join(data.draw(st.lists(requests(), min_size=1, max_size=4)))
    received = target.send(target.server.port, data.draw(cut(data.draw(spoilt(whole)))), leave=leave)
    assert_http1(received)
    target.check()


_PATH = st.sampled_from(
    [
        *["/sentiment.v1.Sentiment/Predict", "/sentiment.v1.Sentiment/PredictStream"] * 3,
        *("/sentiment.v1.Sentiment/PredictBatch", "/grpc.health.v1.Health/Watch"),
        *("/sentiment.v1.Sentiment/Explain", "/inference.GRPCInferenceService/ServerLive", "/x/y", "/", "*"),
    ]
)
_METADATA = st.lists(
    st.one_of(
        st.tuples(_TOKEN.map(str.lower), st.text("abcXYZ019 ,;=/", max_size=30)),
        st.sampled_from([("te", "trailers"), ("grpc-timeout", "1S"), ("grpc-encoding", "gzip"), ("x", "y" * 4000)]),
        st.tuples(_TOKEN, _VALUE),
        st.sampled_from(
            [
                *(("grpc-timeout", "0n"), ("grpc-encoding", "x"), ("content-length", "5"), ("x-bin", "AAA")),
                *((":path", "/"), (":status", "200"), ("connection", "close"), ("Upper", "case"), ("", "")),
            ]
        ),
    ),
    max_size=2,
)
_STREAM = st.sampled_from([1, 1, 1, 3, 3, 5, 7, 2, 0, 2**31 - 1])
_MESSAGE = st.one_of(
    st.just(message(PredictRequest(text="good").SerializeToString())),
    st.just(message(PredictRequest(text="bad").SerializeToString())),
    st.just(message(b"")),
    st.builds(message, st.binary(max_size=20), compressed=st.booleans()),
    st.binary(max_size=12),
    st.just(message(b"")[:3]),
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


_OTHER_FRAME = st.one_of(
    st.builds(_frame, st.just(0), st.sampled_from([0, 1, 8, 9]), _STREAM, _MESSAGE),
    st.builds(_frame, st.just(1), st.sampled_from([0, 1, 4, 5, 13, 37]), _STREAM, st.binary(max_size=20)),
    st.builds(_frame, st.just(2), st.just(0), _STREAM, st.binary(min_size=5, max_size=5)),
    st.builds(_frame, st.just(3), st.just(0), _STREAM, st.sampled_from([bytes(4), b"\0\0\0\x08", bytes(3)])),
    st.builds(
        _frame,
        st.just(4),
        st.sampled_from([0, 0, 1]),
        st.sampled_from([0, 0, 0, 1]),
        st.lists(
            st.builds(
                lambda name, value: name.to_bytes(2, "big") + value.to_bytes(4, "big"),
                st.integers(0, 10),
                st.sampled_from([0, 1, 100, 16_384, 65_535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]),
            ),
            max_size=4,
        ).map(b"".join),
    ),
    st.builds(_frame, st.just(5), st.just(4), _STREAM, st.binary(min_size=4, max_size=8)),
    st.builds(_frame, st.just(6), st.sampled_from([0, 1]), st.sampled_from([0, 0, 0, 1]), st.just(bytes(8))),
    st.builds(_frame, st.just(7), st.just(0), st.just(0), st.binary(min_size=8, max_size=10)),
    st.builds(
        _frame,
        st.just(8),
        st.just(0),
        _STREAM,
        st.sampled_from([1, 0, 65_535, 2**31 - 1]).map(lambda increment: increment.to_bytes(4, "big")),
    ),
    st.builds(_frame, st.just(9), st.sampled_from([0, 4]), _STREAM, st.binary(max_size=20)),
    st.builds(_frame, st.integers(0, 255), st.integers(0, 255), _STREAM, st.binary(max_size=20)),
)


#: Frames that can surround a call's own frames.
_HARMLESS = st.sampled_from(
    [
        _frame(4, 0, 0, b"\0\4\0\0\0\1"),
        _frame(4, 0, 0, b"\0\1\0\0\0\0\0\4\0\1\0\0"),
        _frame(6, 0, 0, bytes(8)),
        _frame(8, 0, 0, b"\0\0\0\1"),
        _frame(2, 0, 1, b"\0\0\0\3\x10"),
        _frame(0xBE, 9, 1, b"grease"),
    ]
)
_BETWEEN = st.lists(_HARMLESS | _HARMLESS | _OTHER_FRAME, max_size=2)


@st.composite
def sessions(draw: st.DrawFn) -> bytes:
    """Build an HTTP/2 connection: calls, with other frames between their frames."""
    encoder = Encoder()
    content = [PREFACE, draw(st.sampled_from([_frame(4, 0, 0, b"")] * 9 + [b""]))]
    for stream in draw(st.sampled_from([*[[1], [1, 3], [1, 3, 5]] * 3, [1, 5, 3], [3, 3]])):
        head = [(":method", "POST"), (":scheme", "http"), (":path", draw(_PATH)), (":authority", "x")]
        kind = draw(st.sampled_from(["application/grpc"] * 4 + ["application/grpc+proto", "text/plain"]))
        block = encoder.encode([*head, ("content-type", kind), *draw(_METADATA)], huffman=draw(st.booleans()))
        split = draw(st.sampled_from([len(block)] * 4 + [0, 1, len(block) // 2]))
        if split < len(block):
            content += [_frame(1, 0, stream, block[:split]), _frame(9, 4, stream, block[split:])]
        else:
            content.append(_frame(1, 4 | draw(st.sampled_from([0] * 6 + [1])), stream, block))
        content += draw(_BETWEEN)
        content.append(_frame(0, draw(st.sampled_from([1] * 6 + [0])), stream, draw(_MESSAGE)))
        content += draw(_BETWEEN)
    order = draw(st.sampled_from([*[content] * 7, [*content[:2], *draw(st.permutations(content[2:]))]]))
    return b"".join(order)


@given(data=st.data(), leave=st.sampled_from([False, False, True]))
def test_any_frames(target: Target, data: st.DataObject, leave: bool) -> None:
    """Calls with other frames among them, cut anywhere, get valid frames and no internal error."""
    pieces = data.draw(cut(data.draw(spoilt(data.draw(sessions())))))
    assert_http2(target.send(target.server.grpc_port, pieces, leave=leave))
    target.check()
