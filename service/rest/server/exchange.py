"""A request of a busy route and its answer, whichever way they travel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from sentiment_conv1d.service.network.buffers import Charge
from sentiment_conv1d.service.rest.endpoint import Answer
from sentiment_conv1d.service.telemetry.request_context import RequestContext

Result = TypeVar("Result")


class Exchange(ABC):
    """What the application has to know of a request, how it gets the body, and how it answers."""

    __slots__ = ("certified", "charge", "client", "context", "headers", "method", "target")

    method: str  # in upper case
    target: bytes  # the path as it was sent
    headers: Mapping[bytes, bytes]  # by lower-case name
    client: str | None  # the caller's address, where it has one
    certified: bool  # whether the caller has shown a certificate
    charge: Charge  # for the memory that it takes
    context: RequestContext | None  # of the request, for the server to say that the caller has gone

    @abstractmethod
    async def body(self, limit: int, seconds: float) -> bytes:
        """All of it. Raises as `read_body` does."""

    @abstractmethod
    async def while_connected(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of the work. Raises `ClientDisconnected` where the caller goes away first."""

    @abstractmethod
    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        """Answer, if the caller is still there; raises `ClientDisconnected` where it is known that it is not.

        The headers must not contain a caller's bytes, since nothing looks for line ends in them.
        """
