"""The span of a gRPC call."""

from __future__ import annotations

from google.rpc.code_pb2 import Code

from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.telemetry.tracing import Trace, Tracer

#: The statuses of `RequestError` that count as server errors (OpenTelemetry, semantic conventions for gRPC).
_FAILURES = ("DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE")


def begin(tracer: Tracer, call: Call, route: str) -> Trace:
    """Start the span of a call, and tell the client about it."""
    name = route.lstrip("/")
    service, _, method = name.rpartition("/")
    trace = Trace(tracer, name, call.fields, {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method})
    call.trailing += trace.fields
    return trace


def end(context: RequestContext, status: str) -> None:
    """End the span of a call with this status."""
    attributes = {"rpc.grpc.status_code": Code.Value(status)}
    context.trace.end(context.route.lstrip("/"), attributes, context, failed=status in _FAILURES)
