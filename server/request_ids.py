"""Request ids: the client's own id if it is safe to log and to return, otherwise a new one."""

from __future__ import annotations

import re
from random import getrandbits

#: The HTTP header and the gRPC metadata key.
HEADER = b"x-request-id"

_SANE = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")


def choose_id(given: bytes | None) -> str:
    """Return the given id if it is safe, otherwise a new one of 16 hexadecimal digits.

    `random` needs no system call, and every forked process seeds it again.
    """
    if given is not None and _SANE.fullmatch(given):
        return given.decode()
    return f"{getrandbits(64):016x}"
