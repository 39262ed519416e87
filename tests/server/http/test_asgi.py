"""Answers through ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

from sentiment_conv1d.server.http.asgi import PIECE_BYTES, send_body


def test_pieces_take_turns() -> None:
    """Between two pieces of a body the event loop does other work, even if the client never makes `send` wait."""
    seen: list[str] = []

    async def send(message: Any) -> None:
        seen.append("last piece" if not message["more_body"] else "piece")

    async def work() -> None:
        while seen[-1] != "last piece":
            seen.append("other work")
            await asyncio.sleep(0)

    async def run() -> None:
        sending = asyncio.create_task(send_body(send, bytes(2 * PIECE_BYTES + 1)))
        await asyncio.sleep(0)
        await work()
        await sending

    asyncio.run(run())
    assert seen == ["piece", "other work", "piece", "other work", "last piece"]
