"""Keeps the copies of a store up to date while the service runs. Runs in the supervisor."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from math import inf
from time import monotonic

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.service.models.mirror import Mirror
from sentiment_conv1d.service.models.update import Update, UpdateLost
from sentiment_conv1d.service.telemetry.metrics import STORE_FAILED, Metrics
from sentiment_conv1d.sharing.store import StoreError

logger = logging.getLogger(__name__)

#: Called with why an update failed, or with an empty string.
Answer = Callable[[str], None]


class Copies:
    """Updates a mirror every `interval` seconds, or only when somebody asks for it if that is 0.

    One child process at a time does it, and may take `seconds` to list the store. If the update at the start of the
    service failed, the next one follows at once and replaces it.
    """

    def __init__(self, mirror: Mirror, seconds: float, interval: float, metrics: Metrics) -> None:
        self.pid: int | None = None  # of the running update
        self._mirror = mirror
        self._seconds = seconds
        self._interval = interval or inf
        self._first = bool(mirror.problem)
        self._due = 0.0 if self._first and interval else monotonic() + self._interval
        self._update: Update
        self._before = mirror.problem  # why the update before the running one failed, or empty
        self._requests: list[tuple[str, Answer]] = []
        self._answers: list[Answer] = []  # for the running update
        self._stopped = False
        self._metrics = metrics
        metrics.store_updated(mirror.updated_at)

    def ask(self, name: str, answer: Answer) -> None:
        """Update, and try the bad versions of a model again. An update that runs already does not count."""
        self._requests.append((name, answer))
        if self.pid is None:
            self._start()

    def every_second(self, now: float) -> None:
        """Begin an update if it is time for it. Called about once a second with the time of `monotonic`."""
        if now >= self._due and self.pid is None:
            self._start()

    def end(self, status: int) -> None:
        """Handle the end of the child with a status of `waitpid`."""
        self.pid = None
        self._finish(self._update.end(status))

    def stop(self) -> None:
        """Kill the child, if there is one, and begin no other update."""
        self._stopped = True
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close the file of the running update. A worker calls this after its fork."""
        if self.pid is not None:
            self._update.close()

    def _start(self) -> None:
        if self._stopped:
            return
        self._due = monotonic() + self._interval
        names = frozenset(name for name, _ in self._requests)
        self._answers = [answer for _, answer in self._requests]
        self._requests = []
        self._before = self._mirror.problem
        self._update = Update(self._mirror, self._seconds, first=self._first, again=names)
        try:
            self.pid = self._update.start()
        except UpdateLost as error:
            self._mirror.problem = str(error)
            self._finish(error)

    def _finish(self, problem: SentimentError | None) -> None:
        """Count, log and answer. A failure that is the same as the one before is not logged again."""
        if self._stopped:
            return
        if problem is None:
            self._first = False
            self._metrics.store_updated(self._mirror.updated_at)
            if self._before:
                logger.info("%s can be read again", self._mirror.store.name)
        else:
            self._metrics.count(STORE_FAILED, problem.reason if isinstance(problem, StoreError) else "refused")
            if str(problem) != self._before:
                logger.warning("%s; the copies in %s stay", problem, self._mirror.path)
        for answer in self._answers:
            answer("" if problem is None else str(problem))
        if self._requests:
            self._start()
