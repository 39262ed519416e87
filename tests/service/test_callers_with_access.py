"""Connections remember that a request on them had access, so that strangers do not delay them."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from hpack import Decoder
from hyperframe.frame import HeadersFrame
from pydantic import SecretStr
from uvicorn.server import ServerState

from sentiment_conv1d.server.errors import Overloaded, Unavailable
from sentiment_conv1d.server.http.connection import HttpConnection
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.places import Connection
from sentiment_conv1d.server.network.turns import Reader, Turns
from sentiment_conv1d.service.grpc.server import GrpcServer
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.protocols import GRPC_SERVICES, rest_protocols, routes
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from tests.attacks.wire import CHECK, HELLO, PREDICT, block, data, frames, headers, literal, message
from tests.service.rest.raw import request

KEY = "a-key-of-this-service"
SETTINGS = Settings(api_keys=SecretStr(KEY))

#: The key in the metadata of a call.
ACCESS = literal(b"x-api-key", KEY.encode())


def state() -> ServiceState:
    """Return a service without models. It answers 404 to callers with access."""
    models = LoadedModels()
    dataplane = cast(
        DataPlane,
        SimpleNamespace(runs_in_turns=True, expect=lambda *request: None, announce=lambda *request: None),
    )  # no more is used
    metrics = Metrics(routes(SETTINGS))
    return ServiceState(SETTINGS, dataplane, models, Access(SETTINGS), metrics)


def application() -> Application:
    """Return the REST application of this service."""
    return Application(state(), rest_protocols(SETTINGS))


def call(stream: int, path: bytes, *fields: bytes) -> bytes:
    """Return the frames of a call with an empty message."""
    return headers(stream, block(path, *fields)) + data(stream, message(b""), ended=True)


def admit(connection: Connection) -> None:
    """Admit a connection, once, as a listener with enough places does."""
    assert not connection.admitted
    connection.admitted = True


def rest() -> HttpConnection:
    """Return a connection to the REST application."""
    loop = asyncio.get_running_loop()
    served = application()
    server = ServerState()
    return HttpConnection(
        uvicorn.Config(cast(Any, served), log_config=None),
        server,
        loop,
        lambda lost: None,
        admit,
        admits=served.admits,
        find_handler=served.find_handler,
        find_caller=served.service_state.access.caller,
        buffers=Buffers(1_000_000),
        turns=Turns(loop),
        header_timeout=1,
        write_timeout=1,
    )


def grpc() -> Reader:
    """Return a connection to the gRPC server."""
    loop = asyncio.get_running_loop()
    server = GrpcServer(state(), GRPC_SERVICES, buffers=Buffers(1_000_000), turns=Turns(loop))
    return server._connect(lambda lost: None, admit)


@asynccontextmanager
async def connected(connection: Any) -> AsyncIterator[socket.socket]:
    """Establish a connection, and yield the socket of its client."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    with theirs:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        yield theirs
        connection.transport.abort()


async def turns() -> None:
    """Let the event loop turn until what has arrived is handled."""
    for _ in range(10):
        await asyncio.sleep(0)


def check(connect: Callable[[], Any], requests: list[tuple[bytes, bool]]) -> None:
    """Send requests, and check after the answer to each whether the connection had access."""

    async def send() -> None:
        loop = asyncio.get_running_loop()
        connection = connect()
        async with connected(connection) as theirs:
            for content, admitted in requests:
                await loop.sock_sendall(theirs, content)
                assert await loop.sock_recv(theirs, 65_536)
                await turns()
                assert connection.admitted == admitted

    uvloop.run(send())


def test_rest() -> None:
    """An open route and a request without a key give no access over REST. Access lasts as long as the connection."""
    ask = partial(request, "/v1/models/x:predict", "Content-Length: 2")
    without, key = ask() + b"{}", ask(f"X-API-Key: {KEY}") + b"{}"
    probe = request("/livez?x=1", f"X-API-Key: {KEY}", method="GET")
    check(rest, [(probe, False), (without, False), (key, True), (key, True), (without, True)])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_key_of_any_request(method: str) -> None:
    """A key gives access on every route that needs one, also if FastAPI answers, or nothing does."""
    for path in ("/v1/models", "/v1/no-such-route", "/metrics"):
        check(rest, [(request(path, f"X-API-Key: {KEY}", "Content-Length: 0", method=method), True)])


def test_key_of_an_incomplete_request() -> None:
    """The head of a request gives access, before the body has arrived."""

    async def send() -> None:
        connection = rest()
        async with connected(connection) as theirs:
            theirs.send(request("/v1/predict", f"X-API-Key: {KEY}", "Content-Length: 100")[:-1])
            await turns()
            assert not connection.admitted
            theirs.send(b"\n{")
            await turns()
            assert connection.admitted

    uvloop.run(send())


