"""Attacks over HTTP/2 and gRPC."""

from __future__ import annotations

import gzip
import itertools
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import Frame, PingFrame, PriorityFrame, RstStreamFrame, SettingsFrame

from sentiment_conv1d.protos.descriptors import message_class
from sentiment_conv1d.protos.sentiment_pb2 import PredictBatchRequest, PredictRequest
from sentiment_conv1d.service.protocols.tfserving.grpc import CLASSIFY
from sentiment_conv1d.service.protocols.tfserving.grpc import PREDICT as PREDICT_TENSOR
from sentiment_conv1d.stubs import SentimentStub
from tests.attacks.http1 import WRITE_TIMEOUT
from tests.attacks.scenarios import BUFFERED_MEGABYTES, KEY, LEFTOVER_MEGABYTES, OPEN, Attack, Scenarios, Setup
from tests.attacks.wire import (
    CHECK,
    HELLO,
    MODEL_INFER,
    PREDICT,
    PREDICT_BATCH,
    PREDICT_STREAM,
    PREFACE,
    WATCH,
    block,
    connections,
    continuation,
    data,
    frames,
    headers,
    literal,
    message,
    send_all,
    settings,
    streams,
    window,
)
from tests.processes import PATIENCE, ServerProcess

SCENARIOS = Scenarios()

#: Seconds for the bytes of an attacker, at the normal size.
_LONGEST = 10.0

_EMPTY_MESSAGE = message(b"")

#: A request without the content type of gRPC.
_NOT_GRPC = b"\x83\x86\x84" + literal(b":authority", b"h")


def _flood(
    server: ServerProcess,
    content: bytes | Callable[[int], Iterable[bytes]],
    times: int,
    count: int,
    *,
    linger: float = 0.5,
) -> int:
    """Send the same bytes on `count` connections at once."""
    pieces = content if callable(content) else lambda times: [content] * times
    with connections(server.grpc_port, count) as opened:
        return send_all(
            ((connection, itertools.chain([HELLO], pieces(times))) for connection in opened),
            times * _LONGEST,
            linger=linger,
        ).sent


def _watches(count: int, first: int = 1) -> bytes:
    """Return many open calls of the method that needs no key and does not end."""
    head = block(WATCH)
    return b"".join(
        headers(stream, head) + data(stream, _EMPTY_MESSAGE, ended=True) for stream in streams(count, first)
    )


def _amplified() -> bytes:
    """Put a field of 3,950 bytes into HPACK's table and refer to it four times in each of 1,000 calls."""
    path_and_field = literal(b":path", WATCH, indexed=True) + literal(b"x", b"x" * 3949, indexed=True)
    first = b"\x83\x86" + path_and_field
    rest = literal(b"content-type", b"application/grpc") + b"\xbe" * 3
    others = b"\x83\x86\xbf" + literal(b"content-type", b"application/grpc") + b"\xbe" * 4
    return b"".join(
        headers(stream, first + rest if stream == 1 else others) + data(stream, _EMPTY_MESSAGE, ended=True)
        for stream in streams(1000)
    )


