"""A child process that does one thing, and that the kernel kills at a deadline.

It is for work that no Python code can interrupt, that can crash, or that starts threads in libraries.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from math import inf
from time import monotonic

_FIRST_DESCRIPTOR = 3  # after the standard streams

#: The signals that end the wait for a child. If this process has threads, one of them can get SIGCHLD, so the child is
#: also checked regularly.
_AWAITED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)
_CHECK_SECONDS = 0.1


def start(work: Callable[[], object], seconds: float, descriptor: int | None = None) -> int:
    """Start a process that does some work, and return its id. Call it in a process without threads.

    The child keeps only this descriptor. It is killed by SIGALRM after `seconds`, unless it sets its timer
    (`ITIMER_REAL`) again. Its status is 0, or 1 if `work` raises an exception. Raises `OSError` if there is no child.
    """
    if pid := os.fork():
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):  # the whole process group may get them
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _close_all_but(descriptor)
        work()
        status = 0
    finally:
        os._exit(status)


def run(begin: Callable[[], int], patience: float = inf, give_up: Callable[[], bool] = lambda: True) -> int | None:
    """Start a child with `begin`, and return the status of `waitpid` at its end.

    After `patience`, in seconds, the child is killed if `give_up` returns true; then there is no status. A signal that
    ends this process ends the child too.
    """
    # A handler of Python could miss a signal that arrives just before `waitpid`.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    pid = None
    try:
        pid = begin()
        until = monotonic() + patience
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            found = signal.sigtimedwait(_AWAITED, _CHECK_SECONDS)
            if found is not None and found.si_signo != signal.SIGCHLD:
                signal.raise_signal(found.si_signo)  # its handler runs when it is no longer blocked
                return None
            if monotonic() >= until:
                if give_up():
                    return None
                until = inf
        pid = None
        return ended[1]
    finally:
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _close_all_but(descriptor: int | None) -> None:
    """Close sockets, whose peers would wait for this process, and all other descriptors."""
    if descriptor is not None:
        os.closerange(_FIRST_DESCRIPTOR, descriptor)
    os.closerange(_FIRST_DESCRIPTOR if descriptor is None else descriptor + 1, os.sysconf("SC_OPEN_MAX"))
