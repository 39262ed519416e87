"""Request ids: the client's own id if it is safe to log and to return, otherwise a new one."""

from __future__ import annotations

import itertools
import re
import secrets

#: The HTTP header and the gRPC metadata key.
HEADER = "x-request-id"

_SANE = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")


class RequestIds:
    """Generates ids: one half is random and the same for all ids, the other half is a counter.

    Fully random ids would need a system call per request. Create it after the fork.
    """

    def __init__(self) -> None:
        self._own = secrets.token_hex(4)
        self._numbers = itertools.count(secrets.randbits(32))

    def choose(self, given: str | None) -> str:
        """Return the given id if it is safe, otherwise a new one of 16 hexadecimal digits."""
        if given is not None and _SANE.fullmatch(given):
            return given
        return f"{self._own}{next(self._numbers) & 0xFFFFFFFF:08x}"
