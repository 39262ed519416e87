"""CORS: answers and preflights are those of Starlette's middleware around the application."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Message

from sentiment_conv1d.service.rest.cors import Cors

A, B = "https://a.example", "http://localhost:3000"
SETTINGS = st.sampled_from([A, f"{A}, {B}", f"{B},{A}", "*"])
ORIGINS = st.sampled_from([A, B, A.upper(), f"{A}:443", f"{A}.b", "null", "", "*", "é"]) | st.none()


def heads(application: Any, scope: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the header fields with which an ASGI application answers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError

    asyncio.run(application(scope, receive, send))
    return list(sent[0]["headers"])


@given(SETTINGS, ORIGINS, st.sampled_from(["GET", "POST", "OPTIONS"]), st.sampled_from(["POST", "PUT"]) | st.none())
def test_same_as_starlette(setting: str, origin: str | None, method: str, wanted: str | None) -> None:
    """The fields of every answer are those of the middleware, and it answers the same requests as preflights."""
    cors = Cors(setting)
    given = {"origin": origin, "access-control-request-method": wanted}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value is not None]
    scope = {"type": "http", "method": method, "headers": headers}
    middleware = cors._middleware
    own = Response("x", headers={"x-request-id": "id"})
    middleware.app = own
    expected = heads(middleware, scope)
    preflight = cors.preflight(scope)
    if preflight is None:
        assert [*own.raw_headers, *cors.fields(dict(headers))] == expected
    else:
        assert preflight.raw_headers == expected
    assert (preflight is None) == ((b"x-request-id", b"id") in expected)
