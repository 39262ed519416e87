"""A clock that wakes an event loop on time: libuv's own timers, and epoll's, count in whole milliseconds.

A processor that sleeps takes some 50 microseconds to wake up, so the last of a wait is spent awake.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter, thread_time

#: Seconds before a moment from which on it is waited for awake, and at most so much of the whole wait: at high rates a
#: processor hardly sleeps, and has better things to do.
_AWAKE_SECONDS, _AWAKE_SHARE = 2e-4, 0.05

_CLOCK_MONOTONIC = 1  # what perf_counter reads on Linux
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls `wake` at the moment it was last set to, within some microseconds on Linux (timerfd_create(2)).

    `awake` is the processor time, in seconds, that went into waiting awake.
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
        """Wake at `moment` of `perf_counter`; at once if it has passed."""
        self._moment = moment
        wait = max(0.0, moment - perf_counter())
        if self._descriptor is None:
            self._handle = self._loop.call_later(wait, self._wake)
            return
        early = moment - min(_AWAKE_SECONDS, _AWAKE_SHARE * wait)
        nanoseconds = max(1, int(early * 1e9))  # zero would switch the timer off
        value = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 1_000_000_000)))
        self._libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(value), None)

    def close(self) -> None:
        """Never wake again."""
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
