"""A span around every gRPC call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from service.record import current
from service.tracing import FIELDS, Tracer

_Handler = Any  # grpc.RpcMethodHandler is generic for type checkers alone

#: Codes for which the service is to blame, as OpenTelemetry has it.
_FAILURES = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)


class Traced(grpc.aio.ServerInterceptor):
    """Traces calls of these methods; health checks and reflection leave no trace."""

    def __init__(self, tracer: Tracer, methods: frozenset[str]) -> None:
        self._tracer = tracer
        self._methods = methods

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]], details: grpc.HandlerCallDetails
    ) -> _Handler:
        """The method's handler with a span around it."""
        handler = await continuation(details)
        if handler is None or details.method not in self._methods:
            return handler
        codecs = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary is not None:

            async def answer(request: Any, context: Any) -> Any:
                with self._span(details.method, context) as traced:
                    return await handler.unary_unary(request, traced)

            return grpc.unary_unary_rpc_method_handler(answer, *codecs)

        async def converse(requests: Any, context: Any) -> None:
            with self._span(details.method, context) as traced:
                await handler.stream_stream(requests, traced)

        return grpc.stream_stream_rpc_method_handler(converse, *codecs)

    @contextmanager
    def _span(self, method: str, context: Any) -> Iterator[_Context]:
        metadata = context.invocation_metadata() or ()
        fields = {key: value for key, value in metadata if key in FIELDS and isinstance(value, str)}
        name = method.lstrip("/")
        service, _, short = name.rpartition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": short}
        trace = self._tracer.begin(name, fields, attributes)
        cancelled = False
        try:
            yield _Context(context, trace.fields)
        except (asyncio.CancelledError, GeneratorExit):
            cancelled = True
            raise
        finally:
            code = grpc.StatusCode.CANCELLED.value[0] if cancelled else _number(context.code())
            trace.end(name, {"rpc.grpc.status_code": code}, current.get(), failed=code in _FAILURES)


class _Context:
    """A call's context that adds the fields of a trace to what goes back with the status."""

    def __init__(self, context: Any, fields: tuple[tuple[str, str], ...]) -> None:
        self._context = context
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """As the context does, and more."""
        self._context.set_trailing_metadata((*metadata, *self._fields))


def _number(code: Any) -> int:
    """Of a status code, which gRPC gives as a number or as one of its names."""
    number: int = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
    return number
