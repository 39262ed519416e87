"""The fast path and the limits, on real connections."""

import asyncio
import gc
import json
import signal
import socket
import struct
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import ClientDisconnected, Overloaded
from sentiment_conv1d.server.http.asgi import TASK
from sentiment_conv1d.server.http.connection import HttpConnection
from sentiment_conv1d.server.http.fast_path import FastRequest, FindHandler, Handler
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.turns import Reader, Turns
from sentiment_conv1d.service.rest import page
from tests.processes import PATIENCE, ServerProcess, eventually
from tests.service.rest.raw import Connection, request

GOOD = json.dumps({"text": "A great film."}).encode()

#: Almost the largest size of a request on the fast path.
BATCH = json.dumps({"texts": [f"{'good ' * n}{'bad ' * (400 - n)}film" for n in range(32)]}).encode()

#: Bytes of an answer, and the largest part of it that a socket can buffer.
SIZE, IN_KERNEL = 20_000_000, 10_000_000

ROUTES = {
    "/v1/predict": GOOD,
    "/v1/predict_batch": b'{"texts": ["A great film."]}',
    "/v2/models/imdb-cnn/infer": b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["film"]}]}',
    "/v1/models/imdb-cnn:predict": b'{"instances": ["film"]}',
    "/": b'{"inputs": "film"}',
}


def make_connection(
    application: Any, turns: Turns, memory: int = 0, find_handler: FindHandler | None = None
) -> HttpConnection:
    """Return a connection to an ASGI application, with bytes of memory for requests."""
    return HttpConnection(
        uvicorn.Config(application, interface="asgi3", log_config=None),
        ServerState(),
        asyncio.get_running_loop(),
        lambda lost: None,
        find_handler=find_handler,
        buffers=Buffers(memory),
        turns=turns,
        header_timeout=1,
        write_timeout=1,
    )


@asynccontextmanager
async def connected(connection: HttpConnection) -> AsyncIterator[socket.socket]:
    """Establish a connection, and yield the socket of its client."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        yield theirs


async def turns() -> None:
    """Let the event loop turn until what has arrived is handled."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_connection_with_an_unread_answer_is_not_idle() -> None:
    """A connection is not idle while part of an answer waits for its reader."""

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    async def check() -> None:
        loop = asyncio.get_running_loop()
        connection = make_connection(nothing, Turns(loop))
        async with connected(connection) as theirs:
            assert connection.idle_until is not None
            connection.transport.write(bytes(SIZE))
            received = 0
            while received < SIZE:
                assert connection.idle_until is None or SIZE - received <= IN_KERNEL
                received += len(await loop.sock_recv(theirs, 100_000))
            assert connection.idle_until is not None
            connection.transport.close()

    uvloop.run(check())


