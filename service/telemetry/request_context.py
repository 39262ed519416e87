"""The context of the request that is being answered: what any code on its way can read and add to."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sentiment_conv1d.service.inference.batching import Done
    from sentiment_conv1d.service.inference.classifier import Classifier


class RequestContext:
    """One request or call. The moments are nanoseconds of `perf_counter_ns`, 0 for what has not been."""

    __slots__ = ("classifier", "decoded", "id", "pieces", "predicted", "received", "waiting")

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.received = 0  # all of the body is there; of a stream of messages it never is
        self.decoded = 0  # the texts are out of it
        self.predicted = 0  # the predictions are there
        self.pieces: Sequence[Done] = ()  # in which the texts ran
        self.classifier: Classifier | None = None  # the model that was asked
        self.waiting: asyncio.Future[Any] | None = None  # its place in a batch


#: None outside of a request.
current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)

#: The ids of the trace and the span, in hexadecimal digits; None outside of a traced request.
current_trace: ContextVar[tuple[str, str] | None] = ContextVar("trace", default=None)


def current_id() -> str:
    """The id of the request, empty outside of one."""
    context = current.get()
    return "" if context is None else context.id
