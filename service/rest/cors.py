"""Calls from web pages of other origins, for which browsers ask leave first (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from service.rest.fields import Answering
from service.rest.headers import SECURITY

_ALLOWED = (
    b"Authorization, Content-Encoding, Content-Type, Inference-Header-Content-Length, X-API-Key, X-Request-ID, "
    b"traceparent, tracestate, baggage"
)
_EXPOSED = b"Inference-Header-Content-Length, Retry-After, Server-Timing, X-Request-ID, traceparent, traceresponse"

#: Seconds for which a browser need not ask again.
_MAX_AGE = b"600"


class Cors:
    """Pure ASGI, around the application: leave for these origins, with commas between them, or for `*`.

    Leave to ask is no leave to be answered: a page needs an API key like everyone else. Credentials that a browser adds
    by itself are not asked for.
    """

    def __init__(self, application: ASGIApp, origins: str) -> None:
        self._application = application
        self._origins = named_origins(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        fields = self._fields(headers.get(b"origin"))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers and len(fields) > 1:
            await _give_leave(send, fields)
            return
        answering = Answering(send, fields)
        await self._application(scope, receive, answering.send)

    def _fields(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """What an answer to that origin has: more than one field if it has leave."""
        if b"*" in self._origins:
            allowed = b"*"
        elif origin in self._origins and origin is not None:
            allowed = origin
        else:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", _EXPOSED),
        ]


def named_origins(origins: str | None) -> frozenset[bytes]:
    """The origins of the setting, which may be `*`."""
    return frozenset() if origins is None else frozenset(each.strip().encode() for each in origins.split(","))


async def _give_leave(send: Send, fields: list[tuple[bytes, bytes]]) -> None:
    headers = [
        *fields,
        *SECURITY,
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", _ALLOWED),
        (b"access-control-max-age", _MAX_AGE),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
