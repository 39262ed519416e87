"""OpenTelemetry traces: a span for every request, with a child span for each stage.

OpenTelemetry's own environment variables set the exporter, the sampling and the service name. This module is imported
only if tracing is enabled.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from time import perf_counter_ns, time_ns

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import extract
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    from sentiment_conv1d.commands.installation import install_hint
    from sentiment_conv1d.service.errors import StartupError

    raise StartupError(f"tracing needs OpenTelemetry, {install_hint('tracing')}") from error

from sentiment_conv1d.service.telemetry.request_context import RequestContext, current_trace
from sentiment_conv1d.service.version import package_version

#: HTTP headers and gRPC metadata keys that carry the trace context. Baggage, which no span has, takes 0.1 s to parse.
_FIELDS = ("traceparent", "tracestate")

#: Warns of these fields, which anybody can send, in lines of up to 8 kB.
logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)

#: Seconds for the last spans at shutdown, so that a collector that does not answer does not block it.
_FLUSH_SECONDS = 3.0

Attributes = Mapping[str, AttributeValue]


class Tracer:
    """Creates spans, and exports them on a separate thread. Create it after the fork."""

    def __init__(self) -> None:
        ours = Resource({SERVICE_NAME: "sentiment-conv1d", SERVICE_VERSION: package_version()})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self._provider.get_tracer("service", package_version())

    def begin(self, name: str, headers: Mapping[bytes, bytes], attributes: Attributes) -> Trace:
        """Start the span of a request with these headers. Log lines contain the trace id until it ends."""
        return Trace(self, name, headers, attributes)

    def close(self) -> None:
        """Export the remaining spans within a time limit."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)


class Trace:
    """The span of one request. `fields` are the headers or metadata that tell the client about it."""

    def __init__(self, tracer: Tracer, name: str, headers: Mapping[bytes, bytes], attributes: Attributes) -> None:
        given = {field: headers[field.encode()].decode("latin-1") for field in _FIELDS if field.encode() in headers}
        self._tracer = tracer.tracer
        self._clock = time_ns() - perf_counter_ns()
        self._span = self._tracer.start_span(
            name, context=extract(given), kind=SpanKind.SERVER, attributes=attributes, start_time=time_ns()
        )
        context = self._span.get_span_context()
        trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        parent = f"00-{trace_id}-{span_id}-{context.trace_flags:02x}".encode()
        # Most programs read the first field. The second is the response header in the W3C draft.
        self.fields = ((b"traceparent", parent), (b"traceresponse", parent))
        current_trace.set((trace_id, span_id))

    def end(self, name: str, attributes: Attributes, context: RequestContext | None, *, failed: bool) -> None:
        """End the span."""
        if self._span.is_recording():
            ended = perf_counter_ns()
            self._span.update_name(name)
            self._span.set_attributes(attributes)
            if context is not None:
                self._describe(context, ended)
            if failed:
                self._span.set_status(Status(StatusCode.ERROR))
            self._span.end(ended + self._clock)
        current_trace.set(None)

    def _describe(self, context: RequestContext, ended: int) -> None:
        self._span.set_attribute("sentiment.request_id", context.id)
        if (manifest := context.manifest) is None:
            return
        self._span.set_attributes({"sentiment.model": manifest.name, "sentiment.version": manifest.version})
        if not context.received or context.stages is None:
            return
        self._span.set_attribute("sentiment.texts", context.texts)
        queue, tokenize, infer = context.stages
        began = context.decoded
        parent = set_span_in_context(self._span)
        for name, start, end in (
            ("decode", context.received, began),
            ("queue", began, began + queue),
            ("tokenize", began + queue, began + queue + tokenize),
            ("infer", began + queue + tokenize, began + queue + tokenize + infer),
            ("encode", context.predicted, ended),
        ):
            self._tracer.start_span(name, parent, start_time=start + self._clock).end(end + self._clock)
