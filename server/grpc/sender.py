"""Sends responses within flow-control windows, and disconnects clients that read too slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.grpc.http2 import CANCELLED, MAX_CONTENT, Fields, Head, Http2
from sentiment_conv1d.server.grpc.stream import Stream

#: A client has `write_seconds` to read each part of an answer. A part has this many bytes.
_TIMED_BYTES = 1024 * 1024


@dataclass(eq=False)
class Sender:
    """Sends the responses of one connection."""

    _loop: asyncio.AbstractEventLoop
    _http2: Http2
    _write_seconds: float
    _sent: Callable[[], None]  # called when there are frames to write
    _ended: Callable[[Stream], None]  # called when a response is complete or cancelled
    #: Streams that wait to send, in the order in which they began to wait.
    _blocked: dict[Stream, None] = field(default_factory=dict)
    paused: bool = False  # whether the client does not read

    async def send(
        self, stream: Stream, data: bytes, *, head: Head | None = None, trailers: Fields | None = None
    ) -> None:
        """Send content, after the head and before the trailers if they are given.

        Without trailers, more content can follow. Waits until the flow-control windows have room. Raises
        `ClientDisconnected`.
        """
        _check(stream)
        if len(data) > self.room(stream):
            self._http2.send(stream.id, head=head)
            self._sent()
            head = None
            try:
                data = await self._send_most(stream, data)
            except BaseException:
                self.wake_next()
                raise
        if trailers is None:
            self._http2.send(stream.id, head=head, data=data)
            self._sent()
        else:
            self._end(stream, head, data, trailers)
        self.wake_next()

    def room(self, stream: Stream) -> int:
        """Return the number of bytes that a stream can send now."""
        return 0 if self.paused else min(self._http2.window(stream.id), MAX_CONTENT)

    def finish(self, stream: Stream, head: Head | None, trailers: Fields, data: bytes = b"") -> None:
        """End a response, after the head if it is given, and content that has room. Raises `ClientDisconnected`.

        Trailers without content wait until the windows have room. If the request is not complete, its stream is reset
        instead, because it would stay open for as long as the client likes.
        """
        _check(stream)
        if head is None and not data and not stream.ended and self._http2.window(stream.id) == 0:
            self._cancel(stream)
            return
        self._end(stream, head, data, trailers)

    def wake_next(self) -> None:
        """Resume the first waiting stream that can send.

        It resumes the next one when it has sent, because a client can open a window by a single byte.
        """
        if not self.paused:
            for stream in self._blocked:
                if self._http2.window(stream.id) > 0:
                    stream.wake()
                    return

    def release(self) -> None:
        """Drop the callbacks, which refer to the connection. It is lost, and its streams will be cut."""
        self._sent, self._ended = lambda: None, lambda stream: None

    async def _send_most(self, stream: Stream, data: bytes) -> bytes:
        """Send content until the windows have room for the rest. Return the rest, which is not empty."""
        until = self._loop.time() + self._write_seconds * (1 + len(data) // _TIMED_BYTES)
        start = 0
        while (room := self.room(stream)) < len(data) - start:
            if room <= 0:
                await self._wait(stream, until)
                continue
            self._http2.send(stream.id, data=data[start : start + room])
            self._sent()
            start += room
        return data[start:]

    async def _wait(self, stream: Stream, until: float) -> None:
        """Wait until the stream can send. Raises `ClientDisconnected` if that takes too long."""
        self.wake_next()
        self._blocked[stream] = None
        stream.blocked = self._loop.create_future()
        try:
            async with asyncio.timeout_at(until):
                await stream.blocked
        except TimeoutError:
            if not stream.cut:
                self._cancel(stream)
        finally:
            del self._blocked[stream]
            stream.blocked = None
        _check(stream)

    def _cancel(self, stream: Stream) -> None:
        """Reset a stream whose response cannot be completed."""
        stream.cut = True
        self._http2.reset(stream.id, CANCELLED)
        self._sent()
        self._ended(stream)

    def _end(self, stream: Stream, head: Head | None, data: bytes, trailers: Fields) -> None:
        """Send the end of a response, and forget its stream. Reset it if its request is not complete."""
        self._http2.send(stream.id, head=head, data=data, trailers=trailers, reset=not stream.ended)
        stream.cut = not stream.ended
        self._sent()
        self._ended(stream)


def _check(stream: Stream) -> None:
    if stream.cut:
        raise ClientDisconnected
