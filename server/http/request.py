"""The interface of a request of a fast-path route, with or without ASGI."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote

from sentiment_conv1d.server.network.buffers import Charge


class Answer(NamedTuple):
    """The body of a response and its headers."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True, eq=False, repr=False)
class HttpRequest(ABC):
    """The head of a request, with methods that read its body and send the answer."""

    method: str  # in upper case
    target: bytes  # not decoded
    headers: Mapping[bytes, bytes]  # by lower-case name
    client: str | None  # the client's address, None on a Unix domain socket
    scheme: str  # `http` or `https`
    version: str  # of HTTP
    certified: bool  # whether the client has presented a certificate
    charge: Charge  # the memory that the request holds

    @property
    def path(self) -> str:
        """The decoded path of the target."""
        return unquote(self.target.decode("latin-1"))

    @abstractmethod
    async def body(self, limit: int, seconds: float) -> bytes:
        """Return the whole body. Raises the errors of `read_body`."""

    @abstractmethod
    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        """Send the response. Raises `ClientDisconnected` if the client is known to have disconnected.

        The headers must not contain bytes of the request, because they are not checked for newlines.
        """
