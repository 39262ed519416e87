"""Header fields for the answer to a request, whichever way it takes to the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.types import Message, Receive, Scope, Send

from service.rest.body import WHOLE_ANSWER

Fields = Iterable[tuple[bytes, bytes]]


class Answering:
    """One request on its way through the application: pass on `receive` and `send`.

    `status` is that of the answer, None as long as there is none.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, fields: Fields) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._fields = tuple(fields)
        self._at_once: Callable[..., bool] | None = None
        self.status: int | None = None
        self._watch()

    async def receive(self) -> Message:
        """As the server does."""
        message = await self._receive()
        self._watch()
        return message

    async def send(self, message: Message) -> None:
        """As the server does, with the fields."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._fields]
        await self._send(message)

    def _watch(self) -> None:
        """The server leaves its way of answering at once in the scope as soon as the body is there."""
        if self._at_once is None and (at_once := self._scope.get(WHOLE_ANSWER)) is not None:
            self._at_once = at_once
            self._scope[WHOLE_ANSWER] = self._answer_at_once

    def _answer_at_once(self, status: int, headers: Fields, body: bytes) -> bool:
        assert self._at_once is not None
        answered = self._at_once(status, [*headers, *self._fields], body)
        if answered:
            self.status = status
        return answered
