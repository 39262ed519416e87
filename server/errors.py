"""The errors of requests, with their HTTP and gRPC statuses, and the error of a server that cannot start."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

#: Bytes in UTF-8. Longer messages are truncated: one that repeats a name could be as long as the body. gRPC
#: sends the message as a percent-encoded header, which can be three times as long, and once more in the details, and
#: clients accept at most 8 KiB of headers.
MAX_MESSAGE_BYTES = 500


class ServerError(Exception):
    """The server cannot start: an address or a limit of the system cannot be used."""


class RequestError(Exception):
    """A request that fails. The caller sees the beginning of the message.

    A subclass declares its code and its statuses. An error without a gRPC status occurs only over REST.
    """

    code = "internal"
    http_status = HTTPStatus.INTERNAL_SERVER_ERROR
    grpc_status = "INTERNAL"  # a name of `grpc.StatusCode`
    retry_after: int | None = None  # seconds

    #: All subclasses.
    kinds: ClassVar[list[type[RequestError]]] = []

    def __init_subclass__(cls, code: str, http: int, grpc: str = grpc_status, retry_after: int | None = None) -> None:
        cls.code, cls.http_status, cls.grpc_status, cls.retry_after = code, HTTPStatus(http), grpc, retry_after
        cls.kinds.append(cls)

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE_BYTES or not message.isascii():
            content = message[: MAX_MESSAGE_BYTES + 1].encode("utf-8", "replace")  # a file name can contain surrogates
            if len(content) > MAX_MESSAGE_BYTES:
                content = content[: MAX_MESSAGE_BYTES - 3] + "…".encode()
            message = content.decode("utf-8", "ignore")
        self.message = message
        super().__init__(message)


class ClientDisconnected(Exception):
    """The client has disconnected, or cancelled the request, before its response was complete."""


class Malformed(RequestError, code="malformed", http=400, grpc="INVALID_ARGUMENT"):
    """The bytes do not have the protocol's format, for example because they are not JSON."""


# The same call can never succeed, so the gRPC status is not RESOURCE_EXHAUSTED.
class TooLarge(RequestError, code="too_large", http=413, grpc="INVALID_ARGUMENT"):
    """The request exceeds a limit on bytes, characters or texts."""


class MessageTooLarge(TooLarge, code="message_too_large", http=413, grpc="RESOURCE_EXHAUSTED"):
    """A gRPC message exceeds the limit on bytes. gRPC has a separate status for this."""


class HeadTooLarge(RequestError, code="head_too_large", http=431, grpc="RESOURCE_EXHAUSTED"):
    """The headers exceed their limit."""


class UnsupportedVersion(RequestError, code="unsupported_version", http=505):
    """The service does not support this version of HTTP."""


class UnsupportedCoding(RequestError, code="unsupported_coding", http=501):
    """The body has a transfer coding other than chunked."""


class Unauthorized(RequestError, code="unauthorized", http=401, grpc="UNAUTHENTICATED"):
    """The request has no valid API key."""


class MethodNotAllowed(RequestError, code="method_not_allowed", http=405):
    """The route does not accept this method."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnknownMethod(RequestError, code="unknown_method", http=404, grpc="UNIMPLEMENTED"):
    """The gRPC method does not exist."""


class RequestTimeout(RequestError, code="request_timeout", http=408, grpc="DEADLINE_EXCEEDED"):
    """The body did not arrive in time."""


class UnsupportedEncoding(RequestError, code="unsupported_encoding", http=415, grpc="UNIMPLEMENTED"):
    """The service does not support the compression of the body."""


class Overloaded(RequestError, code="overloaded", http=429, grpc="RESOURCE_EXHAUSTED", retry_after=1):
    """Admission control rejected the request because too much work is waiting. A retry can succeed."""


class Unavailable(RequestError, code="unavailable", http=503, grpc="UNAVAILABLE", retry_after=1):
    """The service is starting or shutting down, or lacks a version of the model's split."""


class ShutDown(Unavailable, code="unavailable", http=503, grpc="UNAVAILABLE", retry_after=1):
    """The time for shutdown is over, and the request has not ended."""


class DeadlineExceeded(RequestError, code="deadline_exceeded", http=504, grpc="DEADLINE_EXCEEDED"):
    """The answer was not ready within the request timeout."""
