"""Updates of a mirror, each in a child process: the libraries of stores start threads, and this process forks.

The kernel kills the child if the store takes too long. A memory file contains what the child does, and what it found.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections.abc import Collection
from typing import NamedTuple

from sentiment_conv1d.artifact.errors import SentimentError, TransientError
from sentiment_conv1d.server.process import child
from sentiment_conv1d.server.process.worker_process import describe_end
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.models.mirror import Memory, Mirror
from sentiment_conv1d.service.settings import named
from sentiment_conv1d.sharing.store import StoreError, StoreUnreachable

logger = logging.getLogger(__name__)

#: Seconds for the first update, after which the service starts with the copies that it has. It starts sooner if the
#: copies are complete, and further updates follow. Kubernetes kills a container that takes long to start.
_UPDATE_SECONDS = 30.0
_COMPLETE_SECONDS = 5.0


class StoreTimeout(StoreUnreachable):
    """The store takes too long to list or to send a version."""

    reason = "timeout"


class UpdateLost(StoreUnreachable):
    """The process that updates a mirror was killed, failed, or could not be started."""

    reason = "process"


class _Report(NamedTuple):
    """What a child does and how long it may take, or with which result it has ended."""

    step: str = ""
    seconds: float = 0
    problem: SentimentError | None = None
    memory: Memory | None = None


class Update:
    """One update of a mirror, which may take `seconds` to list the store. The other arguments are those of `update`."""

    def __init__(
        self, mirror: Mirror, seconds: float, *, first: bool = False, again: Collection[str] = frozenset()
    ) -> None:
        self._mirror = mirror
        self._seconds = seconds
        self._first = first
        self._again = again
        self._file = os.memfd_create("update", os.MFD_CLOEXEC)
        self._report(_Report("the start", seconds))

    def start(self) -> int:
        """Start the child, and return its process id. Raises `UpdateLost` if there is none."""
        try:
            return child.start(self._work, self._seconds, self._file)
        except OSError as error:
            self.close()
            raise UpdateLost(f"the system cannot start a process ({error.strerror})") from error

    def end(self, status: int) -> SentimentError | None:
        """Take over what the child found, and return why it failed, by the status of `waitpid`, or None."""
        report = _Report(*pickle.loads(os.pread(self._file, os.fstat(self._file).st_size, 0)))  # noqa: S301 - our own
        self.close()
        name = self._mirror.store.name
        if report.memory is not None:
            self._mirror.memory = report.memory
            problem = report.problem
        elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            problem = StoreTimeout(f"{name}: {report.step} takes more than {report.seconds:g} s (--store-timeout)")
        else:
            problem = UpdateLost(f"{name}: copying the models failed: the process {describe_end(status)}")
        self._mirror.problem = "" if problem is None else str(problem)
        return problem

    def close(self) -> None:
        """Close the file of this process."""
        os.close(self._file)

    def _work(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):  # the parent reports them
            signal.signal(number, signal.SIG_DFL)
        problem: SentimentError | None = None
        try:
            self._mirror.update(first=self._first, again=self._again, begin=self._begin)
        except SentimentError as error:
            problem = error
        except Exception:
            logger.exception("%s: copying the models failed", self._mirror.store.name)
            raise
        self._report(_Report(problem=problem, memory=self._mirror.memory))

    def _begin(self, step: str, factor: int) -> None:
        seconds = factor * self._seconds
        self._report(_Report(step, seconds))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def _report(self, report: _Report) -> None:
        content = pickle.dumps(tuple(report))
        os.pwrite(self._file, content, 0)
        os.ftruncate(self._file, len(content))


def start(mirror: Mirror, seconds: float, *, watched: bool) -> None:
    """Update for the first time. If the store cannot be read, or not in time, the folder is used as it is.

    That time is short if the repository is `watched`, which means that updates follow. Raises `StartupError` or
    `TransientError` if the folder contains no model either.
    """
    mirror.store.load_library()
    patience = _COMPLETE_SECONDS if watched and mirror.complete else _UPDATE_SECONDS
    slow = f"{mirror.store.name}: copying the models takes more than {patience:g} s"

    def give_up() -> bool:
        if mirror.copies():
            return True
        logger.warning("%s, and %s contains no copy of a model to start with", slow, mirror.path)
        return False

    update = Update(mirror, seconds, first=True)
    status = child.run(update.start, patience, give_up)
    problem = StoreTimeout(slow) if status is None else update.end(status)
    if problem is None:
        return
    if not isinstance(problem, StoreError):
        raise problem
    if not mirror.copies():
        kind = TransientError if isinstance(problem, StoreUnreachable) else StartupError
        no_copy = f"{mirror.path} contains no copy of a model; {named('model_cache')} sets where it is"
        raise kind(f"{problem}, and {no_copy}")
    mirror.problem = str(problem)
    later = ", which are updated as soon as it answers" if watched else ""
    logger.warning("%s; serving the copies in %s%s", problem, mirror.path, later)
