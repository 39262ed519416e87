"""A bounded queue of records that a thread writes to a sink, so that a slow sink delays nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeAlias

from sentiment_conv1d.service.telemetry.sinks import Sink

logger = logging.getLogger(__name__)

#: The most memory of the records that wait, in bytes.
_MAX_WAITING = 16 * 1024 * 1024

#: Seconds for the last records at shutdown, so that a sink that hangs does not block it.
_FLUSH_SECONDS = 2.0

#: Gets None if the sink took a record, otherwise what the sink raised. Called on the queue's thread.
Done: TypeAlias = Callable[[Exception | None], None]


class _Waiting(NamedTuple):
    compose: Callable[[], Mapping[str, Any]]
    size: int
    done: Done


class RecordQueue:
    """Passes records to a sink, on a thread. Create it after the fork. `name` is that of the log, for log lines."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._name = name
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        # The bytes of all records that entered and left the queue. Each number has one thread that writes it.
        self._entered = self._left = 0
        self._thread = Thread(target=self._write_all, name=name.replace(" ", "-"), daemon=True)
        self._thread.start()

    def put(self, compose: Callable[[], Mapping[str, Any]], size: int, done: Done) -> bool:
        """Add a record, which `compose` returns on the thread, and return whether there is room for it.

        `size` is an estimate of its memory, in bytes.
        """
        if self._entered - self._left + size > _MAX_WAITING:
            return False
        self._entered += size
        self._queue.put(_Waiting(compose, size, done))
        return True

    def close(self) -> None:
        """Write the waiting records within a time limit."""
        self._queue.put(None)
        self._thread.join(_FLUSH_SECONDS)
        if self._thread.is_alive():
            logger.warning("%d records of the %s were not written", self._queue.qsize(), self._name)

    def _write_all(self) -> None:
        failing = False
        while (waiting := self._queue.get()) is not None:
            failure = None
            try:
                self._sink(waiting.compose())
            except Exception as error:  # the thread goes on, whatever the sink raises
                failure = error
                if not failing:
                    logger.warning("the %s cannot be written: %s", self._name, error)
            else:
                if failing:
                    logger.info("the %s is written again", self._name)
            failing = failure is not None
            self._left += waiting.size
            waiting.done(failure)
