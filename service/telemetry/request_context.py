"""The context of the current request, which all code that handles it can read and extend."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every command imports this module for its logs, and `--help` must not load NumPy
    from sentiment_conv1d.model.manifest import Manifest
    from sentiment_conv1d.service.telemetry.statistics import Stages, Statistics


@dataclass(slots=True, eq=False, repr=False)
class RequestContext:
    """One request or call. Times are those of `perf_counter_ns`, or 0 if they have not been reached."""

    id: str
    protocol: str = ""  # `rest` or `grpc`
    route: str = ""  # its label in the metrics; empty if it is not known when the request begins
    headers: Mapping[bytes, bytes] = field(default_factory=dict)  # or the metadata of a call, by lower-case name
    caller: str = ""  # the client's address, or the name of its key: see `Shares`
    started: float = field(default_factory=perf_counter)  # in seconds
    received: int = 0  # when the whole body was read; 0 for a stream of messages
    decoded: int = 0  # when the texts were decoded
    predicted: int = 0  # when the predictions were complete
    manifest: Manifest | None = None  # of the model that the request uses
    statistics: Statistics | None = None  # of the same model
    stages: Stages | None = None  # durations of queueing, tokenization and inference
    texts: int = 0
    time_limit: float | None = None  # seconds until the client's deadline, when the request was read
    hurried: bool = False  # whether the client set a time limit that is not above the service's own
    trace: Any = None  # the `Trace` of a call, if it is traced


#: The context of the current request, or None.
current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)

#: The ids of the trace and the span in hexadecimal, or None if the request is not traced.
current_trace: ContextVar[tuple[str, str] | None] = ContextVar("trace", default=None)


def current_id() -> str:
    """Return the id of the current request, or an empty string."""
    context = current.get()
    return "" if context is None else context.id


def current_caller() -> str:
    """Return who sends the current request, or an empty string."""
    context = current.get()
    return "" if context is None else context.caller
