"""The request log: a sample of the answered requests, to detect drift and to label texts.

A thread writes the records. If the sink is slow and the queue of the records is full, records are dropped. They never
delay a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from queue import SimpleQueue
from random import random
from sys import getsizeof
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.sinks import Sink

if TYPE_CHECKING:
    from sentiment_conv1d.artifact.manifest import Manifest

logger = logging.getLogger(__name__)

#: The most memory of the texts of a request, in bytes. A thread that encodes more would hold up the event loop.
_MAX_TEXTS = 1024 * 1024

#: An estimate of the memory of one prediction, without its text: a constant part, and a part for each label.
_PREDICTION_BYTES, _LABEL_BYTES = 512, 32

#: The most memory of the records that wait, in bytes.
_MAX_WAITING = 16 * 1024 * 1024

#: Seconds for the last records at shutdown, so that a sink that hangs does not block it.
_FLUSH_SECONDS = 2.0


class _Waiting(NamedTuple):
    """A record without its predictions, and what the thread adds to it. `texts` are empty if they are not logged."""

    record: dict[str, Any]
    labels: Sequence[str]
    predictions: Sequence[Prediction]
    texts: Sequence[str]
    size: int  # an estimate of its memory, in bytes

    def complete(self) -> Mapping[str, Any]:
        documents = [each.document(self.labels) for each in self.predictions]
        for document, text in zip(documents, self.texts, strict=False):
            document["text"] = text
        return self.record | {"predictions": documents}


class RequestLog:
    """Writes a share of the requests to a sink, on a thread. Create it after the fork.

    Records contain the texts if `texts`. `count` counts the outcome of a record: `written` or `failed` on the log's
    thread, or `dropped`.
    """

    def __init__(self, sink: Sink, share: float, *, texts: bool, count: Callable[[str], None]) -> None:
        self._sink = sink
        self._share = share
        self._texts = texts
        self._count = count
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        # The bytes of all records that entered and left the queue. Each number has one thread that writes it.
        self._entered = self._left = 0
        self._thread = Thread(target=self._write_all, name="request-log", daemon=True)
        self._thread.start()

    def add(
        self,
        context: RequestContext,
        manifest: Manifest,
        rows: Sequence[Any],
        predictions: Sequence[Prediction],
    ) -> None:
        """Log a request if it is in the sample. Never waits. `rows` are its texts, or ids, which are not logged."""
        if random() >= self._share:  # noqa: S311 - a sample is no secret
            return
        texts = rows if self._texts and isinstance(rows[0], str) else ()
        if (text_bytes := sum(map(getsizeof, texts))) > _MAX_TEXTS:
            texts, text_bytes = (), 0
        size = len(predictions) * (_PREDICTION_BYTES + _LABEL_BYTES * len(manifest.labels)) + text_bytes
        if self._entered - self._left + size > _MAX_WAITING:
            self._count("dropped")
            return
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": context.id,
            "protocol": context.protocol,
            "route": context.route,
            "model": manifest.name,
            "version": manifest.version,
        }
        self._entered += size
        self._queue.put(_Waiting(record, manifest.labels, predictions, texts, size))

    def close(self) -> None:
        """Write the waiting records within a time limit."""
        self._queue.put(None)
        self._thread.join(_FLUSH_SECONDS)
        if self._thread.is_alive():
            logger.warning("%d records of the request log were not written", self._queue.qsize())

    def _write_all(self) -> None:
        failing = False
        while (waiting := self._queue.get()) is not None:
            try:
                self._sink(waiting.complete())
            except Exception as error:  # the thread goes on, whatever the sink raises
                if not failing:
                    logger.warning("the request log cannot be written: %s", error)
                failing = True
            else:
                if failing:
                    logger.info("the request log is written again")
                failing = False
            self._left += waiting.size
            self._count("failed" if failing else "written")
