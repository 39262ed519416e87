"""The id of a request: the caller's own where it is safe to log and send back, else a new one."""

from __future__ import annotations

import itertools
import re
import secrets

#: The header, and the key of gRPC metadata.
HEADER = "x-request-id"

_SANE = re.compile(r"[A-Za-z0-9._~+/=:-]{1,128}")


class RequestIds:
    """Makes ids: one random half that is this maker's own, and one that counts.

    Random ids would need the operating system for every request. Made after the fork of a worker, not before.
    """

    def __init__(self) -> None:
        self._own = secrets.token_hex(4)
        self._numbers = itertools.count(secrets.randbits(32))

    def choose(self, given: str | None) -> str:
        """The given id if it is sane, else a new one of 16 hexadecimal digits."""
        if given is not None and _SANE.fullmatch(given):
            return given
        return f"{self._own}{next(self._numbers) & 0xFFFFFFFF:08x}"
