"""Header fields for the answer to a request."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Message, Send

Fields = Iterable[tuple[bytes, bytes]]


class Answering:
    """The answer to one request on its way to the caller: pass on `send`.

    `status` is that of the answer, None as long as there is none.
    """

    def __init__(self, send: Send, fields: Fields) -> None:
        self._send = send
        self._fields = tuple(fields)
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        """As the server does, with the fields."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._fields]
        await self._send(message)
