"""When a certificate expires. Python's ssl tells it only of certificates that it has verified."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime

_PEM = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.+?)-----END", re.DOTALL)

# ASN.1: the tags of the optional version of a certificate, and of a time with a year of two digits.
_VERSION, _UTC_TIME = 0xA0, 0x17


def expiry(pem: str) -> float:
    """Return when the first certificate of a valid PEM file expires, in seconds since 1970.

    RFC 5280, section 4.1: the fields of a certificate are a version, a number, an algorithm, an issuer and a validity,
    which is two times.
    """
    [encoded, *_] = _PEM.findall(pem)
    [(_, certificate), *_] = _elements(b64decode(encoded))
    [(_, fields), *_] = _elements(certificate)
    [_, _, _, validity, *_] = [content for tag, content in _elements(fields) if tag != _VERSION]
    [_, (tag, end)] = _elements(validity)
    time = end.decode("ascii")
    if tag == _UTC_TIME:
        time = ("20" if time < "5" else "19") + time
    return datetime.strptime(time, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and the content of each element of a sequence in DER."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:  # the length of the length
            start, at = at, at + (length & 0x7F)
            length = int.from_bytes(data[start:at])
        yield tag, data[at : at + length]
        at += length
