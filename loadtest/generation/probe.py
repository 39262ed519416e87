"""Single requests from the parent process: checks that the service answers, and reads its metrics."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import grpc

from loadtest.errors import LoadTestError
from loadtest.generation.rpc import metadata, open_channel
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Endpoint, Target

_SECONDS = 10.0


def get(target: Target, path: str) -> str | None:
    """Return the body of a route, or None if the status is not 200. Raises `LoadTestError`."""
    status, body = _exchange(target, target.head("GET", path))
    return body if status == 200 else None


def check(target: Target, requests: Sequence[Request]) -> None:
    """Send one request of every form.

    Raises `LoadTestError` if the service is unreachable or rejects the request as invalid. A service that is overloaded
    or fails sometimes can be tested.
    """
    for request in {request.form: request for request in requests}.values():
        if request.transport is Transport.HTTP:
            status, body = _exchange(target, request.payload)
            faulty = HTTPStatus.BAD_REQUEST <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS
            if faulty or status == HTTPStatus.NOT_IMPLEMENTED:
                said = " ".join(body.split())[:300]
                raise LoadTestError(f"{target.rest} answers {request.form} with status {status}: {said}")
        else:
            _call(target, request)


def _exchange(target: Target, request: bytes) -> tuple[int, str]:
    try:
        with _connected(target, target.rest, "http/1.1") as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection, method=request.split(b" ", 1)[0].decode())
            response.begin()
            with response:
                return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(target.rest, error) from error


def _call(target: Target, request: Request) -> None:
    if target.grpc is None:
        raise LoadTestError(f"{request.form} needs the address of gRPC: --grpc-url")
    try:
        # The messages of gRPC about a failed connection are very long.
        _connected(target, target.grpc, "h2").close()
    except OSError as error:
        raise _unreachable(target.grpc, error) from error
    with open_channel(target) as channel:
        try:
            if request.transport is Transport.STREAM:
                call: Any = channel.stream_stream(request.method)
                answers = call(iter([request.payload]), timeout=_SECONDS, metadata=metadata(target))
                next(answers)
            else:
                call = channel.unary_unary(request.method)
                call(request.payload, timeout=_SECONDS, metadata=metadata(target))
        except grpc.RpcError as error:
            answer = f"{error.code().name}: {error.details()}"
            raise LoadTestError(f"{target.grpc} answers {request.form} with {answer}") from error


def _connected(target: Target, endpoint: Endpoint, protocol: str) -> socket.socket:
    plain = socket.create_connection((endpoint.host, endpoint.port), _SECONDS)
    if not endpoint.tls:
        return plain
    try:
        context = target.tls_context()
        context.set_alpn_protocols([protocol])
        return context.wrap_socket(plain, server_hostname=endpoint.host)
    except BaseException:
        plain.close()
        raise


def _unreachable(endpoint: Endpoint, error: OSError | http.client.HTTPException) -> LoadTestError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return LoadTestError(f"the certificate of {endpoint} is not trusted (--ca): {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return LoadTestError(f"cannot reach {endpoint} over TLS: {error.reason or error}")
    if not isinstance(error, OSError):
        return LoadTestError(f"{endpoint} does not speak HTTP/1.1")
    return LoadTestError(f"cannot reach {endpoint}: {error.strerror or error}")
