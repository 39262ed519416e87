"""What every method shares: the request id, the counters, errors as statuses, and the end of streams at shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter, perf_counter_ns
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError

from service.dataplane import DataPlane
from service.errors import GRPC_STATUS, DeadlineExceeded, Malformed, RequestError, Unavailable
from service.record import Record, current
from service.request_ids import HEADER, RequestIds

logger = logging.getLogger(__name__)

Message = TypeVar("Message")

#: When to come again, in milliseconds; clients with a retry policy follow it.
_PUSHBACK = "grpc-retry-pushback-ms"
Context = grpc.aio.ServicerContext[Any, Any]


#: Seconds for which a stream may wait for its next message once the server is about to leave, and for which one that
#: never has to wait may go on.
_IDLE_SECONDS = 0.2
_LINGER_SECONDS = 5.0


class Caller:
    """Runs the bodies of methods."""

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

    async def messages(self, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """The messages of a stream. Raises `Unavailable` once the server leaves and none is on the way."""
        loop = asyncio.get_running_loop()
        while True:
            when = None
            if self._linger_until is not None:
                when = min(self._linger_until, loop.time() + _IDLE_SECONDS)
            timeout = asyncio.Timeout(when)
            self._reading.add(timeout)
            try:
                async with timeout:
                    message = await anext(requests)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Unavailable("the server is shutting down; every message before was answered") from None
            finally:
                self._reading.discard(timeout)
            yield message

    async def unary(self, route: str, context: Context, answer: Callable[[], Awaitable[Message]]) -> Message:
        """One request, one answer; a refusal becomes the status of the call."""
        started = perf_counter()
        status = "OK"
        record = self._begin(context)
        try:
            if (remaining := context.time_remaining()) is not None and remaining <= 0:
                raise DeadlineExceeded("the deadline had passed before the request was read")
            record.received = perf_counter_ns()
            return await answer()
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception as error:
            refusal = as_refusal(error, route)
            status = GRPC_STATUS[refusal.code]
            await self._refuse(context, record, refusal)
        finally:
            self._dataplane.metrics.ended("grpc", route, status, perf_counter() - started, record)

    async def stream(self, route: str, context: Context, answers: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """As many answers as there are; a refusal ends the call with its status."""
        started = perf_counter()
        status = "OK"
        record = self._begin(context)
        try:
            async for answer in answers:
                yield answer
            await asyncio.sleep(0)  # where the caller left, the requests end, and mostly at once there is word of why
            if context.cancelled():
                status = "CANCELLED"
        except (asyncio.CancelledError, GeneratorExit):  # the second where the caller left without taking an answer
            status = "CANCELLED"
            raise
        except Exception as error:
            refusal = as_refusal(error, route)
            status = GRPC_STATUS[refusal.code]
            await self._refuse(context, record, refusal)
        finally:
            self._dataplane.metrics.ended("grpc", route, status, perf_counter() - started, record)

    async def _refuse(self, context: Context, record: Record, refusal: RequestError) -> NoReturn:
        if refusal.retry_after is not None:
            context.set_trailing_metadata(((HEADER, record.id), (_PUSHBACK, str(refusal.retry_after * 1000))))
        await context.abort(grpc.StatusCode[GRPC_STATUS[refusal.code]], refusal.message)
        raise AssertionError("abort raises")

    def _begin(self, context: Context) -> Record:
        given = None
        for key, value in context.invocation_metadata() or ():
            if key == HEADER and isinstance(value, str):
                given = value
        request_id = self._request_ids.choose(given)
        record = Record(request_id)
        current.set(record)
        self._dataplane.metrics.began("grpc")
        context.set_trailing_metadata(((HEADER, request_id),))
        return record


def as_refusal(error: Exception, route: str) -> RequestError:
    """The error that a caller may see; what is a defect of ours is logged and kept from it."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, DecodeError):  # of a message in a stream; before a single one, gRPC does not come here
        return Malformed("the message is not valid protobuf")
    logger.error("%s failed", route, exc_info=error)
    return RequestError("internal error")
