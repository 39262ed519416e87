"""What every method shares: the request id, the counters, errors as statuses, and the end of streams at shutdown.

Methods take and give bytes, so that a large request which finds no place is refused before it is read, and bytes that
are no message are refused as any other mistake is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import perf_counter, perf_counter_ns
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from service.dataplane import INLINE_CHARACTERS, DataPlane
from service.errors import GRPC_STATUS, DeadlineExceeded, Malformed, RequestError, Unavailable
from service.record import Record, current
from service.request_ids import HEADER, RequestIds

logger = logging.getLogger(__name__)

Request = TypeVar("Request", bound=Message)

#: What answers a request, given the seconds until its caller's deadline, if it has one.
Answer = Callable[[Request, float | None], Awaitable[Message]]

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler is generic for type checkers alone

#: When to come again, in milliseconds; clients with a retry policy follow it.
_PUSHBACK = "grpc-retry-pushback-ms"

_NO_MESSAGE = "the message is not valid protobuf"

#: Seconds for which a stream may wait for its next message once the server is about to leave, and for which one that
#: never has to wait may go on.
_IDLE_SECONDS = 0.2
_LINGER_SECONDS = 5.0


class Caller:
    """Makes the handlers of methods that are counted."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane
        self._request_ids = RequestIds()
        self._reading: set[asyncio.Timeout] = set()  # of the streams that wait for a message
        self._linger_until: float | None = None  # on the event loop's clock, once the server is about to leave

    def leave(self) -> None:
        """Let streams hand over what they have on the way, and end them."""
        now = asyncio.get_running_loop().time()
        self._linger_until = now + _LINGER_SECONDS
        for timeout in self._reading:
            timeout.reschedule(now + _IDLE_SECONDS)

    def unary(self, route: str, parse: Callable[[bytes], Request], answer: Answer[Request]) -> Handler:
        """One request, one answer; a refusal becomes the status of the call."""

        async def method(content: bytes, context: Context, record: Record) -> bytes:
            remaining = context.time_remaining()
            if remaining is not None and remaining <= 0:
                raise DeadlineExceeded("the deadline had passed before the request was read")
            record.received = perf_counter_ns()
            if len(content) > INLINE_CHARACTERS:
                self._dataplane.expect_large()
            return (await answer(parse(content), remaining)).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(self._counted(route, method))

    def stream(self, route: str, parse: Callable[[bytes], Request], answer: Answer[Request]) -> Handler:
        """An answer to every request, in order; a refusal ends the call with its status.

        The next request is read only when the answer before it was taken.
        """

        async def method(requests: object, context: Context, record: Record) -> None:
            while (content := await self._read(context)) is not grpc.aio.EOF:
                message = await answer(parse(content), context.time_remaining())
                await context.write(message.SerializeToString())
            await asyncio.sleep(0)  # where the caller left, the requests end, and mostly at once there is word of why
            if context.cancelled():
                raise asyncio.CancelledError

        return grpc.stream_stream_rpc_method_handler(self._counted(route, method))

    async def _read(self, context: Context) -> Any:
        """The next message of a stream. Raises `Unavailable` once the server leaves and none is on the way."""
        when = None
        if self._linger_until is not None:
            when = min(self._linger_until, asyncio.get_running_loop().time() + _IDLE_SECONDS)
        timeout = asyncio.Timeout(when)
        self._reading.add(timeout)
        try:
            async with timeout:
                return await context.read()
        except TimeoutError:
            raise Unavailable("the server is shutting down; every message before was answered") from None
        finally:
            self._reading.discard(timeout)

    def _counted(
        self, route: str, method: Callable[[Any, Context, Record], Awaitable[Any]]
    ) -> Callable[[Any, Context], Awaitable[Any]]:
        metrics = self._dataplane.metrics

        async def counted(request: Any, context: Context) -> Any:
            started = perf_counter()
            status = "OK"
            record = self._begin(context)
            metrics.began("grpc")
            try:
                return await method(request, context, record)
            except (asyncio.CancelledError, grpc.aio.BaseError):  # the second where there is no one left to write to
                status = "CANCELLED"
                raise
            except Exception as error:
                refusal = as_refusal(error, route)
                status = GRPC_STATUS[refusal.code]
                await _refuse(context, record, refusal)
            finally:
                metrics.ended("grpc", route, status, perf_counter() - started, record)

        return counted

    def _begin(self, context: Context) -> Record:
        given = None
        for key, value in context.invocation_metadata() or ():
            if key == HEADER and isinstance(value, str):
                given = value
        record = Record(self._request_ids.choose(given))
        current.set(record)
        context.set_trailing_metadata(((HEADER, record.id),))
        return record


def uncounted(parse: Callable[[bytes], Request], answer: Callable[[Request, Context], Awaitable[Message]]) -> Handler:
    """The handler of a method that platforms ask all the time and that no one counts."""

    async def method(content: bytes, context: Context) -> bytes:
        try:
            request = parse(content)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _NO_MESSAGE)
        return (await answer(request, context)).SerializeToString()

    return grpc.unary_unary_rpc_method_handler(method)


def as_refusal(error: Exception, route: str) -> RequestError:
    """The error that a caller may see; what is a defect of ours is logged and kept from it."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DecodeError):
        return Malformed(_NO_MESSAGE)
    logger.error("%s failed", route, exc_info=error)
    return RequestError("internal error")


async def _refuse(context: Context, record: Record, refusal: RequestError) -> NoReturn:
    if refusal.retry_after is not None:
        context.set_trailing_metadata(((HEADER, record.id), (_PUSHBACK, str(refusal.retry_after * 1000))))
    await context.abort(grpc.StatusCode[GRPC_STATUS[refusal.code]], refusal.message)
    raise AssertionError("abort raises")
