"""Responses to clients that do not speak gRPC."""

from __future__ import annotations

from sentiment_conv1d.server.grpc.http2 import Head

_WRONG_PROTOCOL = b"this port serves gRPC over HTTP/2 only\n"

#: The first bytes of HTTP/1.1 requests, and the answer to them.
HTTP1_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC")
HTTP1_REFUSAL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
) % (len(_WRONG_PROTOCOL), _WRONG_PROTOCOL)

#: The answer to HTTP/2 requests that are not gRPC calls.
HEAD = Head(415, [(b"content-type", b"text/plain")])
CONTENT = b"this port serves gRPC only\n"
