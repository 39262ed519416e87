"""OpenTelemetry traces: a span for every request, with a child for each of its stages.

Where they go, how many and under which name is said by OpenTelemetry's own variables. Nothing here is imported unless
tracing is on.
"""

from __future__ import annotations

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
    from sentiment_conv1d.service.errors import StartupError

    raise StartupError(
        "tracing needs OpenTelemetry, install the `tracing` extra "
        "(`pip install --require-hashes -r requirements/tracing.txt`)"
    ) from error

from sentiment_conv1d.service.telemetry.request_context import RequestContext, current_trace
from sentiment_conv1d.service.version import package_version

#: Request headers, and keys of gRPC metadata, in which the context of a trace comes.
FIELDS = frozenset({"traceparent", "tracestate", "baggage"})

#: Seconds for the last spans on the way out. A collector that does not answer must not keep the service.
_FLUSH_SECONDS = 3.0

Attributes = Mapping[str, AttributeValue]


class Tracer:
    """Makes spans and sends them off on a thread of its own; made after the fork of a worker, not before."""

    def __init__(self) -> None:
        ours = Resource({SERVICE_NAME: "sentiment-conv1d", SERVICE_VERSION: package_version()})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("service", package_version())

    def begin(self, name: str, fields: Mapping[str, str], attributes: Attributes) -> Trace:
        """A request has come, with these of the `FIELDS`; log lines have the trace's id until it ends."""
        return Trace(self, name, fields, attributes)

    def close(self) -> None:
        """Send what is left, if that does not take long."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)


class Trace:
    """The span of one request. `fields` are what the caller gets to know of it, as headers or metadata."""

    def __init__(self, tracer: Tracer, name: str, fields: Mapping[str, str], attributes: Attributes) -> None:
        self._tracer = tracer._tracer
        self._clock = time_ns() - perf_counter_ns()
        self._span = self._tracer.start_span(
            name, context=extract(fields), kind=SpanKind.SERVER, attributes=attributes, start_time=time_ns()
        )
        context = self._span.get_span_context()
        trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        parent = f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"
        # The second is what W3C's draft of an answer's header is called, the first what most programs look for.
        self.fields = (("traceparent", parent), ("traceresponse", parent))
        current_trace.set((trace_id, span_id))

    def end(self, name: str, attributes: Attributes, context: RequestContext | None, *, failed: bool) -> None:
        """The request is answered."""
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
        self._stage("decode", context.received, began)
        self._stage("queue", began, began + queue)
        self._stage("tokenize", began + queue, began + queue + tokenize)
        self._stage("infer", began + queue + tokenize, began + queue + tokenize + infer)
        self._stage("encode", context.predicted, ended)

    def _stage(self, name: str, began: int, ended: int) -> None:
        context = set_span_in_context(self._span)
        span = self._tracer.start_span(name, context=context, start_time=began + self._clock)
        span.end(ended + self._clock)
