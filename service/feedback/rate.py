"""A limit on how often something happens."""

from __future__ import annotations

from time import monotonic


class Rate:
    """Allows so many events per second on average: a bucket of tokens, which holds those of one second."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._most = self._tokens = max(1.0, per_second)
        self._filled = monotonic()

    def allows(self) -> bool:
        """Return whether an event may happen now. If so, it counts."""
        now = monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self.per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
