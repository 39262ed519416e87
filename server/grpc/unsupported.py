"""Responses to clients that do not speak gRPC."""

from __future__ import annotations

from dataclasses import dataclass

from sentiment_conv1d.server.grpc.http2 import Head
from sentiment_conv1d.server.grpc.sender import Sender
from sentiment_conv1d.server.grpc.stream import Stream

_WRONG_PROTOCOL = b"this port serves gRPC over HTTP/2 only\n"

#: The first bytes of HTTP/1.1 requests, and the answer to them.
HTTP1_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC")
HTTP1_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_WRONG_PROTOCOL), _WRONG_PROTOCOL)

_HEAD = Head(415, [(b"content-type", b"text/plain")])
_CONTENT = b"this port serves gRPC only\n"


@dataclass(slots=True, eq=False, repr=False)
class Unsupported(Stream):
    """An HTTP/2 request that is not a gRPC call."""

    _sender: Sender

    def began(self) -> None:
        """Answer it. If the client's window is too small for the text, it gets the status alone."""
        content = _CONTENT if self._sender.room(self) >= len(_CONTENT) else b""
        self._sender.finish(self, _HEAD, (), content)
