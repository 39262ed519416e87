"""Opens a version in a child process first: its graph can run forever, and can crash the process that runs it.

No Python code can interrupt a run of a graph, so the kernel kills the child at the deadline. A child that ends in time
has proven only that the version can be opened or refused. The processes that serve the version open it themselves, and
get the same result.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

from sentiment_conv1d.model.artifact import Artifact, ArtifactError
from sentiment_conv1d.model.errors import SentimentError, TransientError
from sentiment_conv1d.server.process.worker_process import describe_end

_FIRST_DESCRIPTOR = 3  # after the standard streams

#: The signals that end the wait for a child.
_AWAITED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM)


def start(open_version: Callable[[], object], seconds: float, descriptor: int | None = None) -> int:
    """Open a version in a child process, and return the id of the process. Call it in a process without threads.

    The child keeps only this descriptor, and is killed after `seconds`. Raises `TransientError` if there is no child.
    """
    try:
        pid = os.fork()
    except OSError as error:
        raise TransientError(f"the system cannot start a process ({error.strerror})") from error
    if pid:
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
        logging.disable()
        _close_all_but(descriptor)
        open_version()
        status = 0
    except SentimentError:
        status = 0  # the caller gets the same error
    finally:
        os._exit(status)


def check(status: int, seconds: float, place: str = "") -> None:
    """Raise `ArtifactError` if the version must not be opened, by the status of `waitpid` for the child."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        reason = f"it did not open and answer its golden text within {seconds:g} s (--load-timeout)"
        raise ArtifactError(f"{place}{reason}", "timeout")
    if status:
        raise ArtifactError(f"{place}the process that opened it {describe_end(status)}", "crashed")


def run(artifact: Artifact, open_version: Callable[[Artifact], object], seconds: float) -> None:
    """Open an artifact in a child process and wait for its end. Raises `ArtifactError` if it fails.

    Raises `TransientError` if the system cannot start a process.

    A signal that ends this process ends the child too.
    """
    # A handler of Python could miss a signal that arrives just before `waitpid`.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    try:
        pid = start(lambda: open_version(artifact), seconds)
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            if (received := signal.sigwait(_AWAITED)) != signal.SIGCHLD:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                signal.raise_signal(received)  # its handler runs when it is no longer blocked
                break
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _, status = ended
    check(status, seconds, f"{artifact.path}: ")


def _close_all_but(descriptor: int | None) -> None:
    """Close sockets, whose peers would wait for this process, and all other descriptors."""
    if descriptor is not None:
        os.closerange(_FIRST_DESCRIPTOR, descriptor)
    os.closerange(_FIRST_DESCRIPTOR if descriptor is None else descriptor + 1, os.sysconf("SC_OPEN_MAX"))
