"""An error as JSON, and as a complete response to bytes that are not a request."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from sentiment_conv1d.server.errors import RequestError
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.request import Answer


def error_body(error: RequestError, request_id: str) -> bytes:
    """`{"error": {"code", "message", "request_id"}}`."""
    return orjson.dumps({"error": {"code": error.code, "message": error.message, "request_id": request_id}})


def refusal(error: RequestError, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a complete response to bytes that are not a request. Close the connection after it."""
    answer = Answer(error_body(error, request_id), headers=headers.of_error(error))
    common = headers.lines(default_headers)
    return headers.head(error.http_status.value, common, answer, request_id, close=True) + answer.body
