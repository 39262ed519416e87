"""What can go wrong with a request, and the one place that maps it to each protocol's statuses."""

from __future__ import annotations

from http import HTTPStatus

from sentiment_conv1d.model.errors import SentimentError

#: Of a refusal, which may repeat a name as long as the body. In gRPC it travels as a header, percent-encoded, and
#: clients take no more than 8 KiB of those.
MAX_MESSAGE_CHARACTERS = 500


class StartupError(SentimentError):
    """The service cannot start as asked."""


class RequestError(Exception):
    """A request that gets a refusal instead of an answer. The message, or its beginning, is shown to the caller."""

    code = "internal"
    retry_after: int | None = None  # seconds

    def __init__(self, message: str) -> None:
        message = message if len(message) <= MAX_MESSAGE_CHARACTERS else message[: MAX_MESSAGE_CHARACTERS - 1] + "…"
        super().__init__(message)
        self.message = message


class ClientDisconnected(Exception):
    """The client has disconnected, or cancelled the request, before its response was complete."""


class Malformed(RequestError):
    """The bytes are not what the protocol carries, for example no JSON."""

    code = "malformed"


class Invalid(RequestError):
    """Well-formed, but not of the shape the route takes."""

    code = "invalid"


class NotExplainable(RequestError):
    """The model is none whose decisions can be explained exactly."""

    code = "not_explainable"


class TooLarge(RequestError):
    """Over a limit on bytes, characters or texts."""

    code = "too_large"


class MessageTooLarge(TooLarge):
    """A gRPC message over the limit on bytes, for which gRPC has a status of its own."""

    code = "message_too_large"


class HeadTooLarge(RequestError):
    """More headers than anybody needs."""

    code = "head_too_large"


class UnsupportedVersion(RequestError):
    """A version of HTTP that is not spoken here."""

    code = "unsupported_version"


class UnsupportedCoding(RequestError):
    """A body in a transfer coding other than chunked."""

    code = "unsupported_coding"


class Unauthorized(RequestError):
    """No API key, or none that is known."""

    code = "unauthorized"


class Forbidden(RequestError):
    """Not allowed to this caller: without a client certificate or an administration key, or from another site."""

    code = "forbidden"


class NotFound(RequestError):
    """No such route, model or version."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The route exists, but not for this method."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnknownMethod(RequestError):
    """No such method, where methods are called by name."""

    code = "unknown_method"


class RequestTimeout(RequestError):
    """The caller did not send the body in time."""

    code = "request_timeout"


class UnsupportedEncoding(RequestError):
    """A body compressed in a way that is not understood."""

    code = "unsupported_encoding"


class Overloaded(RequestError):
    """More work is waiting than is allowed to; the same request may succeed a moment later."""

    code = "overloaded"
    retry_after = 1


class Unavailable(RequestError):
    """Not ready: starting or shutting down."""

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

#: For protocols that know no 422: what is wrong with a request is a 400.
PLAIN_HTTP_STATUS = HTTP_STATUS | {Invalid.code: HTTPStatus.BAD_REQUEST}

#: Names of `grpc.StatusCode`. A limit is an argument's fault, since the same call can never succeed.
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
