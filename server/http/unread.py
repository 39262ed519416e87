"""The bytes of answers that a client has not read."""

from __future__ import annotations

from sentiment_conv1d.server.network.buffers import Buffers, Charge


class Unread:
    """Charges what is written to a connection and not read, and measures for how long an answer has waited for it.

    `timeout` is the number of seconds that a client has to read an answer.
    """

    def __init__(self, buffers: Buffers, timeout: float) -> None:
        self._charge = Charge(buffers)
        self._timeout = timeout
        self._answer: int | None = None
        self._since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether there were unread bytes when they were last counted."""
        return self._since is not None

    def count(self, size: int, answer: int, caller: str, now: float) -> bool:
        """Charge a caller for `size` unread bytes, of answer number `answer`. Returns whether its time is over."""
        self._charge.replace(size, caller)
        if not size:
            self._answer = self._since = None
        elif self._since is None or self._answer != answer:
            self._answer, self._since = answer, now
        return self._since is not None and now - self._since > self._timeout

    def release(self) -> None:
        """Release all bytes, because the connection is lost."""
        self._charge.release()
