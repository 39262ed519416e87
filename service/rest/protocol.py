"""HTTP/1.1 as uvicorn speaks it, and what it leaves open.

Here what is no HTTP is refused in JSON like everything else, the head of a request is limited in size and time, and an
offer to change to HTTP/2, which Java's client and `curl --http2` send with a body, is declined without losing the body.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import HTTP_STATUS, HeadTooLarge, Malformed, RequestError
from service.record import Record
from service.rest.body import RECORD, WHOLE_ANSWER, WHOLE_BODY, ClientDisconnected
from service.rest.native import error_body

#: Bytes of a request line and headers. Checked as they arrive, so what comes in one piece may be a little more.
MAX_HEAD_BYTES = 65_536

_OFFER = {b"connection", b"upgrade", b"http2-settings"}


class Protocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request as long to begin as any later one."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = False
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a request that waits for a run: nobody is there to read its answer."""
        super().connection_lost(exc)
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
            self._refuse(Malformed("what arrived is not HTTP/1.1"))
        else:
            if self._in_head:
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

    def on_message_complete(self) -> None:
        """The last byte of a request. A body that came as one with its head is given along with the request."""
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self.scope[WHOLE_BODY] = self.cycle.body  # type: ignore[literal-required]
            self.scope[WHOLE_ANSWER] = partial(_answer, self.cycle)  # type: ignore[literal-required]

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
        status: HTTPStatus = HTTP_STATUS[error.code]
        request_id = secrets.token_hex(8)
        body = error_body(error, request_id)
        self.logger.warning("%s", error.message, extra={"request_id": request_id, "status": status.value})
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        self.transport.close()


def _answer(cycle: RequestResponseCycle, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
    """Write a whole answer at once; False where it has to take the way of ASGI, for it cannot wait.

    The headers must be our own, since nothing looks for line ends in them.
    """
    if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
        return False
    content = [STATUS_LINE[status]]
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