@pytest.mark.parametrize(("count", "closed"), [(33, False), (34, True)])
def test_requests_in_advance(count: int, closed: bool) -> None:
    """32 requests can wait for the answer to an earlier one, and a client that sends more is disconnected."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def check() -> None:
        loop = asyncio.get_running_loop()
        connection = make_connection(application, Turns(loop), 1_000_000)
        async with connected(connection) as theirs, asyncio.timeout(PATIENCE):
            await loop.sock_sendall(theirs, request("/", method="GET") * count)
            while not (connection._waiting or connection.transport.is_closing()):  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert connection.transport.is_closing() == closed
            connection.transport.abort()

    uvloop.run(check())


@pytest.mark.parametrize("path", ["/fast", "/slow"])
def test_running(path: str) -> None:
    """A connection is running from the last byte of a request until its answer, and not while the request arrives."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            while (await receive())["more_body"]:
                pass
            await answered.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        async def work(request: FastRequest) -> None:
            await answered.wait()
            request.reply(204, Answer(b""), "x")

        def find(target: bytes, headers: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
            return work if target == b"/fast" else None

        connection = make_connection(application, Turns(loop), 1000, find)
        async with connected(connection) as theirs:
            for _ in range(2):
                answered.clear()
                for part in (request(path, "Content-Length: 2"), b"a"):
                    theirs.send(part)
                    await turns()
                    assert not connection.running
                theirs.send(b"b")
                await turns()
                assert connection.running
                answered.set()
                assert (await loop.sock_recv(theirs, 1000)).startswith(b"HTTP/1.1 204")
                await turns()
                assert not connection.running
            connection.transport.close()

    uvloop.run(check())


@pytest.mark.parametrize("path", ["/fast", "/slow"])
@pytest.mark.parametrize("size", [5, 1_000_000])
def test_client_that_disconnects(path: str, size: int, caplog: pytest.LogCaptureFixture) -> None:
    """Work stops if the client disconnects, however large the body was, and logs no error."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        started, stopped = asyncio.Event(), asyncio.Event()

        async def work(request: object) -> None:
            started.set()
            try:
                await loop.create_future()
            finally:
                stopped.set()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            scope[TASK] = asyncio.current_task()
            while (await receive())["more_body"]:
                pass
            await work(scope)

        def find(target: bytes, headers: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
            return work if target == b"/fast" else None

        connection = make_connection(application, Turns(loop), 10 * size, find)
        async with connected(connection) as theirs:
            await loop.sock_sendall(theirs, request(path, f"Content-Length: {size}") + bytes(size))
            await started.wait()
            assert not stopped.is_set()
        await stopped.wait()
        await asyncio.gather(*connection.tasks, return_exceptions=True)

    uvloop.run(check())
    assert not caplog.records


def test_client_that_disconnects_during_a_long_answer(caplog: pytest.LogCaptureFixture) -> None:
    """An application that sends a body in pieces stops at the next piece, and logs no error."""

    async def check() -> None:
        started, stopped = asyncio.Event(), asyncio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            started.set()
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"piece", "more_body": True})
                    await asyncio.sleep(0)
            finally:
                stopped.set()

        loop = asyncio.get_running_loop()
        connection = make_connection(application, Turns(loop))
        async with connected(connection) as theirs:
            await loop.sock_sendall(theirs, request("/", method="GET"))
            await started.wait()
        await asyncio.wait_for(stopped.wait(), PATIENCE)
        await asyncio.gather(*connection.tasks)

    uvloop.run(check())
    assert not caplog.records


@pytest.mark.parametrize("close", [False, True])
def test_large_answer_in_a_later_turn(close: bool) -> None:
    """A large answer without a task is sent whole, also if the handler gives it in a later turn of the event loop."""

    async def check() -> None:
        loop = asyncio.get_running_loop()

        def find(target: bytes, headers: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
            def answer(request: FastRequest) -> None:
                loop.call_soon(request.reply, 200, Answer(bytes(300_000) + b"end"), "id")

            return answer

        connection = make_connection(None, Turns(loop), 100, find)
        fields = ("Content-Length: 5", "Connection: close") if close else ("Content-Length: 5",)
        async with connected(connection) as theirs, asyncio.timeout(PATIENCE):
            for _ in range(1 if close else 2):
                await loop.sock_sendall(theirs, request("/fast", *fields) + b"hello")
                received = b""
                while not received.endswith(b"end"):
                    received += await loop.sock_recv(theirs, 100_000)
                assert received.count(bytes(300_000)) == 1
            assert connection.transport.is_closing() == close
            connection.transport.close()

    uvloop.run(check())


def find_handler(target: bytes, headers: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
    """Use the fast path for every body of known length at one path."""
    return handle if target == b"/fast" and b"content-length" in headers else None


#: Documents by target: one that is written at once, and one that is sent in pieces.
DOCUMENTS = {b"/short": b"short", b"/long": bytes(300_000)}


def find_document(target: bytes, headers: Mapping[bytes, bytes], charge: Charge) -> Handler | None:
    """Return documents without a task."""

    def answer(request: FastRequest) -> None:
        request.reply(200, Answer(DOCUMENTS[request.target]), "id")

    return answer if target in DOCUMENTS else None


async def handle(request: HttpRequest) -> None:
    """Answer after a turn of the event loop."""
    await request.body(1000, 1)
    await asyncio.sleep(0)
    with suppress(ClientDisconnected):
        await request.send(200, Answer(b"fast"), "id")


async def stub(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that answers at once or after the body."""
    while scope["path"] != "/early" and (message := await receive())["type"] != "http.disconnect":
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


LENGTH, CHUNKS = "Content-Length: 5", "Transfer-Encoding: chunked"
LARGE_UPGRADE = request("/slow", "Connection: Upgrade", "Upgrade: h2c", f"X: {'a' * 9000}", LENGTH)
PIECES = st.sampled_from(
    [
        *(request(path, field) for path in ("/fast", "/slow", "/early") for field in (LENGTH, CHUNKS)),
        *(request(path, LENGTH) + b"hello" for path in ("/fast", "/slow", "/early")),
        *(request(path, f"X: {'a' * 9000}", LENGTH) for path in ("/fast", "/slow")),
        request("/slow", CHUNKS) + b"5\r\nhello\r\n0\r\n\r\n",
        request("/slow", "Connection: close", LENGTH) + b"hello",
        request("/slow", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: ", LENGTH) + b"hello",
        LARGE_UPGRADE,
        *(request(path, method="GET") for path in ("/short", "/long")),
        request("/long", f"X: {'a' * 9000}", method="GET"),
        *(
            b"hello",
            b"5\r\nhello\r\n",
            b"0\r\n",
            b"X: y\r\n",
            b"\r\n",
            b"GET ",
            b"\0",
            b"POST /fast HTTP/1.1\r\nHost: a\r\n",
        ),
        *(b"a" * 20_000, b"1\r\na\r\n" * 4000, request("/early", method="GET") * 200),
    ]
)


@example(pieces=[LARGE_UPGRADE, b"hello"], together=True, limit=1_000_000)
@given(pieces=st.lists(PIECES, max_size=12), together=st.booleans(), limit=st.sampled_from([0, 30_000, 1_000_000]))
def test_released_memory(pieces: list[bytes], together: bool, limit: int) -> None:
    """For any bytes and any end of the connection, no error is raised and no bytes stay charged."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        errors: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        config = uvicorn.Config(stub, interface="asgi3", log_config=None)
        buffers, state, lost = Buffers(limit), ServerState(), asyncio.Event()
        options = {
            "find_handler": find_handler,
            "find_document": find_document,
            "buffers": buffers,
            "turns": Turns(loop),
            "header_timeout": 1.0,
            "write_timeout": 1.0,
        }
        connection = HttpConnection(config, state, loop, lambda closed: lost.set(), **cast(Any, options))
        async with connected(connection) as theirs:
            with suppress(OSError):
                for piece in [b"".join(pieces)] if together else pieces:
                    await loop.sock_sendall(theirs, piece)
                    await asyncio.sleep(0)
                    connection.enforce_timeouts(loop.time())
        await lost.wait()
        ends = await asyncio.gather(*state.tasks, return_exceptions=True)
        assert not errors and not any(isinstance(end, Exception) for end in ends)
        buffers.hold(limit)
        with pytest.raises(Overloaded):
            buffers.hold(1)

    uvloop.run(check())


@asynccontextmanager
async def thirty_callers(monkeypatch: pytest.MonkeyPatch, application: Any) -> AsyncIterator[list[socket.socket]]:
    """Connect 30 callers to an application. They share the turns of the event loop, in which parsing takes no time."""
    for module in ("network.turns", "http.connection"):
        monkeypatch.setattr(f"sentiment_conv1d.server.{module}.perf_counter", lambda: 0.0)
    turns = Turns(asyncio.get_running_loop())
    async with AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(connected(make_connection(application, turns, 1_000_000)))
            for _ in range(30)
        ]
        yield callers
        for caller in callers:
            caller.close()


def test_started_requests_count_against_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one turn of the event loop only a few requests start, of many connections and of many pipelined requests."""
    starts: Counter[int] = Counter()
    turn = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        starts[turn] += 1
        await stub(scope, receive, send)

    async def check() -> None:
        nonlocal turn
        loop = asyncio.get_running_loop()
        async with thirty_callers(monkeypatch, application) as callers:
            for caller in callers:
                await loop.sock_sendall(caller, request("/early", method="GET") * 5)
            while starts.total() < 150:
                turn += 1
                await asyncio.sleep(0)
            assert max(starts.values()) <= 8

    uvloop.run(check())


def test_complete_requests_count_against_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one turn only a few requests go on that have waited for the last byte of their body."""
    started, ends = 0, Counter[int]()
    turn = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal started
        started += 1
        while (await receive())["more_body"]:
            pass
        ends[turn] += 1

    async def check() -> None:
        nonlocal turn
        loop = asyncio.get_running_loop()
        async with thirty_callers(monkeypatch, application) as callers:
            for caller in callers:
                await loop.sock_sendall(caller, request("/early", "Content-Length: 1"))
            while started < 30:
                turn += 1
                await asyncio.sleep(0)
            for caller in callers:
                await loop.sock_sendall(caller, b"x")
            while ends.total() < 30:
                turn += 1
                await asyncio.sleep(0)
            assert max(ends.values()) <= 8

    uvloop.run(check())


def test_order_of_documents(server: ServerProcess) -> None:
    """Pipelined requests are answered in order, with and without tasks, and however large the answers are."""
    paths = ["/livez", "/docs/swagger-ui-bundle.js", "/v1/models", "/metrics", "/nothing", "/docs", "/livez?a=b"] * 3
    with Connection(server.port) as connection:
        connection.send(b"".join(request(path, method="GET") for path in paths))
        answers = [connection.answer() for _ in paths]
    kinds = [answer.headers["content-type"].partition(";")[0] for answer in answers]
    json, script, text, page = "application/json", "text/javascript", "text/plain", "text/html"
    assert kinds == [json, script, json, text, json, page, json] * 3
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 404, 200, 200] * 3


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/ping", "/v2/health/ready", *page.PATHS])
def test_same_document_on_every_path(server: ServerProcess, path: str) -> None:
    """A document and its headers are the same with and without the fast path."""
    with Connection(server.port) as connection:
        answers = []
        for target in (path, f"{path}?a=b"):
            connection.send(request(target, method="GET"))
            answer = connection.answer()
            assert answer.status == 200
            answers.append((answer.body, {**answer.headers, "date": "", "x-request-id": ""}))
    assert answers[0] == answers[1]


def test_the_rest_of_a_rejected_request() -> None:
    """Bytes after a rejected request are discarded at once, without a turn."""

    class CountedTurns(Turns):
        count = 0

        def read_or_wait(self, reader: Reader, received: int) -> bool:
            self.count += 1
            return super().read_or_wait(reader, received)

    async def check() -> None:
        loop = asyncio.get_running_loop()
        turns = CountedTurns(loop)
        connection = make_connection(stub, turns)
        async with connected(connection) as theirs:
            await loop.sock_sendall(theirs, b"no HTTP\r\n\r\n")
            while await loop.sock_recv(theirs, 10_000):  # the error, and the end
                pass
            for _ in range(10):
                await loop.sock_sendall(theirs, b"a" * 1000)
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # a turn of the event loop, in which the bytes are received
            assert connection._discarded == 10_000
            assert turns.count == 1
            connection.transport.abort()

    uvloop.run(check())


@pytest.mark.parametrize("path", ROUTES)
def test_same_answer_on_every_path(server: ServerProcess, path: str) -> None:
    """The answer and the headers are the same for one packet, two packets, chunks and a query string."""
    body = ROUTES[path]
    length = f"Content-Length: {len(body)}"
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    ways = {
        "one packet": [request(path, length) + body],
        "two packets": [request(path, length), body],
        "chunks": [request(path, "Transfer-Encoding: chunked") + chunk],
        "a query": [request(f"{path}?a=b", length) + body],
    }
    answers = {}
    with Connection(server.port) as connection:
        for way, packets in ways.items():
            connection.send(*packets)
            answers[way] = connection.answer()
    bodies = {answer.body for answer in answers.values()}
    assert len(bodies) == 1, answers
    assert {answer.status for answer in answers.values()} == {200}
    names = {tuple(sorted(answer.headers)) for answer in answers.values()}
    assert len(names) == 1, names


def test_a_batch_in_pieces(server: ServerProcess) -> None:
    """A batch gets the same answer in one piece, in several pieces, in chunks and pipelined."""
    length = f"Content-Length: {len(BATCH)}"
    path = "/v1/predict_batch"
    chunk = f"{len(BATCH):x}\r\n".encode() + BATCH + b"\r\n0\r\n\r\n"
    whole = request(path, length) + BATCH
    with Connection(server.port) as connection:
        connection.send(request(path, "Transfer-Encoding: chunked") + chunk)
        expected = connection.answer()
        assert [each["tokens"] for each in json.loads(expected.body)["predictions"]] == [402] * 32
        for size in (500, 16_384, 16_385, 40_000, len(whole)):
            connection.send(*(whole[start : start + size] for start in range(0, len(whole), size)))
            assert connection.answer().body == expected.body
        connection.send(whole + whole + whole)
        assert [connection.answer().body for _ in range(3)] == [expected.body] * 3


def test_an_answer_larger_than_its_request(server: ServerProcess) -> None:
    """A small request with a large answer gets the whole answer."""
    texts = ["a"] * 1_000
    body = json.dumps({"texts": texts}, separators=(",", ":")).encode()
    with Connection(server.port) as connection:
        for _ in range(3):
            connection.post("/v1/predict_batch", body)
            answer = connection.answer()
            assert len(answer.body) > 100_000
            assert len(json.loads(answer.body)["predictions"]) == len(texts)


def test_the_end_of_a_connection(server: ServerProcess) -> None:
    """The connection is closed after the answer if the client asks for it or speaks HTTP/1.0."""
    length = f"Content-Length: {len(GOOD)}"
    for head in (
        request("/v1/predict", length, "Connection: close"),
        request("/v1/predict", length).replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("/v1/predict", length, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        with Connection(server.port) as connection:
            connection.send(head + GOOD)
            answer = connection.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert connection.is_closed()


def test_request_after_a_small_one(server: ServerProcess) -> None:
    """A request in the same packet as a small one, or in the middle of another, is answered after it."""
    post = request("/v1/predict", f"Content-Length: {len(GOOD)}") + GOOD
    get = request("/livez", method="GET")
    with Connection(server.port) as connection:
        connection.send(post + get + post + post[:-5], post[-5:] + get[:10], get[10:])
        answers = [connection.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    assert [b"label" in answer.body for answer in answers] == [True, False, True, True, False]


def test_disconnection_before_the_answer(server: ServerProcess) -> None:
    """A client that sends a request and breaks the connection leaves no request in flight and logs no error."""
    logged = len(server.log)
    sent = request("/v1/predict", f"Content-Length: {len(GOOD)}") + GOOD
    for _ in range(100):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell
        connection.sendall(sent)
        connection.close()
    # The question is in flight itself.
    eventually(lambda: 'sentiment_requests_in_flight{protocol="rest"} 1.0\n' in server.client.get("/metrics").text)
    assert not [line for line in server.log[logged:] if "ERROR" in line]


def test_request_during_the_shutdown() -> None:
    """A small request whose body is arriving when the service shuts down is answered."""
    flags = ("--workers", "1", "--drain-delay", "0")
    with ServerProcess(*flags) as server, Connection(server.port) as idle, Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD[:5], length=len(GOOD))
        idle.send(request("/livez", method="GET"))
        assert idle.answer().status == 200
        server.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        connection.send(GOOD[5:])
        assert connection.answer().status == 200


def test_lost_connections_are_in_no_reference_cycle() -> None:
    """A connection with a request through ASGI is freed at once after it is lost, without the garbage collector."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        connection = make_connection(stub, Turns(loop))
        reference = weakref.ref(connection)
        gc.disable()
        try:
            async with connected(connection) as theirs:
                await loop.sock_sendall(theirs, request("/", method="GET"))
                await loop.sock_recv(theirs, 10_000)
            del connection
            for _ in range(10):
                await asyncio.sleep(0)
            assert reference() is None
        finally:
            gc.enable()

    uvloop.run(check())


def test_connection_that_is_never_made() -> None:
    """A connection whose TLS handshake fails leaves nothing to the garbage collector."""

    async def check() -> None:
        reference = weakref.ref(make_connection(None, Turns(asyncio.get_running_loop())))
        assert reference() is None

    uvloop.run(check())
