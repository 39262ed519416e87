"""The request log: a sample of the answered requests, to detect drift and to label texts.

If the sink is slow and the queue of the records is full, records are dropped. They never delay a request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from random import random
from sys import getsizeof
from typing import TYPE_CHECKING, Any, NamedTuple

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


class _Record(NamedTuple):
    """One request of the sample. `texts` is empty if texts are not logged."""

    time: int  # milliseconds since 1970
    request_id: str
    protocol: str
    route: str
    manifest: Manifest
    predictions: Sequence[Prediction]
    texts: Sequence[str]

    def fields(self, written: Callable[[str], str] | None) -> dict[str, Any]:
        """Return the record as it is written, with the texts in the form that `written` returns."""
        predictions = [each.document(self.manifest.labels) for each in self.predictions]
        if written is not None:
            for prediction, text in zip(predictions, self.texts, strict=False):
                prediction["text"] = written(text)
        return {
            "time": timestamp(self.time),
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
        time: int,
    ) -> None:
        """Log a request if it is in the sample. Never waits.

        `rows` are its texts, or ids, which are not logged. `time` is in milliseconds since 1970.
        """
        if random() >= self._share:  # noqa: S311 - a sample is no secret
            return
        texts = rows if self._written is not None and isinstance(rows[0], str) else ()
        if (text_bytes := sum(map(getsizeof, texts))) > _MAX_TEXTS:
            texts, text_bytes = (), 0
        size = len(predictions) * (_PREDICTION_BYTES + _LABEL_BYTES * len(manifest.labels)) + text_bytes
        if not self._queue.has_room(size):
            self._count("dropped")
            return
        record = _Record(time, context.id, context.protocol, context.route, manifest, predictions, texts)
        self._queue.put(partial(record.fields, self._written), size, self._done)

    def _done(self, failure: Exception | None) -> None:
        self._count("written" if failure is None else "failed")


def timestamp(milliseconds: int) -> str:
    """Return a time since 1970 as logs write it, in ISO 8601 and UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
