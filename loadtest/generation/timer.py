"""A timer that wakes an event loop on time. The timers of libuv and epoll have a resolution of one millisecond.

A sleeping processor takes about 50 microseconds to wake up, so the timer waits actively at the end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter, thread_time

#: The timer waits actively for so many seconds at most, and for this share of the whole wait at most: at high rates the
#: processor hardly sleeps.
_AWAKE_SECONDS, _AWAKE_SHARE = 2e-4, 0.05

_CLOCK_MONOTONIC = 1  # what perf_counter reads on Linux
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls `wake` at the moment that was set last, within some microseconds on Linux (timerfd_create(2)).

    `awake` is the processor time, in seconds, that it spent on active waiting.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._moment = 0.0
        self.awake = 0.0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._descriptor: int | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
            if descriptor < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create")
            self._descriptor = descriptor
            self._loop.add_reader(descriptor, self._expired)

    def set(self, moment: float) -> None:
        """Call `wake` at `moment`, a time of `perf_counter`, or at once if it has passed."""
        self._moment = moment
        wait = max(0.0, moment - perf_counter())
        if self._descriptor is None:
            self._handle = self._loop.call_later(wait, self._wake)
            return
        early = moment - min(_AWAKE_SECONDS, _AWAKE_SHARE * wait)
        nanoseconds = max(1, int(early * 1e9))  # zero would disarm the timer
        value = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
        self._libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(value), None)

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _expired(self) -> None:
        assert self._descriptor is not None
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        began = thread_time()
        while perf_counter() < self._moment:
            pass
        self.awake += thread_time() - began
        self._wake()
