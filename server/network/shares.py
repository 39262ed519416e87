"""Who holds how much of something limited, so that at the limit the caller that holds most is refused first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.server.log_limit import LogLimit

#: The beginning of a caller that has shown a key. The name of the key follows. Addresses contain no space.
KEY = "key "

#: Returns the caller whose key is in the headers of a request, by lower-case name. None: its address counts.
FindCaller = Callable[[Mapping[bytes, bytes]], str | None]

#: How many times a limit callers that hold little can fill together.
_BEYOND = 2

#: The caller on a Unix domain socket, who has no address.
LOCAL = "local"

logger = logging.getLogger(__name__)
_log_limit = LogLimit()
logger.addFilter(_log_limit)


class Shares:
    """How much of something limited each caller holds. Belongs to one event loop.

    A caller is the address of a client, or `KEY` and the name of its key. Only those that hold something are kept.
    """

    def __init__(self) -> None:
        self.total = 0
        self._held: dict[str, int] = {}

    def change(self, caller: str, count: int) -> None:
        """Add `count`, which can be negative, to what a caller holds."""
        self.total += count
        if held := self._held.get(caller, 0) + count:
            self._held[caller] = held
        else:
            self._held.pop(caller, None)

    def of(self, caller: str) -> int:
        """Return what a caller holds."""
        return self._held.get(caller, 0)

    def admits(self, caller: str, count: int, limit: int) -> bool:
        """Return whether a caller can get `count` more within a limit.

        At the limit, one that then holds at most half of what another one holds is still admitted, up to `_BEYOND`
        times the limit. This is for what is soon released, so that nothing has to be taken from the other one.
        """
        total = self.total + count
        return total <= limit or (total <= _BEYOND * limit and self.precedes(caller, count))

    def precedes(self, caller: str, count: int, other: str | None = None) -> bool:
        """Return whether a caller that gets `count` more holds at most half of what another one holds.

        The other one is the caller that holds most, if it is not given.
        """
        most = max(self._held.values(), default=0) if other is None else self.of(other)
        return 2 * (self.of(caller) + count) <= most

    def ranked(self) -> list[str]:
        """Return the callers, those that hold most first."""
        return sorted(self._held, key=self._held.__getitem__, reverse=True)


def evicted(caller: str) -> Overloaded:
    """Log that a request of a caller is ended to make room for others, and return the error."""
    return overloaded(caller, "the requests of this caller hold most of the memory, and another caller needs some")


def overloaded(caller: str, reason: str) -> Overloaded:
    """Log that a request of a caller is refused, at most ten times per second, and return the error."""
    if not _log_limit.drops():
        logger.warning("rejected a request: %s", reason, extra={"caller": caller})
    return Overloaded(reason)
