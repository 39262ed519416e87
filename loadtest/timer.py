"""A clock that wakes an event loop on time: libuv's own timers, and epoll's, count in whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter

_CLOCK_MONOTONIC = 1  # what perf_counter reads on Linux
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls `wake` at the moment it was last set to, within some ten microseconds on Linux (timerfd_create(2))."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
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
        if self._descriptor is None:
            self._handle = self._loop.call_later(max(0.0, moment - perf_counter()), self._wake)
            return
        nanoseconds = max(1, int(moment * 1e9))  # zero would switch the timer off
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
        self._wake()
