"""What is known of one request or call. The code that handles it passes it on as an argument."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # every command imports this module for its logs, and `--help` must not load NumPy
    from sentiment_conv1d.artifact.manifest import Manifest
    from sentiment_conv1d.service.telemetry.statistics import BatchTimes, Statistics


@dataclass(slots=True, eq=False, repr=False)
class RequestContext:
    """One request or call. Times are those of `perf_counter_ns`, or 0 if they have not been reached.

    Log lines that are written in a `with` block of it have its id and those of its trace.
    """

    id: str
    protocol: str = ""  # `rest` or `grpc`
    route: str = ""  # its label in the metrics; empty if it is not known when the request begins
    caller: str = ""  # the client's address, or the name of its key: see `Shares`
    started: float = field(default_factory=perf_counter)  # in seconds
    received: int = 0  # when the whole body was read; 0 for a stream of messages
    decoded: int = 0  # when the texts were decoded
    predicted: int = 0  # when the predictions were complete
    manifest: Manifest | None = None  # of the model that the request uses
    statistics: Statistics | None = None  # of the same model
    batch: BatchTimes | None = None  # the times of the batch in which it ran
    texts: int = 0
    time_limit: float | None = None  # seconds until the client's deadline, when the request was read
    hurried: bool = False  # whether the client set a time limit that is not above the service's own
    trace: Any = None  # its `Trace`, if it is traced
    fields: tuple[tuple[bytes, bytes], ...] = ()  # header fields of its answer for CORS and traces

    def __enter__(self) -> Self:
        _logged.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _logged.set(None)


#: The request that log lines are about, or None. Only `RequestContext` sets it.
_logged: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def logged_request() -> RequestContext | None:
    """Return the request that a log line of now is about, or None."""
    return _logged.get()
