"""Parses `grpc-timeout`, the time that a client waits for a call."""

from __future__ import annotations

import re

from sentiment_conv1d.server.errors import Malformed

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def seconds_of(timeout: bytes) -> float:
    """Return a timeout in seconds. Raises `Malformed`."""
    match = _TIMEOUT.fullmatch(timeout)
    if match is None:
        raise Malformed(f"grpc-timeout {timeout.decode('latin-1')!r} is not valid")
    return int(match[1]) * _SECONDS[match[2]]
