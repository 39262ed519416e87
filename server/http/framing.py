"""Checks the rules of RFC 9112 for request heads that the parser does not check."""

from __future__ import annotations

import string
from collections.abc import Sequence

import httptools

from sentiment_conv1d.server.errors import HeadTooLarge, Malformed, UnsupportedCoding, UnsupportedVersion

#: The most bytes of a target, as in nginx. Decoding and finding the route of one of 60 kB would take 7 ms.
_MAX_TARGET_BYTES = 8192

#: The characters of uri-host [":" port] (RFC 9110, section 7.2), which can be empty.
_HOST = (string.ascii_letters + string.digits + "-._~!$&'()*+,;=%:[]").encode()

_FRAGMENT = ord("#")

Headers = Sequence[tuple[bytes, bytes]]

_UPGRADE = {b"connection", b"upgrade", b"http2-settings"}


def check(target: bytes, version: str, headers: Headers) -> None:
    """Raise `RequestError` if a request must not have this target, version or headers (names in lower case)."""
    if len(target) > _MAX_TARGET_BYTES:
        raise HeadTooLarge(f"the target has more than {_MAX_TARGET_BYTES} bytes, which is the limit")
    if _FRAGMENT in target:
        raise Malformed("the target has a fragment, which clients must not send")
    if version != "1.1":
        if version == "0.9":  # the parser's version of a request line without one
            raise Malformed("the request line has no version")
        if not version.startswith("1."):  # other minor versions are treated as HTTP/1.1 (RFC 9110, section 2.5)
            raise UnsupportedVersion(f"HTTP/{version} is not HTTP/1.1")
    host = None
    codings = []
    for name, value in headers:
        if name == b"host":
            if host is not None or value.strip(_HOST):
                raise Malformed("there must be one Host header, and it must name a host")
            host = value
        elif name == b"transfer-encoding":
            codings.append(value)
    if host is None and version != "1.0":
        raise Malformed("there is no Host header")
    if codings:
        _check_codings(version, codings)


def split_target(target: bytes) -> tuple[str, bytes]:
    """Return the path, not decoded, and the query of a target. Raises `Malformed`."""
    try:
        url = httptools.parse_url(target)
        return url.path.decode("ascii"), url.query or b""
    except (httptools.HttpParserInvalidURLError, AttributeError, UnicodeDecodeError):  # a target can have no path
        raise Malformed("the request is not valid HTTP/1.1") from None


def without_upgrade(method: bytes, url: bytes, version: str, headers: Headers, *, keep_alive: bool) -> bytes:
    """Return the head of a request without its offer to upgrade the protocol."""
    lines = [method + b" " + url + b" HTTP/" + version.encode()]
    lines += [name + b": " + value for name, value in headers if name not in _UPGRADE]
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""])


def _check_codings(version: str, values: Sequence[bytes]) -> None:
    """Check Transfer-Encoding (RFC 9112, section 6.1). The parser refuses it if there is a Content-Length too."""
    codings = [coding.strip().lower() for value in values for coding in value.split(b",")]
    if version == "1.0":
        raise Malformed("HTTP/1.0 has no Transfer-Encoding")
    if codings[-1] != b"chunked":
        raise Malformed("the last transfer coding, and only the last, has to be chunked")
    if len(codings) > 1:
        raise UnsupportedCoding("chunked is the only transfer coding")
