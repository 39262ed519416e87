"""The application without a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Response
from starlette.types import Message

from sentiment_conv1d.server.http.asgi import CHARGE, PIECE_BYTES
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.service.rest.app import Application
from tests.service.test_callers_with_access import KEY, state

_SIZE = 100_000


@pytest.mark.parametrize(("limit", "status"), [(_SIZE - 1, 429), (_SIZE, 200)])
def test_memory_for_large_answers(limit: int, status: int) -> None:
    """A large answer of FastAPI is charged and sent in pieces, or refused before anything is sent."""
    application = Application(state())
    application.add_route("/large", lambda request: Response(bytes(_SIZE)))
    charge = Charge(Buffers(limit))
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "method": "GET",
        "path": "/large",
        "raw_path": b"/large",
        "query_string": b"",
        "headers": [(b"x-api-key", KEY.encode())],
        "state": {},
        CHARGE: charge,
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    start, *pieces = sent
    assert start["status"] == status
    assert max(len(piece["body"]) for piece in pieces) <= PIECE_BYTES
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    if status == 200:
        assert b"".join(piece["body"] for piece in pieces) == bytes(_SIZE)
        assert charge._held == _SIZE
