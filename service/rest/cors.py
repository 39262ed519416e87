"""CORS: the web pages of other origins that can call the service."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

_REQUEST_HEADERS = (
    *("Authorization", "Content-Encoding", "Content-Type", "Inference-Header-Content-Length", "X-API-Key"),
    *("X-Request-ID", "traceparent", "tracestate", "baggage"),
)
_RESPONSE_HEADERS = (
    *("Inference-Header-Content-Length", "Retry-After", "Server-Timing", "X-Request-ID"),
    *("traceparent", "traceresponse"),
)


def allow_origins(application: ASGIApp, origins: str) -> CORSMiddleware:
    """Let web pages of these origins, separated by commas, call the application; `*` stands for all origins.

    A page still needs an API key, like every other caller. Browsers do not add credentials by themselves.
    """
    return CORSMiddleware(
        application,
        allow_origins=named_origins(origins),
        allow_methods=("GET", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
    )


def named_origins(origins: str | None) -> frozenset[str]:
    """Return the origins of the setting."""
    return frozenset() if origins is None else frozenset(map(str.strip, origins.split(",")))
