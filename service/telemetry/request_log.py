"""The request log: a sample of the answered requests, to detect drift and to label texts.

If the sink is slow and the queue of the records is full, records are dropped. They never delay a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from random import random
from sys import getsizeof
from typing import TYPE_CHECKING, Any

from sentiment_conv1d.inference.prediction import Prediction
from sentiment_conv1d.service.telemetry.record_queue import RecordQueue
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.sinks import Sink

if TYPE_CHECKING:
    from sentiment_conv1d.model.manifest import Manifest

#: The most memory of the texts of a request, in bytes. A thread that encodes more would hold up the event loop.
_MAX_TEXTS = 1024 * 1024

#: An estimate of the memory of one prediction, without its text: a constant part, and a part for each label.
_PREDICTION_BYTES, _LABEL_BYTES = 512, 32


class RequestLog:
    """Writes a share of the requests to a sink, on a thread. Create it after the fork.

    `written` returns how a text is written; without it, records contain no texts. It runs on the log's thread. `count`
    counts the outcome of a record: `written` or `failed` on the log's thread, or `dropped`.
    """

    def __init__(
        self,
        sink: Sink,
        share: float,
        *,
        written: Callable[[str], str] | None,
        count: Callable[[str], None],
    ) -> None:
        self._share = share
        self._written = written
        self._count = count
        self._queue = RecordQueue(sink, "request log")
        self.close = self._queue.close

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
        texts = rows if self._written is not None and isinstance(rows[0], str) else ()
        if (text_bytes := sum(map(getsizeof, texts))) > _MAX_TEXTS:
            texts, text_bytes = (), 0
        size = len(predictions) * (_PREDICTION_BYTES + _LABEL_BYTES * len(manifest.labels)) + text_bytes
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request_id": context.id,
            "protocol": context.protocol,
            "route": context.route,
            "model": manifest.name,
            "version": manifest.version,
        }
        compose = partial(_add_predictions, record, manifest.labels, predictions, texts, self._written or str)
        if not self._queue.put(compose, size, self._done):
            self._count("dropped")

    def _done(self, failure: Exception | None) -> None:
        self._count("written" if failure is None else "failed")


def _add_predictions(
    record: dict[str, Any],
    labels: Sequence[str],
    predictions: Sequence[Prediction],
    texts: Sequence[str],
    written: Callable[[str], str],
) -> dict[str, Any]:
    """Complete a record on the log's thread. `texts` are empty if they are not logged."""
    documents = [each.document(labels) for each in predictions]
    for document, text in zip(documents, texts, strict=False):
        document["text"] = written(text)
    return record | {"predictions": documents}
