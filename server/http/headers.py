"""The headers of every response, over ASGI and on the fast path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from sentiment_conv1d.server.errors import MethodNotAllowed, RequestError, RequestTimeout, ShutDown, Unauthorized
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.server.request_ids import HEADER

Headers = tuple[tuple[bytes, bytes], ...]

CLOSE = (b"connection", b"close")

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

#: The first line of a response by its status. Statuses without a name have an empty reason.
STATUS_LINES = {status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(200, 600)}

#: Added by uvicorn to every response: browsers must not guess another content type.
EVERY_RESPONSE = [("x-content-type-options", "nosniff")]


def content_length(fields: Mapping[bytes, bytes]) -> int | None:
    """Return the Content-Length of a request, which the parser has checked, or None if it has none."""
    length = fields.get(b"content-length")
    # Python refuses to convert more than 4,300 digits, and leading zeros are allowed.
    return None if length is None else int(length.lstrip(b"0") or b"0")


def of_answer(answer: Answer, request_id: str) -> Headers:
    """Return the headers of an answer or an error."""
    return (
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        (HEADER, request_id.encode()),
        *answer.headers,
    )


def of_error(error: RequestError) -> Headers:
    """Return the additional headers of an error."""
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, RequestTimeout | ShutDown):
        headers.append(CLOSE)  # the rest of the body can still arrive
    return tuple(headers)


def head(status: int, common: bytes, answer: Answer, request_id: str, *, close: bool) -> bytes:
    """Return the status line and the headers of `of_answer` as bytes; `common` are the header lines of all responses.

    This is a single format operation, because the fast path runs it for every request.
    """
    return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b\r\n" % (
        STATUS_LINES[status],
        common,
        answer.content_type,
        len(answer.body),
        request_id.encode(),
        lines(answer.headers) if answer.headers else b"",
        b"connection: close\r\n" if close and CLOSE not in answer.headers else b"",
    )


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return header lines as bytes."""
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])
