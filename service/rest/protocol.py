"""HTTP/1.1 as uvicorn speaks it, and what it leaves open.

Here what is no HTTP is refused in JSON like everything else, the head of a request is limited in size and time, a
caller who does not read its answers is left, and an offer to change to HTTP/2, which Java's client and `curl --http2`
send with a body, is declined without losing the body.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import cast
from weakref import ref

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.errors import HTTP_STATUS, HeadTooLarge, Malformed, RequestError
from service.record import Record
from service.rest.body import CERTIFIED, RECORD, WHOLE_ANSWER, WHOLE_BODY, ClientDisconnected
from service.rest.native import error_body

logger = logging.getLogger(__name__)

#: Bytes of a request line and headers. Checked as they arrive, so what comes in one piece may be a little more.
MAX_HEAD_BYTES = 65_536

#: Requests on one connection that may wait for the answer to the one before them. Each takes more memory than it has
#: bytes.
MAX_PIPELINED = 128

#: Answers of more bytes are written in pieces of as many, so that no more of them than that is given out in advance.
PIECE_BYTES = HIGH_WATER_LIMIT

#: In every answer: what it is called is what it is, whatever a browser makes of its content.
SECURITY_HEADERS = ((b"x-content-type-options", b"nosniff"),)

_OFFER = {b"connection", b"upgrade", b"http2-settings"}

_SECURITY_LINES = b"".join(name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS)


class Protocol(HttpToolsProtocol):
    """One connection. `header_timeout` and `write_timeout` are seconds for the head of a request and for an answer."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        *,
        header_timeout: float,
        write_timeout: float,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._header_timeout = header_timeout
        self._write_timeout = write_timeout
        self._unread: RequestResponseCycle | None = None  # the request whose answer the caller does not read
        self._unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request as long to begin as any later one."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = False
        self._wait(self.timeout_keep_alive)
        if self.scheme == "https":
            self.app_state[CERTIFIED] = bool(transport.get_extra_info("peercert"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a request that waits for a run: nobody is there to read its answer."""
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment]  # another circle: it knows whom to tell of its end
        record = None if self.scope is None else cast(Record | None, self.scope.get(RECORD))
        if record is not None and record.waiting is not None and not record.waiting.done():
            record.waiting.set_exception(ClientDisconnected())

    def data_received(self, data: bytes) -> None:
        """Take what arrived, if it is HTTP."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError:
            if len(self.pipeline) > MAX_PIPELINED:
                self.transport.abort()
            else:
                self._refuse(Malformed("what arrived is not HTTP/1.1"))
        else:
            if self._in_head:
                if self._head_bytes == 0 and (self.cycle is None or self.cycle.response_complete):
                    self._wait(self._header_timeout)
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge(f"the headers have more than {MAX_HEAD_BYTES} bytes, which is the limit"))

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._head_bytes, self._in_head = 0, True

    def on_headers_complete(self) -> None:
        """Start the request, unless it has to be read again without its offer."""
        self._in_head = False
        self._unset_keepalive_if_required()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            if self.pipeline and len(self.pipeline) > MAX_PIPELINED:
                raise httptools.HttpParserError("too many requests in advance")

    def on_message_complete(self) -> None:
        """The last byte of a request. A body that came as one with its head is given along with the request."""
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self.scope[WHOLE_BODY] = self.cycle.body  # type: ignore[literal-required]
            # Not the cycle itself, which holds the scope: large bodies would wait until Python looks for such circles.
            self.scope[WHOLE_ANSWER] = partial(_answer, ref(self.cycle))  # type: ignore[literal-required]

    @property
    def idle_until(self) -> float | None:
        """When the connection will be closed if no request comes or the head does not end; None while one is answered.

        In seconds of the event loop's clock.
        """
        timer = self.timeout_keep_alive_task
        return None if timer is None or self.transport.is_closing() else timer.when()

    def watch(self, now: float) -> None:
        """Leave a caller who does not read its answer; to be called now and then with the event loop's time.

        Also where the connection was closed, since what is in its buffer would keep it open until it is read.
        """
        if self.headers is not None and len(self.headers) > MAX_HEAD_BYTES:
            self.transport.abort()  # they come behind the body, where nothing else counts them
        elif not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None or self._unread is not self.cycle:
            self._unread, self._unread_since = self.cycle, now
        elif now - self._unread_since > self._write_timeout:
            logger.info("a caller did not read its answer", extra={"client": self.client and self.client[0]})
            self.transport.abort()

    def _wait(self, seconds: float) -> None:
        """Close the connection unless the head of a request is complete by then."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _decline(self, rest: bytes) -> None:
        """Read the request again as if nothing had been offered: the parser takes its body for the new protocol."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Malformed("CONNECT is for proxies"))
            return
        head = [method + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        head += [name + b": " + value for name, value in self.headers if name not in _OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join([*head, b"", rest]))

    def _refuse(self, error: RequestError) -> None:
        """Answer what never became a request, and hang up."""
        request_id = secrets.token_hex(8)
        status = HTTP_STATUS[error.code].value
        logger.warning("%s", error.message, extra={"request_id": request_id, "status": status})
        self.transport.write(refusal(error, request_id, self.server_state.default_headers))
        self.transport.close()


def refusal(error: RequestError, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole answer to what never became a request. The connection has to be closed after it."""
    status: HTTPStatus = HTTP_STATUS[error.code]
    body = error_body(error, request_id)
    headers = [
        *default_headers,
        *SECURITY_HEADERS,
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[status] + lines + b"\r\n" + body


def _answer(
    reference: ref[RequestResponseCycle], status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bool:
    """Write a whole answer at once; False where it has to take the way of ASGI, for it cannot wait.

    A large one does as well: under TLS, what has been handed over does not count as waiting.

    The headers must be our own, since nothing looks for line ends in them.
    """
    cycle = reference()
    assert cycle is not None, "it runs the application"
    if cycle.flow.write_paused or cycle.disconnected or cycle.response_started or len(body) > PIECE_BYTES:
        return False
    content = [STATUS_LINE[status], _SECURITY_LINES]
    for name, value in (*cycle.default_headers, *headers):
        content += (name, b": ", value, b"\r\n")
    content.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
    content.append(body)
    cycle.transport.write(b"".join(content))
    cycle.waiting_for_100_continue = False
    cycle.response_started = cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
