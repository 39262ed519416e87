"""Runs the ASGI application for one request."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Protocol

from sentiment_conv1d.server.errors import ClientDisconnected
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.asgi import TASK, Application, Message, Scope
from sentiment_conv1d.server.http.cycle import ANSWERING, DONE, SENDING, RequestCycle

logger = logging.getLogger(__name__)

#: Bytes of a body above which the rest is not received until the application has read them.
_BACKLOG_BYTES = 65_536

#: What header names and values must not contain, so that no response is split.
_NOT_IN_NAME = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\[\]={}"]')
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Statuses whose responses have no body.
_BODILESS = (204, 304)


class Connection(Protocol):
    """The interface of a connection that the application's run uses."""

    transport: asyncio.Transport

    def common_lines(self) -> bytes:
        """Return the header lines of all responses."""

    def is_last(self) -> bool:
        """Return whether the connection closes after the next response, even if the client wants to keep it."""

    def control_reading(self) -> None:
        """Called when a large part of the body has arrived, and when the application has received it."""

    def answered(self, *, close: bool) -> None:
        """Called when the response is written. `close` is whether the connection closes after it."""

    async def drain(self) -> None:
        """Wait until the client has read most of what was written, or the connection is lost."""


class AsgiRun:
    """One call of an application: the interface of ASGI between it and a request of HTTP/1.1."""

    def __init__(
        self,
        application: Application,
        scope: Scope,
        cycle: RequestCycle,
        connection: Connection,
        *,
        expects_continue: bool,
    ) -> None:
        self._application = application
        self._scope = scope
        self._cycle = cycle
        self._connection = connection
        self._expects_continue = expects_continue  # the client waits for a response before it sends the body
        self._body = bytearray()  # bytes that the application has not received
        self._more_body = True
        self._changed = asyncio.Event()  # there is something to receive
        self._disconnected = False
        self._keep_alive = cycle.keep_alive
        self._chunked = False
        self._remaining = 0  # bytes of the response without chunks

    @property
    def backlogged(self) -> bool:
        """Whether the application should receive what has arrived before the rest arrives."""
        return self._more_body and len(self._body) > _BACKLOG_BYTES

    def body_received(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._body += data
        self._changed.set()
        if self.backlogged:
            self._connection.control_reading()

    def body_complete(self) -> None:
        """Take the end of the body."""
        self._more_body = False
        self._changed.set()

    def body_refused(self) -> None:
        """Drop the body. The application finds the reason in the charge."""
        self._body = bytearray()
        self._changed.set()

    def disconnect(self) -> None:
        """Tell the application that nobody waits for its response."""
        self._disconnected = True
        self._expects_continue = False
        self._changed.set()

    def cancel(self) -> None:
        """Cancel the task of the application, if it has named one."""
        if (task := self._scope.get(TASK)) is not None:
            task.cancel()

    async def run(self) -> None:
        """Call the application. If it fails, the client gets an error, or the connection is closed."""
        try:
            await self._application(self._scope, self._receive, self._send)
        except (Exception, asyncio.CancelledError) as error:
            if not self._gone or not isinstance(error, ClientDisconnected | asyncio.CancelledError):
                logger.exception("%s failed", self._cycle.target.decode())
        finally:
            self._cycle.release()
        if not self._gone and self._cycle.phase is not DONE:
            await self._end_unfinished()

    async def _receive(self) -> Message:
        if self._expects_continue and not self._connection.transport.is_closing():
            self._connection.transport.write(_CONTINUE)
            self._expects_continue = False
        if not self._ended:
            await self._changed.wait()
            self._changed.clear()
        if self._ended:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        self._connection.control_reading()
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def _send(self, message: Message) -> None:
        if self._gone:
            if message.get("more_body"):
                raise ClientDisconnected
            return
        await self._connection.drain()
        if self._disconnected:
            return
        kind = message["type"]
        if self._cycle.phase is ANSWERING and kind == "http.response.start":
            self._begin_response(message["status"], message.get("headers", ()))
        elif self._cycle.phase is SENDING and kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"the application must not send {kind!r} now")

    @property
    def _gone(self) -> bool:
        """Whether nobody waits for the response. A closing connection is lost in the next turn of the event loop."""
        return self._disconnected or self._connection.transport.is_closing()

    @property
    def _ended(self) -> bool:
        return self._disconnected or self._cycle.phase is DONE

    def _begin_response(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Write the head of the response."""
        lines = [headers.STATUS_LINES[status], self._connection.common_lines()]
        closes = False
        chunked: bool | None = None  # neither a length nor chunks
        for name, value in fields:
            name, folded = name.lower(), value.lower()
            if _NOT_IN_NAME.search(name) or _NOT_IN_VALUE.search(value):
                raise RuntimeError("a header of the response has characters that are not allowed")
            if name == b"content-length" and chunked is None:
                self._remaining, chunked = int(value), False
            elif name == b"transfer-encoding" and folded == b"chunked":
                self._remaining, chunked = 0, True
            elif name == b"connection":
                closes = closes or b"close" in folded.replace(b" ", b"").split(b",")
            lines += name, b": ", value, b"\r\n"
        # A client that waits for a 100 can leave out the body, or send it.
        if closes or self._expects_continue or self._connection.is_last():
            self._keep_alive = False
        if not (closes or self._keep_alive):
            lines.append(b"connection: close\r\n")
        if chunked is None and self._cycle.method != "HEAD" and status not in _BODILESS:
            chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._expects_continue, self._chunked = False, bool(chunked)
        self._cycle.phase = SENDING
        self._connection.transport.write(b"".join(lines))

    def _send_body(self, body: bytes, *, more: bool) -> None:
        """Write a piece of the body, and end the response if it is the last one."""
        if self._cycle.method == "HEAD":
            self._remaining = 0
        elif self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._connection.transport.write(chunk if more else chunk + b"0\r\n\r\n")
        else:
            self._remaining -= len(body)
            if self._remaining < 0:
                raise RuntimeError("the response is longer than its Content-Length")
            self._connection.transport.write(body)
        if not more:
            if self._remaining:
                raise RuntimeError("the response is shorter than its Content-Length")
            self._changed.set()
            self._cycle.phase = DONE
            self._connection.answered(close=not self._keep_alive)

    async def _end_unfinished(self) -> None:
        """Send an error, or close the connection if a part of a response was sent."""
        if self._cycle.phase is SENDING:
            self._connection.transport.close()
            return
        body = b"Internal Server Error"
        length = (b"content-length", b"%d" % len(body))
        fields = [(b"content-type", b"text/plain; charset=utf-8"), length, headers.CLOSE]
        await self._send({"type": "http.response.start", "status": 500, "headers": fields})
        await self._send({"type": "http.response.body", "body": body})
