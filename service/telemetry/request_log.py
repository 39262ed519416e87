"""The request log: a sample of the answered requests, to detect drift and to label texts.

A request adds its record to a bounded queue, and a thread writes the records to a sink. If the sink is slow, records
are dropped. They never delay a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from random import random
from sys import getsizeof
from threading import Thread
from time import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sentiment_conv1d.service.prediction import Prediction
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.sinks import Sink

if TYPE_CHECKING:
    from sentiment_conv1d.model.manifest import Manifest

logger = logging.getLogger(__name__)

#: What happens to a record: the sink took it, the queue was full, or the sink failed.
LogOutcome = Literal["written", "dropped", "failed"]

#: The most memory of the records that wait, in bytes.
_MAX_WAITING = 16 * 1024 * 1024

#: The most memory of the texts of a request, in bytes. A thread that encodes more would hold up the event loop.
_MAX_TEXTS = 1024 * 1024

#: An estimate of the memory of one prediction, without its text: a constant part, and a part for each label.
_PREDICTION_BYTES, _LABEL_BYTES = 512, 32

#: Seconds for the last records at shutdown, so that a sink that hangs does not block it.
_FLUSH_SECONDS = 2.0


class _Record(NamedTuple):
    """One request of the sample. `texts` is empty if texts are not logged."""

    time: float  # seconds since 1970
    request_id: str
    protocol: str
    route: str
    manifest: Manifest
    predictions: Sequence[Prediction]
    texts: Sequence[str]
    size: int  # an estimate of its memory, in bytes

    def fields(self, written: Callable[[str], str] | None) -> dict[str, Any]:
        """Return the record as it is written, with the texts in the form that `written` returns."""
        predictions = [each.document(self.manifest.labels) for each in self.predictions]
        if written is not None:
            for prediction, text in zip(predictions, self.texts, strict=False):
                prediction["text"] = written(text)
        return {
            "time": datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds"),
            "request_id": self.request_id,
            "protocol": self.protocol,
            "route": self.route,
            "model": self.manifest.name,
            "version": self.manifest.version,
            "predictions": predictions,
        }


class RequestLog:
    """Writes a share of the requests to a sink, on a thread. Create it after the fork.

    `written` returns how a text is written; without it, records contain no texts. It runs on the log's thread. `count`
    counts the outcome of a record, on any thread, but each outcome always on the same one.
    """

    def __init__(
        self,
        sink: Sink,
        share: float,
        *,
        written: Callable[[str], str] | None,
        count: Callable[[LogOutcome], None],
    ) -> None:
        self._sink = sink
        self._share = share
        self._written = written
        self._count = count
        self._queue: SimpleQueue[_Record | None] = SimpleQueue()
        # The bytes of all records that entered and left the queue. Each number has one thread that writes it.
        self._entered = self._left = 0
        self._thread = Thread(target=self._write_all, name="request-log", daemon=True)
        self._thread.start()

    def add(
        self, context: RequestContext, manifest: Manifest, rows: Sequence[Any], predictions: Sequence[Prediction]
    ) -> None:
        """Log a request if it is in the sample. `rows` are its texts, or ids, which are not logged. Never waits."""
        if random() >= self._share:  # noqa: S311 - a sample is no secret
            return
        texts = rows if self._written is not None and isinstance(rows[0], str) else ()
        if (text_bytes := sum(map(getsizeof, texts))) > _MAX_TEXTS:
            texts, text_bytes = (), 0
        size = len(predictions) * (_PREDICTION_BYTES + _LABEL_BYTES * len(manifest.labels)) + text_bytes
        if self._entered - self._left + size > _MAX_WAITING:
            self._count("dropped")
            return
        self._entered += size
        self._queue.put(
            _Record(time(), context.id, context.protocol, context.route, manifest, predictions, texts, size)
        )

    def close(self) -> None:
        """Write the waiting records within a time limit."""
        self._queue.put(None)
        self._thread.join(_FLUSH_SECONDS)
        if self._thread.is_alive():
            logger.warning("%d records of the request log were not written", self._queue.qsize())

    def _write_all(self) -> None:
        failing = False
        while (record := self._queue.get()) is not None:
            try:
                self._sink(record.fields(self._written))
            except Exception as error:  # the thread goes on, whatever the sink raises
                if not failing:
                    logger.warning("the request log cannot be written: %s", error)
                failing = True
            else:
                if failing:
                    logger.info("the request log is written again")
                failing = False
            self._left += record.size
            self._count("failed" if failing else "written")
