"""One worker process: REST and gRPC on one event loop, over the models it was forked with, and how they are wired."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.fast_path import FindHandler
from sentiment_conv1d.server.http.protocol import Protocol
from sentiment_conv1d.server.http.refusal import refusal
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.listener import Connection, Listener
from sentiment_conv1d.server.network.turns import Turns
from sentiment_conv1d.server.process.channel import Channel
from sentiment_conv1d.server.process.heap import Heap
from sentiment_conv1d.server.process.heartbeat import Heartbeat
from sentiment_conv1d.service.grpc.server import GrpcServer
from sentiment_conv1d.service.inference.in_flight import InFlight
from sentiment_conv1d.service.models.late_worker_state import LoadedVersion
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.models.startup import opener
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.rest.middleware.cors import allow_origins
from sentiment_conv1d.service.security.tls import Certificates

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)

#: Messages that are read per turn of the event loop, so that requests are handled in between.
_HANDOUT = 64

#: The longest time that the thread of large requests holds Python's lock while the event loop waits for it, which can
#: happen in every turn. Python's default is 5 ms.
_SWITCH_SECONDS = 0.0005

#: Seconds after the shutdown timeout for the errors of unfinished requests to be sent. The supervisor waits longer.
_REJECTION_SECONDS = 2.0

#: Ticks of a tenth of a second between two checks of the connections, certificates and key files.
_WATCH_TICKS = 10


class Worker(uvicorn.Server):
    """Uvicorn with connections from the supervisor, gRPC beside it, and a graceful shutdown.

    At shutdown the worker stops being ready at once, leaves after the drain delay, finishes running requests, and ends
    with exit status 0.
    """

    def __init__(
        self,
        number: int,
        core: Core,
        certificates: Certificates | None,
        channel: Channel,
        loaded_versions: list[LoadedVersion],
    ) -> None:
        settings = core.settings
        self._in_flight = InFlight()
        self._state = core.start(number, self._in_flight)
        self._state.certificates = certificates
        self._state.reconciler = Reconciler(
            core.repository, core.models, opener(settings), self._state.dataplane, core.metrics, self
        )
        self._application = Application(self._state)
        self._application.document  # noqa: B018 - computed now, so that no request waits for it
        application: Any = self._application
        #: Find the handlers of the fast path, which skips ASGI. None if middleware has to see every request.
        self._find_handler: FindHandler | None = self._application.find_handler
        self._find_document: FindHandler | None = self._application.find_document
        self._tracer: Tracer | None = None
        if settings.tracing:
            from sentiment_conv1d.service.rest.middleware.traced import Traced
            from sentiment_conv1d.service.telemetry.tracing import Tracer

            self._tracer = Tracer()
            application = Traced(application, self._tracer)
            self._find_handler = self._find_document = None
        if settings.cors_origins is not None:
            application = allow_origins(application, settings.cors_origins)
            self._find_handler = self._find_document = None
        super().__init__(
            uvicorn.Config(
                application,
                http=Protocol,
                lifespan="off",
                ws="none",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                headers=headers.EVERY_RESPONSE,
                timeout_keep_alive=settings.keep_alive_timeout,
            )
        )
        self.server_state.tasks = self._in_flight.new_set()
        self._number = number
        self._settings = settings
        self._buffers = Buffers(settings.max_buffered_bytes)
        self._channel = channel
        self._certificates = certificates
        self._grpc: GrpcServer | None = None  # created when the event loop runs
        self._loaded_versions = loaded_versions
        self._orders: asyncio.Queue[tuple[dict[str, Any], int | None]] = asyncio.Queue()
        self._tickets = itertools.count()
        self._results: dict[int, asyncio.Future[str]] = {}
        self._background: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the versions that were loaded since the start, listen to the supervisor, and report ready."""
        self._loop = asyncio.get_running_loop()
        self._listeners = {"rest": self._make_listener()}
        self._turns = Turns(self._loop)
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._state.access.refresh()  # the keys are those of the service's start
        await self._state.reconciler.catch_up(self._loaded_versions)
        for _, descriptor in self._loaded_versions:
            os.close(descriptor)
        if self._settings.grpc:
            self._grpc = GrpcServer(
                self._state,
                buffers=self._buffers,
                turns=self._turns,
                tasks=self._in_flight.new_set(),
                certificates=self._certificates,
                tracer=self._tracer,
            )
            self._listeners["grpc"] = self._grpc.listener
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._background.append(asyncio.create_task(self._follow()))
        if self._number == 0 and self._settings.watch_interval:
            self._background.append(asyncio.create_task(self._state.reconciler.watch(self._settings.watch_interval)))
        self._heap = Heap()
        self._channel.send("ready")
        self._heartbeat = Heartbeat(self._loop, self._show_life)
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; returns whether it is time to leave."""
        self._tell_closed()
        if counter % _WATCH_TICKS == 0:
            self._watch()
            self._heap.trim(self._loop.time(), idle=not len(self._in_flight))
        if self._grpc is not None:
            self._grpc.health.tell(self._state.readiness.ready)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests and calls that are running or being read, and the running batch.

        After the shutdown timeout, requests and calls that have not ended get an error.
        """
        for task in self._background:
            task.cancel()
        if self._grpc is not None:
            self._grpc.leave()
        await self._close(self._settings.shutdown_timeout)
        self._application.reject_unfinished()
        if self._grpc is not None:
            self._grpc.reject_unfinished()
        await self._close(_REJECTION_SECONDS)
        for listener in self._listeners.values():
            listener.abort()
        if self._grpc is not None:
            await self._grpc.stop()
        self._loop.remove_reader(self._channel.fileno())
        self._heartbeat.stop()
        for running in self.server_state.tasks:
            running.cancel()
        self._state.dataplane.close()
        if self._tracer is not None:
            self._tracer.close()

    async def ask(self, order: Order, descriptor: int | None = None) -> str:
        """Make all workers follow an order, and return why they did not, if so. Raises `Unavailable` at shutdown."""
        ticket = next(self._tickets)
        self._results[ticket] = self._loop.create_future()
        try:
            self._state.readiness.check_draining()
            if not self._channel.send("ask", descriptor, ticket=ticket, order=order._asdict()):
                raise Unavailable("the supervisor does not accept orders")
            return await self._results[ticket]
        finally:
            del self._results[ticket]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Ignore signals, which the whole process group may get: the supervisor tells workers when to leave."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        yield

    def _show_life(self) -> None:
        # A run of a graph that never ends is fatal even on the thread: all large requests would wait for it.
        if not self._state.dataplane.pulse.stalled():
            self._channel.send("alive")

    def _watch(self) -> None:
        now = self._loop.time()
        for listener in self._listeners.values():
            listener.watch(now)
        if self._certificates is not None:
            self._certificates.refresh()
        self._state.access.refresh()

    def _hear(self) -> None:
        """Read what the supervisor sent. Leave if the supervisor is gone."""
        for _ in range(_HANDOUT):
            if any(listener.busy for listener in self._listeners.values()):
                break
            received = self._channel.receive()
            if received is None:
                if self._channel.closed:
                    logger.error("worker %d: the supervisor is gone", self._number)
                    self._loop.remove_reader(self._channel.fileno())
                    self._leave()
                break
            message, descriptor = received
            match message["kind"]:
                case "connection":
                    listener = self._listeners[message["protocol"]]
                    if descriptor is None:  # this process has no free file descriptor
                        listener.closed += 1
                    else:
                        listener.accept(socket.socket(fileno=descriptor))
                case "order":
                    self._orders.put_nowait((message, descriptor))
                case "result":
                    if (result := self._results.get(message["ticket"])) is not None and not result.done():
                        result.set_result(message["problem"])
                case "drain":
                    self._drain()
                case "leave":
                    self._leave()
        self._tell_closed()

    def _make_listener(self) -> Listener:
        settings, certificates = self._settings, self._certificates
        return Listener(
            protocol="rest",
            connect=self._connect,
            rejected=partial(self._state.metrics.rejected, "rest"),
            refusal=self._refusal,
            max_connections=settings.max_connections,
            max_connections_per_address=settings.max_connections_per_address,
            tls=None if certificates is None else lambda: certificates.rest,
            handshake_timeout=settings.handshake_timeout,
            write_timeout=settings.write_timeout,
        )

    def _connect(self, lost: Callable[[Connection], None]) -> Protocol:
        settings = self._settings
        return Protocol(
            self.config,
            self.server_state,
            self._loop,
            lost,
            find_handler=self._find_handler,
            find_document=self._find_document,
            buffers=self._buffers,
            turns=self._turns,
            failed=partial(self._state.metrics.failed, "rest"),
            draining=lambda: self._state.readiness.draining,
            header_timeout=settings.header_timeout,
            write_timeout=settings.write_timeout,
        )

    def _refusal(self) -> bytes:
        error = Unavailable("there are too many connections")
        return refusal(error, secrets.token_hex(8), self.server_state.default_headers)

    async def _follow(self) -> None:
        """Follow orders, one after the other."""
        while True:
            message, descriptor = await self._orders.get()
            try:
                refusal = await self._state.reconciler.follow(Order(**message["order"]), descriptor)
            except Exception:
                # This worker would serve other versions than the others, so it has to be replaced.
                logger.exception("worker %d failed to follow an order", self._number)
                self._leave()
                return
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            answer = None if refusal is None else refusal._asdict()
            self._channel.send("done", round=message["round"], refusal=answer)

    async def _close(self, seconds: float) -> None:
        await asyncio.gather(*(listener.close(seconds) for listener in self._listeners.values()))

    def _tell_closed(self) -> None:
        """Tell the supervisor how many of the connections that it handed out are closed."""
        for protocol, listener in self._listeners.items():
            if listener.closed and self._channel.send("closed", protocol=protocol, count=listener.closed):
                listener.closed = 0

    def _drain(self) -> None:
        """Answer requests as before, but fail health checks and load no more models."""
        self._state.readiness.draining = True
        for result in self._results.values():
            if not result.done():
                result.set_exception(Unavailable("shutting down"))

    def _leave(self) -> None:
        """Leave. The supervisor has handed out its last connection."""
        self._drain()
        self.should_exit = True
