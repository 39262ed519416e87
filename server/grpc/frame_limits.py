"""Limits the frames with which a client could cause work without end."""

from __future__ import annotations

from collections.abc import Callable

#: Frames without effect, such as repeated SETTINGS, that a client can send at once, and how many more per second.
_MAX_WITHOUT_EFFECT = 400
_FORGIVEN_WITHOUT_EFFECT = 100

#: Resets of running calls that a client can send at once, and streams that the library refuses; how many more per
#: second, and after how many the client is asked to reconnect, so that the calls on the connection end well.
_MAX_RESETS = 1000
_FORGIVEN_RESETS = 100
_MANY_RESETS = 500

#: The minimum seconds between two pings of a client, and how many can come sooner. Every answer resets the count.
_PING_SECONDS = 10.0
_MAX_EARLY_PINGS = 2


class FrameLimits:
    """Counts the frames of one connection, and calls `fail`, which raises, with the reason when they are too many."""

    __slots__ = ("_early_pings", "_fail", "_last_ping", "_resets", "_without_effect")

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._without_effect = self._resets = self._early_pings = 0
        self._last_ping = -_PING_SECONDS

    def forgive(self) -> None:
        """Allow more frames. Call it about once a second."""
        self._without_effect = max(0, self._without_effect - _FORGIVEN_WITHOUT_EFFECT)
        self._resets = max(0, self._resets - _FORGIVEN_RESETS)

    def count_without_effect(self) -> None:
        """Count a frame that changes nothing."""
        self._without_effect += 1
        if self._without_effect > _MAX_WITHOUT_EFFECT:
            self._fail("too many frames without effect")

    def count_reset(self) -> bool:
        """Count a reset of a running call, or a refused stream. Returns whether the client should reconnect."""
        self._resets += 1
        if self._resets > _MAX_RESETS:
            self._fail("too many resets")
        return self._resets > _MANY_RESETS

    def count_ping(self, now: float) -> None:
        """Count a ping at a time of the event loop."""
        if now - self._last_ping < _PING_SECONDS:
            self._early_pings += 1
            if self._early_pings > _MAX_EARLY_PINGS:
                self._fail("too_many_pings")
        self._last_ping = now

    def answered(self) -> None:
        """Allow early pings again: clients measure the bandwidth with one after an answer."""
        self._early_pings = 0
