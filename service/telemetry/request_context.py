"""The context of the request that is being answered, which any code that handles it can read and add to."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # logs, which every command configures, read the context: NumPy would be loaded to print help
    from sentiment_conv1d.model.artifact import Manifest
    from sentiment_conv1d.service.telemetry.statistics import Stages, Statistics


class RequestContext:
    """One request or call. Moments are nanoseconds of `perf_counter_ns`, 0 if they have not come yet."""

    __slots__ = ("decoded", "id", "manifest", "predicted", "received", "stages", "statistics", "texts", "waiting")

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.received = 0  # when the whole body was read; a stream of messages never is
        self.decoded = 0  # when it was decoded to texts
        self.predicted = 0  # when the predictions were there
        self.manifest: Manifest | None = None  # of the model that was asked
        self.statistics: Statistics | None = None  # of the same
        self.stages: Stages | None = None  # how long the texts waited, were tokenized and ran
        self.texts = 0
        self.waiting: asyncio.Future[Any] | None = None  # for its batch


#: None outside of a request.
current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)

#: The ids of the trace and the span, in hexadecimal digits; None outside of a traced request.
current_trace: ContextVar[tuple[str, str] | None] = ContextVar("trace", default=None)


def current_id() -> str:
    """The id of the request, empty outside of one."""
    context = current.get()
    return "" if context is None else context.id
