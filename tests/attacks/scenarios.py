"""Defines attacks and the servers that they attack."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.processes import MODEL_REPOSITORY, ServerProcess
from tests.service.certificates import Authority

#: The key of a server that requires one. Attackers have none.
KEY = "a-key-of-the-attacked-service"

#: Attacks a server with a multiple of the usual bytes, and returns the number of bytes sent. Raises `AssertionError` if
#: the server does something wrong.
Attack = Callable[[ServerProcess, int], int]


class Setup(NamedTuple):
    """The configuration of a server."""

    flags: tuple[str, ...] = ("--workers", "1")
    key: str | None = None
    tls: bool = False

    @property
    def name(self) -> str:
        """The flags, and whether the server requires a key and TLS."""
        return " ".join((*self.flags, *([] if self.key is None else ["(key)"]), *(["(TLS)"] if self.tls else [])))

    @property
    def authority(self) -> Path | None:
        """The certificate that callers trust, or None without TLS."""
        return _authority().certificate if self.tls else None

    def start(self) -> ServerProcess:
        """Start a separate server."""
        keys = {} if self.key is None else {"SENTIMENT_API_KEYS": self.key}
        flags = self.flags
        if self.tls:
            certificate, key = _authority().issue("server").pair
            flags = (*flags, "--tls-certificate", certificate, "--tls-key", key)
        return ServerProcess(*flags, repository=MODEL_REPOSITORY, **keys)


@cache
def _authority() -> Authority:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Authority(Path(folder.name))


#: Attackers have no key.
KEYED = Setup(key=KEY)

#: Attackers have no key, and can load the page.
PAGE = Setup(("--workers", "1", "--open-page"), KEY)

#: Attackers can call every method.
OPEN = Setup()


class Scenario(NamedTuple):
    """An attack on a server."""

    attack: Attack
    setup: Setup
    peak_megabytes: float  # memory of the workers and the kernel above that before the attack, during it
    total: bool = False  # whether the peak is the total of all processes
    refusals: bool = False  # whether other callers may be rejected meanwhile, as in any overload


#: Megabytes above an idle worker's memory that may remain.
LEFTOVER_MEGABYTES = 64

#: The most kernel memory of a connection whose answer nobody reads yet, in megabytes, see docs/security.md.
UNREAD_MEGABYTES = 0.045

#: `--max-buffered-bytes`, in megabytes.
BUFFERED_MEGABYTES = 256


class Scenarios(dict[str, Scenario]):
    """Attacks by the name of their function."""

    def add(
        self,
        setup: Setup = KEYED,
        *,
        peak_megabytes: float = LEFTOVER_MEGABYTES,
        total: bool = False,
        refusals: bool = False,
    ) -> Callable[[Attack], Attack]:
        """Register a function."""

        def enter(attack: Attack) -> Attack:
            self[attack.__name__] = Scenario(attack, setup, peak_megabytes, total, refusals)
            return attack

        return enter
