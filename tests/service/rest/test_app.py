"""The application without a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Request, Response
from starlette.types import Message

from sentiment_conv1d.server.http.asgi import CHARGE, PIECE_BYTES
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.shares import KEY
from tests.service import test_callers_with_access as access

_SIZE = 100_000
_CALLER = KEY + "1"


def _ask(answer: Callable[[Request], Response], charge: Charge) -> list[Message]:
    """Request a route that answers so, with a query and a cookie."""
    application = access.application()
    application.add_route("/route", answer)
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/route",
        "raw_path": b"/route",
        "query_string": b"a=b",
        "headers": [(b"x-api-key", access.KEY.encode()), (b"cookie", b"c=d")],
        "state": {},
        CHARGE: charge,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    return sent


@pytest.mark.parametrize(("limit", "status"), [(_SIZE - 1, 429), (_SIZE, 200)])
def test_memory_for_large_answers(limit: int, status: int) -> None:
    """A large answer of FastAPI is charged and sent in pieces, or refused before anything is sent."""
    charge = Charge(Buffers(limit), _CALLER)
    start, *pieces = _ask(lambda request: Response(bytes(_SIZE)), charge)
    assert start["status"] == status
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    if status == 200:
        assert b"".join(piece["body"] for piece in pieces) == bytes(_SIZE)
        assert charge.held == _SIZE


def test_queries_and_cookies_are_not_parsed() -> None:
    """FastAPI gets no query and no cookies: no route reads them, and 60 kB would take milliseconds to parse."""
    _, body = _ask(lambda request: Response(f"{request.query_params}{request.cookies}"), Charge(Buffers(0), _CALLER))
    assert body["body"] == b"{}"
