"""One request and its response."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import NamedTuple

from sentiment_conv1d.service.grpc.transport.http2 import Fields


class Head(NamedTuple):
    """The status of HTTP and the first fields of a response."""

    status: int
    fields: Fields


class RequestHead(NamedTuple):
    """The method, path and header fields of a request, whose names are in lower case."""

    method: bytes
    path: bytes
    fields: Fields


class Stream(ABC):
    """A request and its response, as the connection sees them."""

    __slots__ = ("blocked", "cut", "ended", "id")

    def __init__(self, identity: int) -> None:
        self.id = identity
        self.ended = False  # the request is complete
        self.cut = False  # nothing more can be sent
        self.blocked: asyncio.Future[None] | None = None  # until more may be sent

    def wake(self) -> None:
        """End the wait for leave to send."""
        if self.blocked is not None and not self.blocked.done():
            self.blocked.set_result(None)

    @property
    @abstractmethod
    def parked(self) -> bool:
        """Whether it has nothing to do until the client sends something or the server changes."""

    @abstractmethod
    def began(self) -> None:
        """The fields of the request are complete; `ended` says whether that was all."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Content, or the end of the request as `ended` says."""

    @abstractmethod
    def lost(self) -> None:
        """Nothing that is sent arrives any more."""

    @abstractmethod
    def watch(self, now: float) -> None:
        """Enforce time limits. Called every second or so with the event loop's time."""
