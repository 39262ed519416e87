"""A request of a fast-path route and the answer to it, whether they travel over ASGI or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from sentiment_conv1d.service.network.buffers import Charge
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Result = TypeVar("Result")


class Answer(NamedTuple):
    """The body of a response and the headers that belong to it."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpRequest(ABC):
    """The head of a request, the way to its body, and the way to answer it."""

    __slots__ = ("certified", "charge", "client", "context", "headers", "method", "target")

    method: str  # in upper case
    target: bytes  # the path as it was sent
    headers: Mapping[bytes, bytes]  # by lower-case name
    client: str | None  # the client's address, None on a Unix domain socket
    certified: bool  # whether the client has shown a certificate
    charge: Charge  # for the memory that the request takes
    context: RequestContext | None  # through which the server stops work for a client that disconnects

    @abstractmethod
    async def body(self, limit: int, seconds: float) -> bytes:
        """The whole body. Raises as `read_body` does."""

    @abstractmethod
    async def while_connected(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of the work. Raises `ClientDisconnected` if the client disconnects first."""

    @abstractmethod
    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        """Send the response. Raises `ClientDisconnected` if the client is known to have disconnected.

        The headers must not contain bytes of the request, since nothing checks them for line ends.
        """
