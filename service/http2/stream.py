"""One request and its answer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from service.http2 import frames
from service.http2.frames import Fault, Kind

if TYPE_CHECKING:
    from service.http2.connection import Connection


class CallerGone(Exception):
    """There is nobody to send to."""


class Stream(ABC):
    """What a connection and an application have to say to each other about one request."""

    __slots__ = (
        "_blocked",
        "_credit",
        "answered",
        "answering",
        "connection",
        "cut",
        "ended",
        "id",
        "missing",
        "receive_window",
        "send_window",
    )

    def __init__(self, connection: Connection, identity: int) -> None:
        self.connection = connection
        self.id = identity
        self.send_window = self.receive_window = 0  # the connection sets them
        self.ended = False  # the request is complete
        self.cut = False  # the caller takes no answer
        self.answering = self.answered = False  # some of its data was sent, all of it
        self.missing: int | None = None  # bytes of the request, where it has said how many there are
        self._blocked: asyncio.Future[None] | None = None  # as long as nothing may be sent
        self._credit = 0

    # What the connection calls.

    def begin(self, ended: bool) -> None:
        """The stream is open; `ended` says that there is no data."""
        self.ended = ended
        self.began()

    def take(self, data: bytes, *, ended: bool) -> None:
        """Data of the request."""
        self.ended = ended
        self.received(data)

    def was_cut(self) -> None:
        """The caller ended the stream, or is gone."""
        if not self.cut:
            self.cut = True
            self.wake()
            self.lost()

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until it is time to look again whether something may be sent."""
        self._blocked = loop.create_future()
        try:
            await self._blocked
        finally:
            self._blocked = None

    def wake(self) -> bool:
        """End the wait; returns whether there was one."""
        if self._blocked is None or self._blocked.done():
            return False
        self._blocked.set_result(None)
        return True

    @abstractmethod
    def began(self) -> None:
        """The head of the request is here; `ended` says whether that was all."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """So is more of it; `ended` says whether that was all.

        Who has made use of the data says so with `allow`, or the caller may soon send no more.
        """

    @abstractmethod
    def lost(self) -> None:
        """Nothing that is sent will arrive any more."""

    @abstractmethod
    def watch(self, now: float) -> None:
        """A second or so has passed; `now` is the event loop's time."""

    # What the application calls.

    def allow(self, size: int) -> None:
        """Let the caller send so many bytes more."""
        self._credit += size
        if self._credit > frames.INITIAL_WINDOW and not self.ended and not self.cut:
            self.connection.write(frames.window_update(self.id, self._credit))
            self.receive_window += self._credit
            self._credit = 0

    async def send(self, data: bytes, *, head: bytes = b"", tail: bytes | None = None) -> None:
        """Send data, after a block of fields and before the last one, where these are given.

        Waits until the caller takes it. Raises `CallerGone`.
        """
        connection, size = self.connection, len(data)
        if self.cut:
            raise CallerGone
        connection.ping_strikes = 0
        before = connection.head(self.id, head) if head else b""
        if (
            size <= self.send_window
            and size <= connection.send_window
            and size <= connection.max_payload
            and not connection.paused
        ):
            self.answering = True
            self.send_window -= size
            connection.send_window -= size
            whole = before + frames.frame(Kind.DATA, 0, self.id, data)
            if tail is None:
                connection.write(whole)
            else:
                self._end(whole, tail)
            return
        connection.write(before)
        await self._send_in_pieces(data)
        if tail is not None:
            self._end(b"", tail)

    def finish(self, tail: bytes) -> None:
        """Send the last block of fields. Raises `CallerGone`."""
        if self.cut:
            raise CallerGone
        self._end(b"", tail)

    def reset(self, fault: Fault) -> None:
        """End the stream without an answer, or without the rest of it."""
        if not self.cut and not (self.answered and self.ended):
            self.cut = True
            self.wake()
            self.connection.write(frames.reset(self.id, fault))
            self.connection.forget(self)

    async def _send_in_pieces(self, data: bytes) -> None:
        connection, start = self.connection, 0
        try:
            while start < len(data):
                piece = data[start : start + await connection.capacity(self)]
                self.answering = True
                self.send_window -= len(piece)
                connection.send_window -= len(piece)
                connection.write(frames.frame(Kind.DATA, 0, self.id, piece))
                start += len(piece)
        finally:
            connection.pass_on()

    def _end(self, before: bytes, tail: bytes) -> None:
        connection = self.connection
        connection.ping_strikes = 0
        end = before + connection.head(self.id, tail, ended=True)
        self.answered = True
        if self.ended:
            connection.write(end)
        else:  # the caller need not send the rest (RFC 9113, section 8.1)
            self.cut = True
            connection.write(end + frames.reset(self.id, Fault.NO_ERROR))
        connection.forget(self)
