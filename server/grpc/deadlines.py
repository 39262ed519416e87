"""The time limits of one connection."""

from __future__ import annotations

from sentiment_conv1d.server.grpc.call_context import ConnectionLimits


class Deadlines:
    """Decides when a connection is too old, too slow, silent or idle. All times are the event loop's.

    The connection sets `heard` whenever bytes arrive, and `busy` whenever a call begins, ends, or receives something.
    """

    __slots__ = ("_complete", "_limits", "_mark", "_opened", "_read", "busy", "heard")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._limits = limits
        self._opened = now
        self.heard = now
        self.busy = now
        self._read = now  # when the client had last read all that had been written until `_mark` was set
        self._mark = 0  # bytes in all, up to which the client must read in time
        self._complete = now  # when there was last no incomplete header block

    def idle_until(self, *, ready: bool) -> float:
        """Return when a connection without a running call times out; `ready` is true after the handshake."""
        if ready:
            return self.busy + self._limits.idle_seconds
        return self._opened + self._limits.handshake_seconds

    def passed(self, now: float, *, ready: bool, complete: bool, written: int, unsent: int) -> bool:
        """Return whether the client has exceeded the time for the handshake, for a header block, or to read.

        `complete` is false while a long header block is incomplete. Of the `written` bytes, `unsent` have not been
        read. Call it about once a second.
        """
        if not unsent or written - unsent >= self._mark:
            self._mark, self._read = written, now
        if complete:
            self._complete = now
        limits = self._limits
        handshake = not ready and now - self._opened > limits.handshake_seconds
        header = now - self._complete > limits.header_seconds
        return handshake or header or now - self._read > limits.write_seconds

    def aged(self, now: float, *, empty: bool) -> bool:
        """Return whether the client should reconnect: the connection is old, or has been `empty` for long."""
        limits = self._limits
        return now - self._opened > limits.age_seconds or (empty and now - self.busy > limits.idle_seconds)