def test_certificate() -> None:
    """A client certificate gives access, except that an open route shows nothing."""
    admits = application().admits
    assert admits(b"POST", b"/v1/predict", {}, True)
    assert not admits(b"GET", b"/livez", {}, True)
    assert not admits(b"POST", b"/v1/predict", {}, False)


def refuse(connection: Connection) -> None:
    """Refuse to admit a connection, as a listener without places does."""
    raise Unavailable("there are too many connections")


def test_no_place_over_rest() -> None:
    """A request with a key gets a 503 if there is no place for its connection, which is closed. It is no failure."""

    async def send() -> None:
        loop = asyncio.get_running_loop()
        failed: list[str] = []
        connection = rest()
        connection._admit, connection._failed = refuse, failed.append
        async with connected(connection) as theirs:
            ask = request("/v1/models/x:predict", f"X-API-Key: {KEY}", "Content-Length: 2") + b"{}"
            await loop.sock_sendall(theirs, request("/livez", f"X-API-Key: {KEY}", method="GET") + ask)
            answers = b""
            while piece := await loop.sock_recv(theirs, 65_536):
                answers += piece
            assert b"connection: close" in answers and b"retry-after: " in answers
            assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"503"]
        assert not failed

    uvloop.run(send())


def test_no_place_over_grpc() -> None:
    """A call with a key ends with UNAVAILABLE if there is no place for its connection, and a health check does not."""

    async def send() -> None:
        loop = asyncio.get_running_loop()
        connection: Any = grpc()
        connection._admit = refuse
        async with connected(connection) as theirs:
            await loop.sock_sendall(theirs, HELLO + call(1, CHECK, ACCESS) + call(3, PREDICT, ACCESS))
            received = bytearray()
            statuses: dict[int, bytes] = {}
            while len(statuses) < 2:
                received += await loop.sock_recv(theirs, 65_536)
                for frame in frames(received):
                    if isinstance(frame, HeadersFrame) and "END_STREAM" in frame.flags:
                        statuses[frame.stream_id] = dict(Decoder().decode(frame.data, raw=True))[b"grpc-status"]
            assert statuses == {1: b"0", 3: b"14"}

    uvloop.run(send())


@pytest.mark.parametrize(
    ("length", "key", "found"),
    [(16_384, False, True), (16_385, False, False), (60_000, False, False), (60_000, True, True)],
)
def test_bodies_without_access(length: int, key: bool, found: bool) -> None:
    """The body of a request without a key is collected on the fast path only if it is short."""
    charge = Charge(Buffers(0), "key 1" if key else "192.0.2.1")
    fields = {b"content-length": b"%d" % length}
    assert (application().find_handler(b"/v1/predict", fields, charge) is not None) == found


def test_bodies_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that cannot be admitted is refused by its length, is not kept, and the connection goes on."""

    def expect(size: int, caller: str, cost: float) -> None:
        if size == 30_000:
            raise Overloaded("2048 texts are waiting")

    async def send() -> None:
        loop = asyncio.get_running_loop()
        connection = rest()
        monkeypatch.setattr(connection._find[b"POST"].__self__._dataplane, "expect", expect)  # type: ignore[union-attr]
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        with theirs:
            await loop.connect_accepted_socket(lambda: connection, ours)
            await loop.sock_sendall(theirs, request("/v1/predict", f"X-API-Key: {KEY}", "Content-Length: 30000"))
            await loop.sock_sendall(theirs, bytes(20_000))
            for _ in range(10):
                await asyncio.sleep(0)
            assert connection._reading is not None and connection._reading.size == 0
            assert connection._buffers.held == 0
            await loop.sock_sendall(theirs, bytes(10_000))
            answer = await loop.sock_recv(theirs, 65_536)
            assert answer.startswith(b"HTTP/1.1 429 ") and b"2048 texts are waiting" in answer
            await loop.sock_sendall(theirs, request("/v1/models/x:predict", f"X-API-Key: {KEY}", "Content-Length: 2"))
            await loop.sock_sendall(theirs, b"{}")
            assert (await loop.sock_recv(theirs, 65_536)).startswith(b"HTTP/1.1 400 ")
            assert not connection.tasks
            connection.transport.abort()

    uvloop.run(send())


def test_rest_over_asgi() -> None:
    """A request whose body has no known length gives access too, and one without a key does not."""
    ask, body = partial(request, "/v1/models/x:predict", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n"
    check(rest, [(ask() + body, False), (ask(f"X-API-Key: {KEY}") + body, True)])


def test_grpc() -> None:
    """A health check and a call without a key give no access over gRPC."""
    probe = HELLO + call(1, CHECK, ACCESS)
    check(grpc, [(probe, False), (call(3, PREDICT), False), *[(call(each, PREDICT, ACCESS), True) for each in (5, 7)]])
