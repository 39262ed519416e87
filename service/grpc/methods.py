"""What all methods share: parsing, limits, metrics and traces.

Methods receive and return bytes. A large request that exceeds the limits is therefore rejected before it is parsed, and
an invalid message is rejected like any other invalid request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from inspect import iscoroutinefunction
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import Code

from sentiment_conv1d.server.errors import DeadlineExceeded, Overloaded
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.service.grpc.fields import check
from sentiment_conv1d.service.grpc.service import Service, paths
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS, DataPlane
from sentiment_conv1d.service.scheduling.refusals import RefusalCost
from sentiment_conv1d.service.scheduling.work import Work
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import RequestContext

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

Request = TypeVar("Request", bound=Message)

#: Reads a message, and returns its work, or a coroutine that returns the answer.
Respond = Callable[[Request, RequestContext], Work[Message] | Coroutine[Any, Any, Message]]

#: The most requests of a stream that run together, and their bytes. This is about as much work as one long text, so
#: unary calls wait no longer behind a stream than behind another unary call.
_TOGETHER = 16
_TOGETHER_BYTES = 4096

#: The statuses of `RequestError` that count as server errors (OpenTelemetry, semantic conventions for gRPC).
_FAILURES = ("DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE")

_REFUSAL_COST = RefusalCost(request=0.00008, byte=8e-9)


class MethodBuilder:
    """Builds methods whose calls are counted in the metrics and, with a tracer, traced."""

    def __init__(self, dataplane: DataPlane, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._dataplane = dataplane
        self._metrics = metrics
        self._tracer = tracer

    def ended(self, call: Call, status: str) -> None:
        """Count the end of a call, and end its span."""
        context: RequestContext | None = call.context
        if context is not None:
            self._metrics.ended("grpc", context.route, status, perf_counter() - call.started, context)
            if context.trace is not None:
                attributes = {"rpc.grpc.status_code": Code.Value(status)}
                context.trace.end(context.route.lstrip("/"), attributes, context, failed=status in _FAILURES)

    def methods(self, service: Service, state: ServiceState) -> dict[str, Method]:
        """Build the methods of a service by path, the polled ones without metrics."""
        methods: dict[str, Method] = {}
        servicer = service.servicer(state)
        for method in service.descriptor.methods:
            [path] = paths(service.descriptor, method.name)
            kind, answer = GetMessageClass(method.input_type), getattr(servicer, method.name)
            if path in service.polled:
                methods[path] = uncounted(kind, answer)
            else:
                build = self.stream if method.client_streaming else self.unary
                methods[path] = build(path, kind, answer)
        return methods

    def unary(self, route: str, kind: type[Request], answer: Respond[Request]) -> Method:
        """Build a unary method for requests of this class."""
        parse = kind.FromString

        async def converse(call: Call, context: RequestContext) -> None:
            context.time_limit = _remaining(call)
            content = await call.message()
            context.received = perf_counter_ns()
            if len(content) > INLINE_CHARACTERS:
                with self._dataplane.parsing_large(len(content), context.caller):
                    await self._parsing_turn(content, kind, context)
                    read = answer(parse(content), context)
            else:
                read = answer(parse(content), context)
            await call.answer(await self._answer(read))

        def begin(call: Call) -> None:
            self._begin(call, _context(call, route))

        method = self._method(route, converse, streaming=False)._replace(begin=begin)
        if iscoroutinefunction(answer):
            return method
        return method._replace(start=self._starter(route, parse, answer), admit=self._expect)

    def stream(self, route: str, kind: type[Request], answer: Respond[Request]) -> Method:
        """Build a bidirectional stream that answers every request in order. A `RequestError` ends the call.

        Small requests that have already arrived run together. Later requests are read only after the client has read
        the earlier answers.
        """
        parse = kind.FromString

        async def one(content: bytes, call: Call, context: RequestContext) -> bytes:
            if len(content) > INLINE_CHARACTERS:
                await self._parsing_turn(content, kind, context)
            context.time_limit = call.remaining()
            return await self._answer(answer(parse(content), context))

        async def several(contents: Sequence[bytes], call: Call, context: RequestContext) -> None:
            answers: list[bytes] = []
            results = await asyncio.gather(
                *(one(content, call, context) for content in contents), return_exceptions=True
            )
            try:
                for content, result in zip(contents, results, strict=True):
                    if isinstance(result, Overloaded) and answers:
                        result = await one(content, call, context)  # it fits now that the others are answered
                    if isinstance(result, BaseException):
                        raise result
                    answers.append(result)
            finally:
                del results, result  # the frames of an error refer to it through these: a reference cycle
                if answers:
                    await call.write(*answers)

        async def converse(call: Call, context: RequestContext) -> None:
            while (content := await self._next(call)) is not None:
                if contents := call.more(content, _TOGETHER, _TOGETHER_BYTES):
                    await several((content, *contents), call, context)
                else:
                    await call.write(await one(content, call, context))
            call.end()

        return self._method(route, converse, streaming=True)

    async def _next(self, call: Call) -> bytes | None:
        """Return the next message of a stream, or None after the last one. Raises `RequestError`."""
        self._metrics.paused("grpc")
        try:
            return await call.read()
        finally:
            self._metrics.began("grpc")

    def _starter(
        self, route: str, parse: Callable[[bytes], Request], answer: Respond[Request]
    ) -> Callable[[Call, bytes], bool]:
        """Return the function that answers calls for little work without a task."""
        dataplane = self._dataplane

        def start(call: Call, content: bytes) -> bool:
            large = len(content) > INLINE_CHARACTERS or not dataplane.runs_in_turns
            context = _context(call, route)
            context.received = perf_counter_ns()

            def reply(result: Message | BaseException) -> None:
                with context:
                    call.reply(result.SerializeToString() if isinstance(result, Message) else result)

            with context:
                try:
                    if large:
                        # There may be no room any more.
                        dataplane.announce(len(content), context.caller, _REFUSAL_COST)
                        return False
                    context.time_limit = _remaining(call)
                    read = answer(parse(content), context)
                    if not isinstance(read, Work):
                        read.close()  # it needs a task, which reads the message again
                        return False
                    if not dataplane.start(read, reply):
                        return False
                    self._begin(call, context)
                    call.lost_before_reply = partial(dataplane.cancel, read)
                except Exception as error:
                    self._begin(call, context)
                    reply(error)
            return True

        return start

    async def _answer(self, read: Work[Message] | Coroutine[Any, Any, Message]) -> bytes:
        message = await (self._dataplane.run(read) if isinstance(read, Work) else read)
        return message.SerializeToString()

    def _expect(self, size: int, caller: str) -> None:
        self._dataplane.expect(size, caller, _REFUSAL_COST)

    async def _parsing_turn(self, content: bytes, kind: type[Message], context: RequestContext) -> None:
        """Wait until a large message may be parsed. Raises `TooLarge` if it has too many fields or numbers."""
        await self._dataplane.parsing.turn(len(content), context.caller)
        check(content, kind, self._dataplane.limits)

    def _begin(self, call: Call, context: RequestContext) -> None:
        """Count a call, and begin its trace."""
        call.context = context
        self._metrics.began("grpc")
        if self._tracer is not None:
            name = context.route.lstrip("/")
            service, _, method = name.rpartition("/")
            attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
            context.trace = self._tracer.begin(name, call.fields, attributes, call.started)
            call.trailing += context.trace.fields

    def _method(
        self, route: str, converse: Callable[[Call, RequestContext], Awaitable[None]], *, streaming: bool
    ) -> Method:
        async def run(call: Call) -> None:
            context = _context(call, route)
            self._begin(call, context)
            with context:
                await converse(call, context)

        return Method(run, streaming)


def uncounted(kind: type[Request], answer: Callable[[Request], Awaitable[Message]]) -> Method:
    """Build a unary method without metrics, for what platforms poll all the time."""

    async def run(call: Call) -> None:
        request = kind.FromString(await call.message())
        await call.answer((await answer(request)).SerializeToString())

    return Method(run, message_bytes=INLINE_CHARACTERS)


def _context(call: Call, route: str) -> RequestContext:
    return RequestContext(call.request_id, "grpc", route, call.charge.caller)


def _remaining(call: Call) -> float | None:
    """Return the seconds until the client's deadline, or None if it set none. Raises `DeadlineExceeded`."""
    remaining = call.remaining()
    if remaining is not None and remaining <= 0:
        raise DeadlineExceeded("the deadline had passed before the request was read")
    return remaining
