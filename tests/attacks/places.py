"""Strangers hold every connection. Callers with a key keep theirs, and new ones get one, like health probes."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from functools import partial
from http.client import HTTPResponse

from grpc_health.v1.health_pb2 import HealthCheckResponse

from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from tests.attacks.scenarios import KEY, LEFTOVER_MEGABYTES, Attack, Scenario, Scenarios, Setup
from tests.attacks.tls import hello, trusting
from tests.attacks.wire import CHECK, HELLO, LIST, PREDICT, WATCH, block, data, headers, message, settings, streams
from tests.processes import PATIENCE, ServerProcess
from tests.service.grpc.raw import Caller
from tests.service.rest.raw import request

SCENARIOS = Scenarios()

#: Connections of one protocol, callers that keep one, and strangers at the normal size.
_PLACES, _CALLERS, _STRANGERS = 64, 10, 80

#: Time does not end the connections of strangers, on a busy machine neither those of callers.
_TIMEOUTS = ("header", "body", "write", "handshake", "keep-alive", "grpc-idle")
_FLAGS = (
    *("--workers", "1", "--open-page", "--max-connections", str(_PLACES), "--grpc-max-connections", str(_PLACES)),
    *(part for name in _TIMEOUTS for part in (f"--{name}-timeout", "3600")),
)
_PLAIN, _SECURE = Setup(_FLAGS, KEY), Setup(_FLAGS, KEY, tls=True)

#: What a stranger sends over REST. It reads nothing.
_REST = {
    "idle": b"",
    "heads": b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nX: ",
    "bodies": request("/v1/predict", "Content-Length: 16384") + b"{",
    "health": request("/readyz", method="GET"),
    "unread": request("/docs/swagger-ui-bundle.js", method="GET"),
}


def _calls(path: bytes, count: int = 1) -> bytes:
    return b"".join(headers(each, block(path)) + data(each, message(b""), ended=True) for each in streams(count))


#: What a stranger sends over gRPC. It reads nothing.
_GRPC = {
    "idle": HELLO,
    "heads": HELLO + headers(1, block(CHECK), complete=False),
    "bodies": HELLO + headers(1, block(CHECK)) + data(1, message(b"")[:1]),
    "health": HELLO + _calls(WATCH),
    "unread": HELLO + _calls(LIST, 1000),
    "windows": HELLO + settings(INITIAL_WINDOW_SIZE=0) + _calls(LIST),
}


def _connect(port: int, stack: ExitStack, *, tls: bool) -> socket.socket:
    connection = stack.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    return stack.enter_context(trusting().wrap_socket(connection)) if tls else connection


def _ask(connection: socket.socket, path: str, *fields: str, method: str = "GET") -> int:
    """Send a request without a body, and return the status of its answer."""
    connection.sendall(request(path, *fields, method=method))
    response = HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def _fill(port: int, content: bytes, times: int, stack: ExitStack, *, tls: bool) -> int:
    """Let more strangers come than there are places, and return the number of bytes sent."""
    for _ in range(times * _STRANGERS):
        with suppress(ConnectionError):  # another stranger has replaced it
            _connect(port, stack, tls=tls).sendall(content)
    return times * _STRANGERS * len(content)


def _rest(server: ServerProcess, times: int, *, content: bytes, tls: bool, greeted: bool = True) -> int:
    """`greeted` is whether strangers complete the handshake of TLS."""
    access = f"X-API-Key: {KEY}"
    with ExitStack() as stack:
        callers = [_connect(server.port, stack, tls=tls) for _ in range(_CALLERS)]
        assert {_ask(each, "/v1/models", access) for each in callers} == {200}
        sent = _fill(server.port, content, times, stack, tls=tls and greeted)
        for _ in range(_CALLERS):
            callers.append(_connect(server.port, stack, tls=tls))
            assert _ask(callers[-1], "/v1/models", access) == 200
            for probe in ("/livez", "/readyz"):
                assert _ask(_connect(server.port, stack, tls=tls), probe) == 200
        assert {_ask(each, "/v1/models", access) for each in callers} == {200}
        return sent


def _grpc(server: ServerProcess, times: int, *, content: bytes, tls: bool, greeted: bool = True) -> int:
    """`greeted` is whether strangers complete the handshake of TLS."""
    text, access = PredictRequest(text="A great film.").SerializeToString(), {"x-api-key": KEY}
    with ExitStack() as stack:

        def come() -> Caller:
            return stack.enter_context(Caller(server.grpc_port, trusting() if tls else None))

        callers = [come() for _ in range(_CALLERS)]
        assert {each.call(PREDICT.decode(), text, access).status for each in callers} == {0}
        sent = _fill(server.grpc_port, content, times, stack, tls=tls and greeted)
        for _ in range(_CALLERS):
            callers.append(come())
            assert callers[-1].call(PREDICT.decode(), text, access).status == 0
            [health] = come().call(CHECK.decode(), b"").messages
            assert HealthCheckResponse.FromString(health).status == HealthCheckResponse.SERVING
        assert {each.call(PREDICT.decode(), text, access).status for each in callers} == {0}
        return sent


def _add(name: str, attack: Attack, setup: Setup) -> None:
    SCENARIOS[name] = Scenario(attack, setup, LEFTOVER_MEGABYTES)


#: What a stranger sends instead of completing the handshake of TLS.
_HANDSHAKES = {"connections": b"", "handshakes": hello(), "half_handshakes": hello()[:100]}

for _name, _content in _REST.items():
    _add(f"rest_places_{_name}", partial(_rest, content=_content, tls=False), _PLAIN)
    _add(f"rest_tls_places_{_name}", partial(_rest, content=_content, tls=True), _SECURE)
for _name, _content in _GRPC.items():
    _add(f"grpc_places_{_name}", partial(_grpc, content=_content, tls=False), _PLAIN)
    _add(f"grpc_tls_places_{_name}", partial(_grpc, content=_content, tls=True), _SECURE)
for _name, _content in _HANDSHAKES.items():
    _add(f"rest_tls_places_{_name}", partial(_rest, content=_content, tls=True, greeted=False), _SECURE)
    _add(f"grpc_tls_places_{_name}", partial(_grpc, content=_content, tls=True, greeted=False), _SECURE)
