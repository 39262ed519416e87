"""A span around every gRPC call."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from google.rpc.code_pb2 import Code

from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.service.telemetry.request_context import current
from sentiment_conv1d.service.telemetry.tracing import Trace, Tracer

_Run = Callable[[Call], Coroutine[Any, Any, None]]

#: The statuses of `RequestError` that count as server errors (OpenTelemetry, semantic conventions for gRPC).
_FAILURES = ("DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE")


def traced(tracer: Tracer, route: str, run: _Run) -> _Run:
    """Wrap what a method runs in a span."""
    name = route.lstrip("/")
    service, _, method = name.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

    async def run_in_span(call: Call) -> None:
        trace = Trace(tracer, name, call.fields, attributes)
        call.trailing += trace.fields
        try:
            await run(call)
        finally:
            status = call.status or "CANCELLED"
            trace.end(name, {"rpc.grpc.status_code": Code.Value(status)}, current.get(), failed=status in _FAILURES)

    return run_in_span
