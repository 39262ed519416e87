"""Single requests from the process that watches: whether the service answers, and what it counts."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import grpc

from loadtest.errors import LoadTestError
from loadtest.rpc import metadata
from loadtest.target import Target
from loadtest.traffic import Request, Transport

_SECONDS = 10.0


def get(target: Target, path: str) -> str | None:
    """What a route answers, or None where the service has no such route or does not let us. Raises `LoadTestError`."""
    status, body = _exchange(target, target.head("GET", path))
    return body if status == 200 else None


def check(target: Target, requests: Sequence[Request]) -> None:
    """Ask once in every form.

    Raises `LoadTestError` where nobody answers or the request itself is at fault. A service that fails now and then is
    worth a test.
    """
    for request in {request.form: request for request in requests}.values():
        if request.transport is Transport.HTTP:
            status, body = _exchange(target, request.payload)
            if HTTPStatus.BAD_REQUEST <= status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
                raise LoadTestError(f"{target.rest} answers {request.form} with status {status}: {body[:300]}")
        else:
            _call(target, request)


def _exchange(target: Target, request: bytes) -> tuple[int, str]:
    context = target.tls_context()
    try:
        with socket.create_connection((target.rest.host, target.rest.port), _SECONDS) as plain:
            connection = context.wrap_socket(plain, server_hostname=target.rest.host) if context else plain
            with connection:
                connection.sendall(request)
                response = http.client.HTTPResponse(connection, method=request.split(b" ", 1)[0].decode())
                response.begin()
                with response:
                    return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LoadTestError(f"cannot reach {target.rest}: {reason}") from error


def _call(target: Target, request: Request) -> None:
    if target.grpc is None:
        raise LoadTestError(f"{request.form} needs the address of gRPC: --grpc-url")
    address = str(target.grpc)
    if target.grpc.tls:
        roots = target.ca_file.read_bytes() if target.ca_file else None
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots))
    else:
        channel = grpc.insecure_channel(address)
    with channel:
        try:
            if request.transport is Transport.STREAM:
                call: Any = channel.stream_stream(request.method)
                answers = call(iter([request.payload]), timeout=_SECONDS, metadata=metadata(target))
                next(answers)
            else:
                call = channel.unary_unary(request.method)
                call(request.payload, timeout=_SECONDS, metadata=metadata(target))
        except grpc.RpcError as error:
            raise LoadTestError(
                f"grpc://{address} answers {request.form} with {error.code().name}: {error.details()}"
            ) from error
