"""The errors of requests, and the tables that map them to HTTP and gRPC statuses."""

from __future__ import annotations

from http import HTTPStatus

from sentiment_conv1d.model.errors import SentimentError

#: Longer messages are truncated, because a message can repeat a name that is as long as the body. gRPC sends the
#: message as a percent-encoded header, and clients accept at most 8 KiB of headers.
MAX_MESSAGE_CHARACTERS = 500


class StartupError(SentimentError):
    """The service cannot start with these settings."""


class RequestError(Exception):
    """A request that fails. The caller sees the beginning of the message."""

    code = "internal"
    retry_after: int | None = None  # seconds

    def __init__(self, message: str) -> None:
        message = message if len(message) <= MAX_MESSAGE_CHARACTERS else message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
        super().__init__(message)
        self.message = message


class ClientDisconnected(Exception):
    """The client has disconnected, or cancelled the request, before its response was complete."""


class Malformed(RequestError):
    """The bytes do not have the protocol's format, for example because they are not JSON."""

    code = "malformed"


class Invalid(RequestError):
    """The request is well-formed, but does not have the shape that the route expects."""

    code = "invalid"


class NotExplainable(RequestError):
    """The decisions of this model cannot be explained exactly."""

    code = "not_explainable"


class TooLarge(RequestError):
    """The request exceeds a limit on bytes, characters or texts."""

    code = "too_large"


class MessageTooLarge(TooLarge):
    """A gRPC message exceeds the limit on bytes. gRPC has a separate status for this."""

    code = "message_too_large"


class HeadTooLarge(RequestError):
    """The headers exceed their limit."""

    code = "head_too_large"


class UnsupportedVersion(RequestError):
    """The service does not support this version of HTTP."""

    code = "unsupported_version"


class UnsupportedCoding(RequestError):
    """The body has a transfer coding other than chunked."""

    code = "unsupported_coding"


class Unauthorized(RequestError):
    """The request has no valid API key."""

    code = "unauthorized"


class Forbidden(RequestError):
    """The caller lacks a client certificate or an administration key, or the request comes from another site."""

    code = "forbidden"


class NotFound(RequestError):
    """The route, model or version does not exist."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The route does not accept this method."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnknownMethod(RequestError):
    """The gRPC method does not exist."""

    code = "unknown_method"


class RequestTimeout(RequestError):
    """The body did not arrive in time."""

    code = "request_timeout"


class UnsupportedEncoding(RequestError):
    """The service does not support the compression of the body."""

    code = "unsupported_encoding"


class Overloaded(RequestError):
    """Admission control rejected the request because too much work is waiting. A retry can succeed."""

    code = "overloaded"
    retry_after = 1


class Unavailable(RequestError):
    """The service is starting or shutting down."""

    code = "unavailable"
    retry_after = 1


class DeadlineExceeded(RequestError):
    """The answer was not ready within the request timeout."""

    code = "deadline_exceeded"


HTTP_STATUS: dict[str, HTTPStatus] = {
    Malformed.code: HTTPStatus.BAD_REQUEST,
    Unauthorized.code: HTTPStatus.UNAUTHORIZED,
    Forbidden.code: HTTPStatus.FORBIDDEN,
    NotFound.code: HTTPStatus.NOT_FOUND,
    UnknownMethod.code: HTTPStatus.NOT_FOUND,
    MethodNotAllowed.code: HTTPStatus.METHOD_NOT_ALLOWED,
    RequestTimeout.code: HTTPStatus.REQUEST_TIMEOUT,
    TooLarge.code: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    MessageTooLarge.code: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedEncoding.code: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Invalid.code: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotExplainable.code: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded.code: HTTPStatus.TOO_MANY_REQUESTS,
    HeadTooLarge.code: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedVersion.code: HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    UnsupportedCoding.code: HTTPStatus.NOT_IMPLEMENTED,
    RequestError.code: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable.code: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded.code: HTTPStatus.GATEWAY_TIMEOUT,
}

#: For protocols without status 422: an invalid request is a 400.
PLAIN_HTTP_STATUS = HTTP_STATUS | {Invalid.code: HTTPStatus.BAD_REQUEST}

#: Names of `grpc.StatusCode`. A request over a limit is INVALID_ARGUMENT, because the same call can never succeed.
GRPC_STATUS: dict[str, str] = {
    Malformed.code: "INVALID_ARGUMENT",
    Invalid.code: "INVALID_ARGUMENT",
    TooLarge.code: "INVALID_ARGUMENT",
    MessageTooLarge.code: "RESOURCE_EXHAUSTED",
    HeadTooLarge.code: "RESOURCE_EXHAUSTED",
    UnsupportedEncoding.code: "UNIMPLEMENTED",
    UnknownMethod.code: "UNIMPLEMENTED",
    RequestTimeout.code: "DEADLINE_EXCEEDED",
    Unauthorized.code: "UNAUTHENTICATED",
    Forbidden.code: "PERMISSION_DENIED",
    NotFound.code: "NOT_FOUND",
    NotExplainable.code: "FAILED_PRECONDITION",
    Overloaded.code: "RESOURCE_EXHAUSTED",
    Unavailable.code: "UNAVAILABLE",
    DeadlineExceeded.code: "DEADLINE_EXCEEDED",
    RequestError.code: "INTERNAL",
}
