"""The gRPC server of one process. It shares the event loop with REST.

It is built on an HTTP/2 library instead of grpcio's server, which accepts calls on its own threads and passes them to
the event loop one per turn. That costs more than the rest of a call and prevents calls from sharing a batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from random import uniform
from time import perf_counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from sentiment_conv1d.server.errors import (
    HeadTooLarge,
    Overloaded,
    RequestError,
    RequestTimeout,
    Unauthorized,
    Unavailable,
    UnknownMethod,
)
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.call_context import CallContext, ConnectionLimits
from sentiment_conv1d.server.grpc.connection import GrpcConnection
from sentiment_conv1d.server.grpc.http2 import Fields
from sentiment_conv1d.server.grpc.messages import check_encoding
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.places import Connection
from sentiment_conv1d.server.network.turns import Turns
from sentiment_conv1d.server.request_ids import HEADER, choose_id
from sentiment_conv1d.service.grpc import health, reflection
from sentiment_conv1d.service.grpc.methods import MethodBuilder
from sentiment_conv1d.service.grpc.service import Service, paths
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.telemetry.logs import log_request
from sentiment_conv1d.service.telemetry.metrics import FAILED, REJECTED

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)

#: Bytes of a call's header fields, counted as in RFC 9113, section 6.5.2.
_MAX_HEAD_BYTES = 16_384

#: Header fields that are read. A call keeps only these, because clients can send long ones of their own.
_KEPT = frozenset(
    {
        *(b"content-type", b"authorization", b"x-api-key", HEADER),
        *(b"traceparent", b"tracestate", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding"),
    }
)
_CONTENT_TYPES = (b"application/grpc", b"application/grpc+proto")

#: Calls of one connection that may watch the health status at the same time.
_MAX_WATCHING = 8

#: Calls of methods without a key that may wait for their message at the same time, on a connection without access.
_MAX_WAITING = 4

#: The only fields that these two kinds of calls keep, because strangers can open them.
_KEPT_OPEN = frozenset({b"grpc-timeout", b"grpc-encoding"})

#: Statuses that are logged even without an access log, like statuses from 500 over REST. A time limit that the client
#: set, or a message that does not arrive in time, is no failure of the service.
_FAILURES = ("DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE")


class GrpcServer:
    """Accepts connections through its `listener` and runs the calls of services. Create it on the event loop.

    `health` is the health service, which has to be told the status.
    """

    def __init__(
        self,
        state: ServiceState,
        services: Sequence[Service],
        *,
        buffers: Buffers,
        turns: Turns,
        tracer: Tracer | None = None,
    ) -> None:
        settings, certificates = state.settings, state.certificates
        self._loop = asyncio.get_running_loop()
        self._access_log = settings.access_log
        self._access = state.access
        probes = {*paths(health.SERVICE), *chain.from_iterable(each.health for each in services)}
        self._open_methods = frozenset(map(str.encode, probes)) if settings.open_health else frozenset()
        self._administration = frozenset(chain.from_iterable(each.administration for each in services))
        names = [each.descriptor.full_name for each in services]
        self.health = health.Health(("", *names))  # the empty name stands for the whole server
        self._builder = MethodBuilder(state.dataplane, state.metrics, tracer)
        methods = self.health.methods() | reflection.Reflection((*names, health.SERVICE.full_name)).methods()
        for service in services:
            methods |= self._builder.methods(service, state)
        self._unknown = Method(_refuse)
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._context = CallContext(
            settings.max_body_bytes,
            settings.body_timeout,
            buffers,
            state.expanding,
            self._ended,
        )
        self._limits = ConnectionLimits(
            streams=settings.grpc_max_streams,
            handshake_seconds=settings.handshake_timeout,
            header_seconds=settings.header_timeout,
            idle_seconds=settings.grpc_idle_timeout,
            age_seconds=settings.grpc_max_age,
            write_seconds=settings.write_timeout,
        )
        self._turns = turns
        self._failed = partial(state.metrics.count, FAILED, "grpc")
        self.listener = Listener(
            protocol="grpc",
            connect=self._connect,
            rejected=partial(state.metrics.count, REJECTED, "grpc"),
            max_connections=settings.grpc_max_connections,
            max_connections_per_address=settings.max_connections_per_address,
            guarded=state.guarded,
            tls=None if certificates is None else lambda: certificates.grpc,
            handshake_timeout=settings.handshake_timeout,
            turns=turns,
        )

    def leave(self) -> None:
        """End the calls that watch the health status, and idle streams. Close the listener after that."""
        self.health.leave()
        self._context.left_at = self._loop.time()

    def reject_unfinished(self) -> None:
        """End all calls, including new ones, with UNAVAILABLE, when the listener watches their connections."""
        self._context.expired = True

    async def stop(self) -> None:
        """Cancel the calls that remain."""
        for task in self._context.tasks:
            task.cancel()
        await asyncio.gather(*self._context.tasks, return_exceptions=True)

    def _connect(self, lost: Callable[[Connection], None], admit: Callable[[Connection], None]) -> GrpcConnection:
        # Clients that connected at the same time reconnect at different times.
        limits = self._limits._replace(age_seconds=self._limits.age_seconds * uniform(0.9, 1.1))  # noqa: S311
        return GrpcConnection(
            self._loop, limits, self._turns, self._context.buffers, self._open_call, lost, self._failed, admit
        )

    def _open_call(
        self, connection: GrpcConnection, stream: int, verb: bytes, path: bytes, received: Fields
    ) -> Call | None:
        """Return the call that a request begins, or None if it is not a gRPC request."""
        kept = [field for field in received if field[0] in _KEPT]
        fields = dict(kept)
        if len(fields) < len(kept):
            fields = {name: b",".join(value for other, value in kept if other == name) for name in fields}
        # RFC 9113, section 6.5.2.
        size = len(path) + 32 * len(received) + sum(map(len, chain.from_iterable(received)))
        content_type = fields.pop(b"content-type", b"").partition(b";")[0].strip()
        if verb != b"POST" or content_type not in _CONTENT_TYPES:
            return None
        if (caller := self._access.caller(fields)) is not None:
            connection.caller = caller
        method = self._methods.get(path, self._unknown)
        call = Call(stream, connection, path, fields, method, self._context, self._loop)
        call.request_id = choose_id(fields.get(HEADER))
        call.trailing.append((HEADER, call.request_id.encode()))
        try:
            self._check(connection, call, size, caller)
        except RequestError as error:
            call.failure = error
        if method.watching or path in self._open_methods:
            call.fields = {name: fields[name] for name in _KEPT_OPEN & fields.keys()}
        return call

    def _check(self, connection: GrpcConnection, call: Call, head_bytes: int, caller: str | None) -> None:
        """Raise `RequestError` if a call must not reach its method."""
        if head_bytes > _MAX_HEAD_BYTES:
            raise HeadTooLarge(f"the metadata have more than {_MAX_HEAD_BYTES} bytes, which is the limit")
        path = call.path.decode("latin-1")
        if call.path not in self._open_methods:
            if not self._access.admits(caller):
                raise Unauthorized("an API key is needed: authorization: Bearer KEY, or x-api-key: KEY")
            connection.admit()
        elif not connection.admitted:
            calls = (stream for stream in connection.streams if isinstance(stream, Call))
            if sum(each.parked and not each.method.watching for each in calls) >= _MAX_WAITING:
                raise Overloaded(f"{_MAX_WAITING} calls of this connection wait for their message, which is the limit")
        if path in self._administration:
            self._access.check_administration(call.fields)
        if call.method is self._unknown:
            raise UnknownMethod(f"there is no method {path}")
        if call.method.watching:
            watching = sum(isinstance(stream, Call) and stream.method.watching for stream in connection.streams)
            if watching >= _MAX_WATCHING:
                raise Overloaded(f"{_MAX_WATCHING} calls of this connection are watching, which is the limit")
        if (encoding := call.fields.get(b"grpc-encoding")) is not None:
            check_encoding(encoding)

    def _ended(self, call: Call) -> None:
        """Count a call, and write the access log, which contains failures even if it is off."""
        status = call.status or "CANCELLED"
        hurried = call.overdue or (call.context is not None and call.context.hurried)
        # Thousands of strangers can be slow. At shutdown, idle streams end with `Unavailable`.
        usual = type(call.failure) in (RequestTimeout, Unavailable)
        failed = status in _FAILURES and not (usual or (status == "DEADLINE_EXCEEDED" and hurried))
        if self._access_log or failed:
            seconds = perf_counter() - call.started
            line = f"gRPC {quote(call.path)}"  # quoted, because a path can contain a line break and forge another line
            with nullcontext() if call.context is None else call.context:  # names the trace
                log_request(logger, call.request_id, line, status, seconds, call.client, failed=failed)
        self._builder.ended(call, status)


async def _refuse(call: Call) -> None:
    """Run a call of an unknown method, which has failed."""
    await call.message()
