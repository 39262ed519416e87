"""The fast path: requests that bypass ASGI."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.network.buffers import Charge

#: Handles a complete request, on one of two paths. It returns None, and calls `FastRequest.reply` at once or in a later
#: turn of the event loop, which needs no task. Or it returns a coroutine that sends the answer. This runs as a task and
#: is cancelled if the client disconnects. Neither raises an error that the client caused.
Handler = Callable[["FastRequest"], Coroutine[Any, Any, None] | None]

#: Returns the handler of a request with this target and these headers, or None if it has to go through ASGI. If the
#: request will be refused, it can set the refusal of its charge: then the body is discarded as it arrives.
FindHandler = Callable[[bytes, Mapping[bytes, bytes], Charge], Handler | None]


class FastRequest(HttpRequest):
    """A complete request, as its handler sees it."""

    __slots__ = ("disconnected",)

    #: Called if the client disconnects before `reply`. The handler can set it.
    disconnected: Callable[[], object] | None

    @property
    @abstractmethod
    def size(self) -> int:
        """Return the number of bytes of the body."""

    @abstractmethod
    def take_body(self) -> bytes:
        """Return the body and drop the reference to it."""

    @abstractmethod
    def reply(self, status: int, answer: Answer, request_id: str) -> None:
        """Send the response. A large one is sent piece by piece in the turns of the connection."""
