"""OpenTelemetry traces: a span for every request, with a child span for each stage.

OpenTelemetry's own environment variables set the exporter, the sampling and the service name. This module is imported
only if tracing is enabled, and before the workers are forked.
"""

from __future__ import annotations

import logging
import mmap
import threading
from collections.abc import Mapping, Sequence
from time import perf_counter_ns, time_ns
from typing import Any

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import extract
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
    from opentelemetry.trace import (
        INVALID_SPAN_CONTEXT,
        Span,
        SpanKind,
        Status,
        StatusCode,
        get_current_span,
        set_span_in_context,
    )
    from opentelemetry.trace import Tracer as OpenTelemetryTracer
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    from sentiment_conv1d.commands.installation import install_hint
    from sentiment_conv1d.service.errors import StartupError

    raise StartupError(f"tracing needs OpenTelemetry, {install_hint('tracing')}") from error

from sentiment_conv1d.service.telemetry.request_context import RequestContext
from sentiment_conv1d.service.version import package_version

#: HTTP headers and gRPC metadata keys that carry the trace context. Baggage, which no span has, takes 0.1 s to parse.
_PARENT, _STATE = b"traceparent", b"tracestate"

logger = logging.getLogger(__name__)

#: The flag of a trace whose id is random (W3C Trace Context, level 2).
_RANDOM = 0x02

_NO_PARENT = Context()

#: Warns of these fields, which anybody can send, in lines of up to 8 kB.
logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)

#: Seconds for the last spans at shutdown, so that a collector that does not answer does not block it.
_FLUSH_SECONDS = 3.0

#: 1 if the last line about the collector says that it does not take traces. All workers share it.
_failing = mmap.mmap(-1, 1)

Attributes = Mapping[str, AttributeValue]


class _Ids(RandomIdGenerator):
    """`chosen` is the id of the next trace, if it is already chosen."""

    chosen = 0

    def generate_trace_id(self) -> int:
        chosen, self.chosen = self.chosen, 0
        return chosen or super().generate_trace_id()


class _Decided(Sampler):
    """Asks another sampler. `result` is the result for the next span, if that one was already asked."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self.result: SamplingResult | None = None

    def should_sample(self, *arguments: Any, **keywords: Any) -> SamplingResult:
        result, self.result = self.result, None
        return result or self._sampler.should_sample(*arguments, **keywords)

    def get_description(self) -> str:
        return self._sampler.get_description()


class _Exporter(OTLPSpanExporter):
    """Logs once, not for every batch and worker, that the collector does not take traces, and when it does again."""

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self._log)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS and _failing[0]:
            _failing[0] = 0
            logger.info("traces are sent to %s again", self._endpoint)
        return result

    def _log(self, record: logging.LogRecord) -> bool:
        """Log the first problem instead of OpenTelemetry, which logs every attempt."""
        if not _failing[0]:
            _failing[0] = 1
            logger.warning(
                "traces cannot be sent to %s, and are lost until it takes them: %s", self._endpoint, record.getMessage()
            )
        return False


class Tracer:
    """Creates spans, and exports them on a separate thread. Create it after the fork."""

    def __init__(self) -> None:
        ours = Resource({SERVICE_NAME: "sentiment-conv1d", SERVICE_VERSION: package_version()})
        resource = Resource.create().merge(ours).merge(OTELResourceDetector().detect())
        self._ids = _Ids()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        self._provider.sampler = self._sampler = _Decided(self._provider.sampler)
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter()))
        self._tracer = self._provider.get_tracer("service", package_version())

    def begin(self, name: str, headers: Mapping[bytes, bytes], attributes: Attributes, started: float) -> Trace:
        """Begin the trace of a request with these headers, which started at this time of `perf_counter`.

        The sampler is asked before a span exists, because a span costs more than a short prediction.
        """
        parent, caller = _NO_PARENT, INVALID_SPAN_CONTEXT
        if _PARENT in headers:
            given = {name.decode(): headers[name].decode("latin-1") for name in (_PARENT, _STATE) if name in headers}
            parent = extract(given)
            caller = get_current_span(parent).get_span_context()
        trace_id = caller.trace_id or self._ids.generate_trace_id()
        result = self._sampler.should_sample(parent, trace_id, name, SpanKind.SERVER, attributes)
        if result.decision is Decision.DROP:
            random = caller.trace_flags & _RANDOM if caller.trace_id else _RANDOM
            return Trace(trace_id, self._ids.generate_span_id(), random)
        if not caller.trace_id:
            self._ids.chosen = trace_id
        self._sampler.result = result
        clock = time_ns() - perf_counter_ns()
        span = self._tracer.start_span(
            name, parent, SpanKind.SERVER, attributes, start_time=int(started * 1_000_000_000) + clock
        )
        return RecordedTrace(self._tracer, span, clock)

    def close(self) -> None:
        """Export the remaining spans within a time limit."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)


class Trace:
    """The trace of one request, without a span, because it is not sampled.

    `ids` are those of the trace and of the request's part of it, in hexadecimal. `fields` are the headers or metadata
    that tell the client about them.
    """

    __slots__ = ("fields", "ids")

    def __init__(self, trace_id: int, span_id: int, flags: int) -> None:
        self.ids = trace, span = f"{trace_id:032x}", f"{span_id:016x}"
        parent = f"00-{trace}-{span}-{flags:02x}".encode()
        # Most programs read the first field. The second is the response header in the W3C draft.
        self.fields = ((b"traceparent", parent), (b"traceresponse", parent))

    def end(self, name: str, attributes: Attributes, context: RequestContext, *, failed: bool) -> None:
        """End the trace of a request, whose span has this name and these attributes too."""


class RecordedTrace(Trace):
    """The trace of one request with its span, which a sampler has chosen.

    `clock` is the difference in nanoseconds between the time and `perf_counter_ns`.
    """

    __slots__ = ("_clock", "_span", "_tracer")

    def __init__(self, tracer: OpenTelemetryTracer, span: Span, clock: int) -> None:
        context = span.get_span_context()
        super().__init__(context.trace_id, context.span_id, context.trace_flags)
        self._tracer = tracer
        self._span = span
        self._clock = clock

    def end(self, name: str, attributes: Attributes, context: RequestContext, *, failed: bool) -> None:
        ended = perf_counter_ns()
        self._span.update_name(name)
        self._span.set_attributes(attributes)
        self._describe(context, ended)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(ended + self._clock)

    def _describe(self, context: RequestContext, ended: int) -> None:
        self._span.set_attribute("sentiment.request_id", context.id)
        if (manifest := context.manifest) is None:
            return
        self._span.set_attributes({"sentiment.model": manifest.name, "sentiment.version": manifest.version})
        if not context.received or context.batch is None:
            return
        self._span.set_attribute("sentiment.texts", context.texts)
        started, tokenize, infer = context.batch
        parent = set_span_in_context(self._span)
        for name, start, end in (
            ("decode", context.received, context.decoded),
            ("queue", context.decoded, started),
            ("tokenize", started, started + tokenize),
            ("infer", started + tokenize, started + tokenize + infer),
            ("encode", context.predicted, ended),
        ):
            self._tracer.start_span(name, parent, start_time=start + self._clock).end(end + self._clock)
