"""CORS: the web pages of other origins that can call the service."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Scope

_REQUEST_HEADERS = (
    *("Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length", "X-API-Key"),
    *("X-Request-ID", "traceparent", "tracestate", "baggage"),
)
_RESPONSE_HEADERS = (
    *("Inference-Header-Content-Length", "Retry-After", "Server-Timing", "X-Request-ID"),
    *("traceparent", "traceresponse"),
)

_ALLOW = b"access-control-allow-origin"
_EXPOSE = (b"access-control-expose-headers", ", ".join(_RESPONSE_HEADERS).encode())
_VARY = (b"vary", b"Origin")


class Cors:
    """Lets web pages of these origins, separated by commas, call the service; `*` stands for all origins.

    A page still needs an API key, like every other caller. Browsers do not add credentials by themselves. Starlette
    answers the preflights. All other answers get the same fields as from its middleware, which the fast path bypasses.
    """

    def __init__(self, origins: str) -> None:
        named = named_origins(origins)
        self._middleware = CORSMiddleware(
            Response(),  # is not called
            allow_origins=named,
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
        self._named = {each.encode(): (_EXPOSE, (_ALLOW, each.encode()), _VARY) for each in named - {"*"}}
        self._other = ((_ALLOW, b"*"), _EXPOSE, _VARY) if "*" in named else (_EXPOSE, _VARY)

    def preflight(self, scope: Scope) -> Response | None:
        """Return the response to a preflight, or None if the request is not one."""
        fields = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "origin" in fields and "access-control-request-method" in fields:
            return self._middleware.preflight_response(fields)
        return None

    def fields(self, headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        """Return the header fields of the answer to a request with these headers. They depend only on its origin."""
        origin = headers.get(b"origin")
        return (_VARY,) if origin is None else self._named.get(origin, self._other)


def named_origins(origins: str | None) -> frozenset[str]:
    """Return the origins of the setting."""
    return frozenset() if origins is None else frozenset(map(str.strip, origins.split(",")))
