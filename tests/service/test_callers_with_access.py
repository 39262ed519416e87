"""Connections remember that a request on them had access, so that strangers do not delay them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from pydantic import SecretStr
from uvicorn.server import ServerState

from sentiment_conv1d.server.http.connection import HttpConnection
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.turns import Reader, Turns
from sentiment_conv1d.service.grpc.server import ROUTES, GrpcServer
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.app import Application, routes
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from tests.attacks.wire import CHECK, HELLO, PREDICT, block, data, headers, literal, message
from tests.service.rest.raw import request

KEY = "a-key-of-this-service"
SETTINGS = Settings(api_keys=SecretStr(KEY))


def state() -> ServiceState:
    """Return a service without models. It answers 404 to callers with access."""
    models = LoadedModels()
    dataplane = cast(DataPlane, SimpleNamespace(runs_in_turns=True))  # no request gets further
    metrics = Metrics({"rest": routes(SETTINGS), "grpc": ROUTES})
    return ServiceState(SETTINGS, dataplane, models, Access(SETTINGS), metrics)


def rest() -> HttpConnection:
    """Return a connection to the REST application."""
    loop = asyncio.get_running_loop()
    application = Application(state())
    server = ServerState()
    return HttpConnection(
        uvicorn.Config(cast(Any, application), log_config=None),
        server,
        loop,
        lambda lost: None,
        find_handler=application.find_handler,
        buffers=Buffers(1_000_000),
        turns=Turns(loop),
        header_timeout=1,
        write_timeout=1,
    )


def grpc() -> Reader:
    """Return a connection to the gRPC server."""
    loop = asyncio.get_running_loop()
    server = GrpcServer(state(), buffers=Buffers(1_000_000), turns=Turns(loop))
    return server._connect(lambda lost: None)


def check(connect: Callable[[], Any], requests: list[tuple[bytes, bool]]) -> None:
    """Send requests, and check after the answer to each whether the connection had access."""

    async def send() -> None:
        loop = asyncio.get_running_loop()
        connection = connect()
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        with theirs:
            await loop.connect_accepted_socket(lambda: connection, ours)
            for content, admitted in requests:
                await loop.sock_sendall(theirs, content)
                assert await loop.sock_recv(theirs, 65_536)
                for _ in range(10):  # turns of the event loop, in which the request ends
                    await asyncio.sleep(0)
                assert connection.admitted == admitted
            connection.transport.abort()

    uvloop.run(send())


def test_rest() -> None:
    """An open route and a request without a key give no access over REST. Access lasts as long as the connection."""
    ask = partial(request, "/v1/models/x:predict", "Content-Length: 2")
    without, key = ask() + b"{}", ask(f"X-API-Key: {KEY}") + b"{}"
    check(rest, [(request("/livez", method="GET"), False), (without, False), (key, True), (without, True)])


@pytest.mark.parametrize(
    ("length", "key", "found"),
    [(16_384, False, True), (16_385, False, False), (60_000, False, False), (60_000, True, True)],
)
def test_bodies_without_access(length: int, key: bool, found: bool) -> None:
    """The body of a request without a key is collected on the fast path only if it is short."""
    fields = {b"content-length": b"%d" % length, **({b"x-api-key": KEY.encode()} if key else {})}
    assert (Application(state()).find_handler(b"/v1/predict", fields) is not None) == found


def test_rest_over_asgi() -> None:
    """A request whose body has no known length gives access too, and one without a key does not."""
    ask, body = partial(request, "/v1/models/x:predict", "Transfer-Encoding: chunked"), b"2\r\n{}\r\n0\r\n\r\n"
    check(rest, [(ask() + body, False), (ask(f"X-API-Key: {KEY}") + body, True)])


def test_grpc() -> None:
    """A health check and a call without a key give no access over gRPC."""

    def call(stream: int, path: bytes, *fields: bytes) -> bytes:
        return headers(stream, block(path, *fields)) + data(stream, message(b""), ended=True)

    key = literal(b"x-api-key", KEY.encode())
    check(grpc, [(HELLO + call(1, CHECK), False), (call(3, PREDICT), False), (call(5, PREDICT, key), True)])