@SCENARIOS.add(peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def hpack_amplification(server: ServerProcess, times: int) -> int:
    """Send calls of a few bytes with 16 kB of metadata each: 1,000 on each of 20 connections."""
    return _flood(server, lambda _: [_amplified()], 1, 20 * times, linger=2)


@SCENARIOS.add(peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def hpack_amplification_without_end(server: ServerProcess, times: int) -> int:
    """Send the same heads without the end of the stream and without a message."""
    first = b"\x83\x86" + literal(b":path", WATCH, indexed=True) + literal(b"x", b"x" * 3949, indexed=True)
    rest = literal(b"content-type", b"application/grpc") + b"\xbe" * 3
    others = b"\x83\x86\xbf" + literal(b"content-type", b"application/grpc") + b"\xbe" * 4
    content = b"".join(headers(stream, first + rest if stream == 1 else others) for stream in streams(1000))
    return _flood(server, lambda _: [content], 1, 20 * times, linger=2)


@SCENARIOS.add()
def hpack_bombs(server: ServerProcess, times: int) -> int:
    """Send header blocks of 16 kB in which every byte refers to a large field."""
    first = headers(1, block(WATCH, literal(b"x", b"x" * 3949, indexed=True)))
    bombs = b"".join(headers(stream, block(WATCH, b"\xbe" * 16_000)) for stream in streams(20, 3))
    return _flood(server, first + bombs, times, 24)


@SCENARIOS.add()
def huffman_blocks(server: ServerProcess, times: int) -> int:
    """Send header blocks in which every byte must be Huffman-decoded."""
    field = Encoder().encode([NeverIndexedHeaderTuple("x", "a" * 3000)], huffman=True)
    content = b"".join(headers(stream, block(WATCH, *[field] * 4), ended=True) for stream in streams(100))
    return _flood(server, content, times, 24)


@SCENARIOS.add()
def many_fields(server: ServerProcess, times: int) -> int:
    """Send heads with hundreds of very short fields."""
    content = b"".join(headers(stream, block(WATCH, b"\0\x01a\0" * 400), ended=True) for stream in streams(100))
    return _flood(server, content, times, 24)


@SCENARIOS.add(peak_megabytes=BUFFERED_MEGABYTES + LEFTOVER_MEGABYTES)
def many_fields_kept(server: ServerProcess, times: int) -> int:
    """Open the maximum number of calls per connection, each with hundreds of different short fields."""
    fields = [literal(b"%x" % number, b"") for number in range(400)]
    content = b"".join(headers(s, block(WATCH, *fields)) + data(s, _EMPTY_MESSAGE, ended=True) for s in streams(128))
    return _flood(server, lambda _: [content], 1, 20 * times, linger=2)


def _bombs(server: ServerProcess, path: bytes, encoding: bytes, bomb: bytes, times: int, *, stream_each: bool) -> int:
    """Send compressed messages, 30 per write on several connections: one call each, or all in one call."""
    head = block(path, literal(b"grpc-encoding", encoding))
    content = message(bomb, compressed=True)
    if stream_each:
        calls = b"".join(headers(stream, head) + data(stream, content, ended=True) for stream in streams(30))
    else:
        calls = headers(1, head) + data(1, content * 30, ended=True)
    with connections(server.grpc_port, 4 * times) as opened:
        return send_all(((connection, [HELLO + calls]) for connection in opened), times * _LONGEST, linger=2).sent


_TEXT = PredictRequest(text="a" * 8_388_000).SerializeToString()
_TEXTS = PredictBatchRequest(texts=["a" * 8000] * 1024).SerializeToString()


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def gzip_calls(server: ServerProcess, times: int) -> int:
    """Send calls of 8 kB that decompress to 8 MB, 30 per write."""
    return _bombs(server, PREDICT, b"gzip", gzip.compress(_TEXT), times, stream_each=True)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def gzip_batches(server: ServerProcess, times: int) -> int:
    """Send decompression bombs with a batch of valid size."""
    return _bombs(server, PREDICT_BATCH, b"gzip", gzip.compress(_TEXTS), times, stream_each=True)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def deflate_calls(server: ServerProcess, times: int) -> int:
    """Send decompression bombs compressed with zlib."""
    return _bombs(server, PREDICT, b"deflate", zlib.compress(_TEXT, 9), times, stream_each=True)


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def gzip_stream(server: ServerProcess, times: int) -> int:
    """Send decompression bombs as messages of one streaming call."""
    return _bombs(server, PREDICT_STREAM, b"gzip", gzip.compress(_TEXT), times, stream_each=False)


def _messages() -> Iterator[tuple[bytes, bytes]]:
    """Yield paths and messages of valid size with millions of values."""
    model = b"\x0a\x08imdb-cnn"
    numbers = b"\1" * 8_380_000
    contents = _field(2, numbers)
    tensor = b"\x0a\6tokens" + b"\x12\5INT32" + b"\x1a\2\1\1" + _field(5, contents)
    yield PREDICT_BATCH, b"\x0a\0" * 4_190_000
    yield PREDICT, b"\xa2\x06\0" * 2_790_000
    yield MODEL_INFER, b"\x2a\0" * 4_190_000  # inputs
    yield MODEL_INFER, model + b"\x32\0" * 4_190_000  # outputs
    yield MODEL_INFER, model + b"\x3a\0" * 4_190_000  # raw contents
    yield MODEL_INFER, model + _field(5, tensor)
    yield MODEL_INFER, model + _field(5, _field(3, numbers))  # a shape
    ids = _field(5, _field(2, b"\x87\x27" * 1_024_000))  # 1,000 times 4999 for 1,024 texts: the largest valid batch
    yield MODEL_INFER, b"\x0a\x08accurate" + _field(5, tensor[:15] + b"\x1a\4\x80\x08\xe8\x07" + ids)
    yield PREDICT_TENSOR.encode(), _field(2, _field(1, b"text") + _field(2, b"\x42\0" * 4_190_000))  # values
    yield CLASSIFY.encode(), _repeated_context().SerializeToString()


def _repeated_context() -> Any:
    """A thousand empty examples with a context that has a text for all of them."""
    request = message_class("tensorflow.serving.ClassificationRequest")()
    examples = request.input.example_list_with_context
    examples.context.features.feature["text"].bytes_list.value.append(b"a" * 8_380_000)
    for _ in range(1000):
        examples.examples.add()
    return request


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def large_messages(server: ServerProcess, times: int) -> int:
    """Send messages that cost far more memory and time than their size, one at a time."""
    sent = 0
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
        for path, content in _messages():
            method: Any = channel.unary_unary(path.decode())
            for _ in range(times):
                try:
                    method(content, timeout=PATIENCE)
                except grpc.RpcError as error:
                    status = error.code().name
                    assert status in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"), f"{path.decode()} ended with {status}"
                sent += len(content)
    return sent


@SCENARIOS.add(OPEN, peak_megabytes=BUFFERED_MEGABYTES)
def compressed_messages(server: ServerProcess, times: int) -> int:
    """Send such messages compressed to 8 kB, 30 per write on several connections."""
    return sum(
        _bombs(server, path, b"gzip", gzip.compress(content), times, stream_each=True)
        for path, content in itertools.islice(_messages(), 3)
    )


def _field(number: int, content: bytes) -> bytes:
    """A field of a message."""
    return bytes((number << 3 | 2,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes(encoded) + bytes((value,))


def _repeated(frame: bytes, size: int = 30_000) -> bytes:
    return frame * (size // len(frame))


#: Frames that cost more to read than to send, 30 kB per connection. The first part opens streams.
_FLOODS: dict[str, tuple[bytes, bytes]] = {
    "settings": (b"", _repeated(settings(INITIAL_WINDOW_SIZE=65_535))),
    "settings_of_many_streams": (
        _watches(1000),
        _repeated(settings(INITIAL_WINDOW_SIZE=0) + settings(INITIAL_WINDOW_SIZE=2**31 - 1)),
    ),
    "settings_of_table_size": (b"", _repeated(settings(HEADER_TABLE_SIZE=0) + settings(HEADER_TABLE_SIZE=2**32 - 1))),
    "repeated_settings": (
        _watches(1000),
        (16_380).to_bytes(3, "big") + b"\x04" + bytes(5) + b"\0\4\0\0\xff\xff" * 2730,
    ),
    "settings_acknowledged": (b"", _repeated(SettingsFrame(flags=["ACK"]).serialize())),
    "pings": (b"", _repeated(PingFrame().serialize())),
    "pings_acknowledged": (b"", _repeated(PingFrame(flags=["ACK"]).serialize())),
    "priorities": (b"", _repeated(PriorityFrame(1, depends_on=3).serialize())),
    "rapid_resets": (
        b"",
        b"".join(
            headers(stream, block(WATCH), ended=True) + RstStreamFrame(stream, 8).serialize() for stream in streams(400)
        ),
    ),
    "resets_after_calls": (
        b"",
        b"".join(
            headers(stream, block(WATCH))
            + data(stream, _EMPTY_MESSAGE, ended=True)
            + RstStreamFrame(stream, 8).serialize()
            for stream in streams(400)
        ),
    ),
    "empty_data": (headers(1, block(WATCH)), _repeated(data(1))),
    "padded_data": (headers(1, block(WATCH)), _repeated(b"\0\0\x01\0\x08\0\0\0\x01\0")),
    "single_bytes": (headers(1, block(WATCH)), _repeated(data(1, b"\0"))),
    "continuations": (headers(1, block(WATCH), complete=False), _repeated(continuation(1, b""))),
    "small_continuations": (headers(1, block(WATCH), complete=False), _repeated(continuation(1, b"\x84"))),
    "windows": (b"", _repeated(window(0, 1))),
    "windows_of_a_stream": (_watches(1), _repeated(window(1, 1))),
    "windows_of_nothing": (_watches(1000), b"".join(window(stream, 1) * 2 for stream in streams(1000))),
    "fields_without_a_name": (
        b"",
        b"".join(headers(s, block(WATCH, b"\0\0\0" * 300), ended=True) for s in streams(30)),
    ),
    "unknown_frames": (b"", _repeated(b"\0\0\0\x16\0\0\0\0\0")),
    "refused_calls": (b"", b"".join(headers(s, block(PREDICT), ended=True) for s in streams(400))),
    "not_grpc": (b"", b"".join(headers(s, _NOT_GRPC, ended=True) for s in streams(2000))),
    "trailers": (b"", b"".join(headers(s, block(PREDICT)) + headers(s, b"", ended=True) for s in streams(400))),
}


def _flooding(name: str, opening: bytes, flood: bytes) -> Attack:
    def attack(server: ServerProcess, times: int) -> int:
        return _flood(server, lambda times: [*([opening] if opening else []), *[flood] * times], times, 24)

    attack.__name__ = f"flood_of_{name}"
    attack.__doc__ = f"Flood of {name.replace('_', ' ')}: {len(flood) // 1000} kB on each of 24 connections."
    return attack


for _name, (_opening, _content) in _FLOODS.items():
    SCENARIOS.add()(_flooding(_name, _opening, _content))


def _assert_newcomer_is_served(server: ServerProcess) -> None:
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
        try:
            SentimentStub(channel).Predict(
                PredictRequest(text="x"), timeout=PATIENCE, wait_for_ready=True, metadata=(("x-api-key", KEY),)
            )
        except grpc.RpcError as error:
            raise AssertionError(f"a new caller over gRPC was not served: {error.code().name}") from None


def _occupied(server: ServerProcess, hello: bytes, count: int, seconds: float) -> int:
    """Open connections and keep them alive with pings, while new callers connect."""
    with connections(server.grpc_port, count) as opened:
        sent = send_all(((connection, [hello]) for connection in opened), seconds, pings=True).sent
        for _ in range(3):
            _assert_newcomer_is_served(server)
        return sent + send_all(((connection, []) for connection in opened), seconds, linger=seconds, pings=True).sent


@SCENARIOS.add()
def idle_connections(server: ServerProcess, times: int) -> int:
    """New callers can connect when idle gRPC connections exceed the limit."""
    return _occupied(server, HELLO, 1100 * times, times)


@SCENARIOS.add()
def silent_connections(server: ServerProcess, times: int) -> int:
    """New callers can connect when connections without any bytes exceed the limit."""
    return _occupied(server, b"", 1100 * times, times)


@SCENARIOS.add()
def unfinished_prefaces(server: ServerProcess, times: int) -> int:
    """New callers can connect when connections with an incomplete handshake exceed the limit."""
    return _occupied(server, PREFACE[:20], 1100 * times, times)


@SCENARIOS.add()
def watching_connections(server: ServerProcess, times: int) -> int:
    """New callers can connect when connections that only watch health exceed the limit."""
    return _occupied(server, HELLO + _watches(1), 1100 * times, times)


@SCENARIOS.add()
def connections_with_unfinished_calls(server: ServerProcess, times: int) -> int:
    """New callers can connect when connections with a call that lacks its message exceed the limit."""
    return _occupied(server, HELLO + headers(1, block(CHECK)), 1100 * times, times)


@SCENARIOS.add()
def many_watches(server: ServerProcess, times: int) -> int:
    """Open the maximum number of health watches on several connections."""
    return _flood(server, lambda _: [_watches(1000)], 1, 24 * times)


@SCENARIOS.add()
def unfinished_calls(server: ServerProcess, times: int) -> int:
    """Open the maximum number of calls whose announced message never arrives."""
    head = block(WATCH)
    begun = b"".join(headers(stream, head) + data(stream, b"\0\0\x10\0\0") for stream in streams(1000))
    return _flood(server, lambda _: [begun], 1, 24 * times)


@SCENARIOS.add(Setup(("--workers", "1", "--write-timeout", str(WRITE_TIMEOUT))), peak_megabytes=BUFFERED_MEGABYTES)
def slow_windows(server: ServerProcess, times: int) -> int:
    """Callers that open their windows byte by byte lose their calls or connections."""
    ask = message(PredictBatchRequest(texts=["a"] * 1024).SerializeToString())
    calls = b"".join(headers(s, block(PREDICT_BATCH)) + data(s, ask, ended=True) for s in streams(8))
    with connections(server.grpc_port, 8 * times) as opened:
        by_stream, by_connection = opened[::2], opened[1::2]
        for connection in by_stream:
            connection.sendall(PREFACE + settings(INITIAL_WINDOW_SIZE=0) + calls)
        for connection in by_connection:
            connection.sendall(PREFACE + settings(INITIAL_WINDOW_SIZE=2**31 - 1) + calls)
        crumbs = dict.fromkeys(by_stream, b"".join(window(s, 1) for s in streams(8)))
        crumbs |= dict.fromkeys(by_connection, window(0, 1))
        received = {connection: bytearray() for connection in opened}
        waiting = {connection: set(streams(8)) for connection in opened}
        deadline = time.monotonic() + PATIENCE
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} slow readers still have calls"
            for connection in list(waiting):
                if _gone(connection, crumbs[connection], received[connection], waiting[connection]):
                    del waiting[connection]
            time.sleep(0.25)
        return len(opened) * len(calls)


def _gone(connection: socket.socket, crumb: bytes, received: bytearray, waiting: set[int]) -> bool:
    """Open a window slightly. Returns whether the server has ended all calls or the connection since then."""
    connection.setblocking(False)
    try:
        connection.send(crumb)
        while content := connection.recv(65_536):
            received += content
    except BlockingIOError:
        # Some calls are rejected because too many texts wait.
        ended: Iterable[Frame] = (
            each for each in frames(received) if isinstance(each, RstStreamFrame) or "END_STREAM" in each.flags
        )
        waiting -= {each.stream_id for each in ended}
        return not waiting
    except OSError:
        return True
    return True
