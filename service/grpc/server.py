"""The gRPC server of one process, on the event loop of REST.

It is our own, over our own HTTP/2: grpcio's takes a call in on its threads and hands it over to the event loop, which
costs more than the rest of a call here, and one call a turn, so that calls do not meet in a batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from random import uniform
from typing import TYPE_CHECKING, Any

from service.dataplane import DataPlane
from service.errors import HeadTooLarge, RequestError, Unauthorized, UnknownMethod
from service.grpc import health, oip, reflection, sentiment
from service.grpc.call import Call, Terms
from service.grpc.messages import check_encoding
from service.grpc.methods import Counted
from service.http2.connection import Connection, Limits
from service.http2.fields import Head, encode
from service.http2.stream import Stream
from service.keeper import Keeper
from service.tls import Certificates

if TYPE_CHECKING:
    from service.tracing import Tracer

logger = logging.getLogger(__name__)

#: Names under which health is asked for; the empty one is the whole server.
HEALTH_NAMES = ("", oip.SERVICE, sentiment.SERVICE)

#: The methods that are counted one by one, and whether they ask a model.
ROUTES = dict.fromkeys(oip.ROUTES, False) | dict.fromkeys((*sentiment.ROUTES, *oip.MODEL_ROUTES), True)


#: Where clients and platforms ask whether the service is well.
HEALTH_METHODS = frozenset(
    {
        *(f"/{health.SERVICE}/{method}" for method in ("Check", "Watch", "List")),
        oip.SERVER_LIVE,
        oip.SERVER_READY,
    }
)

#: Bytes of a call's fields, as RFC 9113 counts them.
_MAX_HEAD_BYTES = 16_384

_CONTENT_TYPE = b"application/grpc"


class Server:
    """Made on the event loop, and stopped once. `watch` has to be called every second or so.

    Connections are handed to it; `closed` hears of each that is gone, with the name of the protocol.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        keeper: Keeper,
        closed: Callable[[str], None],
        certificates: Certificates | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        settings = dataplane.settings
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._closed = closed
        self._certificates = certificates
        self._access = dataplane.access
        self._open_methods = HEALTH_METHODS if settings.open_health else frozenset()
        self._health = health.Health(HEALTH_NAMES)
        self._counted = Counted(dataplane, tracer)
        services = (health.SERVICE, oip.SERVICE, sentiment.SERVICE)
        methods = {
            **self._health.methods(),
            **oip.OpenInference(dataplane, keeper).methods(self._counted),
            **sentiment.Sentiment(dataplane).methods(self._counted),
            **reflection.Reflection(services).methods(),
        }
        self._unknown = self._counted.unknown()
        self._methods = {path.encode(): method for path, method in methods.items()}
        self._terms = Terms(settings.max_body_bytes, settings.body_timeout, dataplane.buffers)
        self._limits = Limits(
            streams=settings.grpc_max_streams,
            head_bytes=_MAX_HEAD_BYTES,
            handshake_seconds=settings.handshake_timeout,
            idle_seconds=settings.grpc_idle_timeout,
            age_seconds=settings.grpc_max_age,
            write_seconds=settings.write_timeout,
        )
        self._connections: set[Connection] = set()
        self._attending: dict[socket.socket, asyncio.Task[None]] = {}  # to handshakes
        self._tasks: set[asyncio.Task[None]] = set()  # of the calls that run
        self._leaving = False
        self._turned_away = 0  # connections, since the log was last told
        self._gone = asyncio.Event()  # set when a connection is

    def attend(self, accepted: socket.socket) -> None:
        """Take a connection, unless there are too many."""
        if len(self._connections) + len(self._attending) >= self._settings.grpc_max_connections:
            accepted.close()
            self._closed("grpc")
            self._turned_away += 1
            return
        self._attending[accepted] = self._loop.create_task(self._attend(accepted))

    @property
    def running(self) -> int:
        """The calls that have begun and not ended. They count as soon as they are read."""
        return len(self._tasks)

    def tell(self, serving: bool) -> None:
        """Whether health says SERVING, to those who ask and to those who watch."""
        self._health.tell(serving)

    def watch(self, now: float) -> None:
        """Leave callers who do not go on. `now` is the event loop's time."""
        for connection in list(self._connections):
            connection.watch(now)
        if self._turned_away:
            logger.warning("there are too many gRPC connections", extra={"turned_away": self._turned_away})
            self._turned_away = 0

    async def stop(self, grace: float) -> None:
        """Take no new calls, end the streams that only wait, and give the running calls `grace` seconds."""
        self._leaving = True
        self._health.leave()
        self._counted.leave()
        for connection in self._connections:
            connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._until_closed()
        for connection in list(self._connections):
            connection.transport.abort()
        tasks = (*self._attending.values(), *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_closed(self) -> None:
        while self._connections:
            self._gone.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._gone.wait()
            for connection in list(self._connections):
                connection.watch(self._loop.time())

    async def _attend(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        tls: dict[str, Any] = {}
        if self._certificates is not None:
            tls = {
                "ssl": self._certificates.grpc,
                "ssl_handshake_timeout": self._settings.handshake_timeout,
                "ssl_shutdown_timeout": self._settings.write_timeout,
            }
        # Callers who came together do not have to go together.
        limits = self._limits._replace(age_seconds=self._limits.age_seconds * uniform(0.9, 1.1))  # noqa: S311
        connection = Connection(self._loop, limits, self._opened, self._lost)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted, **tls)
        except OSError:  # of TLS too, whose handshake may fail or take too long
            accepted.close()
            self._closed("grpc")
        else:
            if not connection.transport.is_closing():
                self._connections.add(connection)
            if self._leaving:  # the others have been told to go
                connection.leave()
        finally:
            # Here and not in a callback, which runs a turn later: nobody counts twice.
            self._attending.pop(accepted, None)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._closed("grpc")
        self._gone.set()

    def _opened(self, connection: Connection, number: int, head: Head) -> Stream:
        """The call that a head begins, or what answers where it begins none."""
        if head.method != b"POST" or not head.fields.get(b"content-type", b"").startswith(_CONTENT_TYPE):
            return _NoCall(connection, number)
        method = self._methods.get(head.path, self._unknown)
        call = Call(connection, number, head.fields, method, self._terms, self._start, self._loop)
        try:
            self._check(call, head)
        except RequestError as error:
            call.failure = error
        return call

    def _check(self, call: Call, head: Head) -> None:
        """Raise the `RequestError` with which a call is refused that must not reach its method."""
        if head.size > _MAX_HEAD_BYTES:
            raise HeadTooLarge(f"the metadata have more than {_MAX_HEAD_BYTES} bytes, which is the limit")
        path = head.path.decode("latin-1")
        presented = call.text(b"authorization"), call.text(b"x-api-key")
        if path not in self._open_methods and not self._access.admits(*presented):
            raise Unauthorized("an API key is needed: authorization: Bearer KEY, or x-api-key: KEY")
        if path in oip.ADMINISTRATION:
            self._access.check_administration(*presented)
        if call.method is self._unknown:
            raise UnknownMethod(f"there is no method {path}")
        if (encoding := head.fields.get(b"grpc-encoding")) is not None:
            check_encoding(encoding)

    def _start(self, call: Call) -> asyncio.Task[None]:
        task = self._loop.create_task(call.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _NoCall(Stream):
    """A request of HTTP/2 that is none of gRPC's."""

    __slots__ = ()

    def began(self) -> None:
        """Say so, as gRPC's document on its protocol has it."""
        self.finish(encode(b":status", b"415"))

    def received(self, data: bytes) -> None:
        """Nobody wants it."""
        self.allow(len(data))

    def lost(self) -> None:
        """There is nothing to stop."""

    def watch(self, now: float) -> None:
        """There is nothing to wait for."""
