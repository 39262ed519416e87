"""The context of the current request, which all code that handles it can read and extend."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every command imports this module for its logs, and `--help` must not load NumPy
    from sentiment_conv1d.model.artifact import Manifest
    from sentiment_conv1d.service.telemetry.statistics import Stages, Statistics


class RequestContext:
    """One request or call. Times are those of `perf_counter_ns`, or 0 if they have not been reached."""

    __slots__ = (
        *("decoded", "id", "manifest", "predicted", "protocol", "received", "route", "stages", "statistics", "texts"),
        "waiting",
    )

    def __init__(self, identity: str, protocol: str = "", route: str = "") -> None:
        self.id = identity
        self.protocol = protocol  # `rest` or `grpc`
        self.route = route  # its label in the metrics; empty if it is not known when the request begins
        self.received = 0  # when the whole body was read; 0 for a stream of messages
        self.decoded = 0  # when the texts were decoded
        self.predicted = 0  # when the predictions were complete
        self.manifest: Manifest | None = None  # of the model that the request uses
        self.statistics: Statistics | None = None  # of the same model
        self.stages: Stages | None = None  # durations of queueing, tokenization and inference
        self.texts = 0
        self.waiting: asyncio.Future[Any] | None = None  # the batch that the request waits for


#: The context of the current request, or None.
current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)

#: The ids of the trace and the span in hexadecimal, or None if the request is not traced.
current_trace: ContextVar[tuple[str, str] | None] = ContextVar("trace", default=None)


def current_id() -> str:
    """Return the id of the current request, or an empty string."""
    context = current.get()
    return "" if context is None else context.id
