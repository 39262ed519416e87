"""A span around every gRPC call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from google.rpc.code_pb2 import Code

from sentiment_conv1d.service.errors import ClientDisconnected
from sentiment_conv1d.service.grpc.transport.call import Call
from sentiment_conv1d.service.telemetry.request_context import current
from sentiment_conv1d.service.telemetry.tracing import Trace, Tracer

_Run = Callable[[Call], Coroutine[Any, Any, None]]

#: Status codes that count as server errors (OpenTelemetry, semantic conventions for gRPC).
_FAILURES = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.UNIMPLEMENTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)


def traced(tracer: Tracer, route: str, run: _Run) -> _Run:
    """Wrap what a method runs in a span."""
    name = route.lstrip("/")
    service, _, method = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

    async def run_in_span(call: Call) -> None:
        trace = Trace(tracer, name, call.fields, attributes)
        call.trailing += trace.fields
        gone = False
        try:
            await run(call)
        except (asyncio.CancelledError, ClientDisconnected):
            gone = True
            raise
        finally:
            status = Code.CANCELLED if gone or call.status is None else call.status
            trace.end(name, {"rpc.grpc.status_code": status}, current.get(), failed=status in _FAILURES)

    return run_in_span
