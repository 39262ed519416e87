"""One worker process: REST and gRPC on one event loop, over the models it was forked with."""

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
from collections import Counter
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from sentiment_conv1d.service.errors import MAX_MESSAGE_CHARACTERS, Unavailable
from sentiment_conv1d.service.grpc.server import GrpcServer
from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.reconciler import Outcome, Reconciler
from sentiment_conv1d.service.models.replay_log import Fact, Order
from sentiment_conv1d.service.network.listener import Connection, Listener
from sentiment_conv1d.service.network.turns import Turns
from sentiment_conv1d.service.process.channel import Channel, ChannelClosed
from sentiment_conv1d.service.process.heap import Heap
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.rest.cors import allow_origins
from sentiment_conv1d.service.rest.server import headers
from sentiment_conv1d.service.rest.server.protocol import Protocol
from sentiment_conv1d.service.rest.server.refusal import refusal
from sentiment_conv1d.service.security.tls import Certificates

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)

#: Connections in one hand-out of the event loop, so that requests get their turn in between.
_HANDOUT = 64

#: The longest that the thread of large requests keeps Python to itself while the event loop wants it, which it does in
#: every turn. Python's own 5 ms would leave gRPC, which lets in one call a turn, 200 of them a second.
_SWITCH_SECONDS = 0.0005

#: Ticks of a tenth of a second between two signs of life.
_LIFE_TICKS = 5

#: The same, between two looks at the connections and at the files of the certificates.
_WATCH_TICKS = 10


class Worker(uvicorn.Server):
    """Uvicorn with connections from the supervisor, gRPC beside it, and our way out.

    The way out: not ready at once, gone after the drain delay, running requests finished, exit status 0.
    """

    def __init__(
        self,
        number: int,
        dataplane: DataPlane,
        channel: Channel,
        facts: list[Fact],
        certificates: Certificates | None = None,
    ) -> None:
        settings = dataplane.settings
        self._reconciler = Reconciler(dataplane, self)
        application: Any = Application(dataplane)
        #: For requests that need not come over ASGI unless something is in between there.
        self._application: Application | None = application
        application.state.reconciler = self._reconciler
        self._tracer: Tracer | None = None
        if settings.tracing:
            from sentiment_conv1d.service.rest.traced import Traced
            from sentiment_conv1d.service.telemetry.tracing import Tracer

            self._tracer = Tracer()
            application = Traced(application, self._tracer)
            self._application = None
        if settings.cors_origins is not None:
            application = allow_origins(application, settings.cors_origins)
            self._application = None
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
        self._number = number
        self._dataplane = dataplane
        self._settings = settings
        self._channel = channel
        self._certificates = certificates
        self._grpc: GrpcServer | None = None  # made once there is an event loop
        self._facts = facts
        self._orders: asyncio.Queue[tuple[dict[str, Any], int | None]] = asyncio.Queue()
        self._tickets = itertools.count()
        self._results: dict[int, asyncio.Future[Outcome]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._closed: Counter[str] = Counter()  # connections by protocol, since the supervisor was last told
        self._leaving = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Follow what all others have followed, listen to the supervisor, say so."""
        self._loop = asyncio.get_running_loop()
        self._rest = self._make_listener()
        self._turns = Turns(self._loop)
        sys.setswitchinterval(_SWITCH_SECONDS)
        self._dataplane.alone = self._alone
        self._dataplane.access.refresh()  # the keys are those of the service's start
        await self._reconciler.catch_up(self._facts)
        for _, descriptor in self._facts:
            if descriptor is not None:
                os.close(descriptor)
        if self._settings.grpc:
            self._grpc = GrpcServer(self._dataplane, self._reconciler, self._turns, self._certificates, self._tracer)
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._background.append(asyncio.create_task(self._follow()))
        if self._number == 0 and self._settings.watch_interval:
            self._background.append(asyncio.create_task(self._reconciler.watch(self._settings.watch_interval)))
        self._heap = Heap()
        self._channel.send("ready")
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to leave."""
        self._tell_closed()
        if counter % _LIFE_TICKS == 0:
            self._tell("alive")
        if counter % _WATCH_TICKS == 0:
            self._watch()
            self._heap.trim(self._loop.time(), idle=not self._running)
        if self._grpc is not None:
            self._grpc.tell(self._dataplane.ready)
        return await super().on_tick(counter) or self._leaving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests and calls that run or are on their way."""
        self.should_exit = True
        for task in self._background:
            task.cancel()
        grace = self._settings.shutdown_timeout
        closing = [self._rest.close(grace)]
        if self._grpc is not None:
            closing.append(self._grpc.stop(grace))
        await asyncio.gather(*closing)
        self._loop.remove_reader(self._channel.fileno())
        for running in self.server_state.tasks:
            running.cancel()
        if self._tracer is not None:
            self._tracer.close()

    async def ask(self, order: Order, descriptor: int | None = None) -> Outcome:
        """Have all workers follow an order. Raises `Unavailable` while the service shuts down."""
        ticket = next(self._tickets)
        self._results[ticket] = self._loop.create_future()
        try:
            if self._dataplane.draining:
                raise Unavailable("shutting down")
            self._channel.send("ask", descriptor, ticket=ticket, order=order._asdict())
            return await self._results[ticket]
        except (BlockingIOError, ChannelClosed):
            raise Unavailable("the supervisor takes no orders") from None
        finally:
            del self._results[ticket]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The supervisor says when to leave; signals to a whole process group are not for its workers."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        yield

    def _watch(self) -> None:
        now = self._loop.time()
        self._rest.watch(now)
        if self._grpc is not None:
            self._grpc.listener.watch(now)
        if self._certificates is not None:
            self._certificates.refresh()
        self._dataplane.access.refresh()

    def _hear(self) -> None:
        """What the supervisor sent. Without a supervisor there is no one left to work for."""
        try:
            for _ in range(_HANDOUT):
                if self._rest.busy or (self._grpc is not None and self._grpc.listener.busy):
                    break
                received = self._channel.receive()
                if received is None:
                    break
                message, descriptor = received
                match message["kind"]:
                    case "connection":
                        connection = None if descriptor is None else socket.socket(fileno=descriptor)
                        self._receive(message["protocol"], connection)
                    case "order":
                        self._orders.put_nowait((message, descriptor))
                    case "result":
                        if (result := self._results.get(message["ticket"])) is not None and not result.done():
                            refused = message["refusal"]
                            result.set_result(Outcome(refused and Order(**refused), message["declined"]))
                    case "drain":
                        self._drain()
                    case "leave":
                        self._leave()
        except ChannelClosed:
            logger.error("worker %d: the supervisor is gone", self._number)
            self._loop.remove_reader(self._channel.fileno())
            self._leave()
        self._tell_closed()

    def _receive(self, protocol: str, connection: socket.socket | None) -> None:
        if connection is None:  # this process has no file descriptor left for it
            self._closed_one(protocol)
        elif protocol == "grpc":
            assert self._grpc is not None
            self._grpc.listener.accept(connection)
        else:
            self._rest.accept(connection)

    def _make_listener(self) -> Listener:
        settings, certificates = self._settings, self._certificates
        return Listener(
            "rest",
            self._connect,
            rejected=partial(self._dataplane.metrics.rejected, "rest"),
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
            find_handler=None if self._application is None else self._application.find_handler,
            buffers=self._dataplane.buffers,
            turns=self._turns,
            draining=lambda: self._dataplane.draining,
            header_timeout=settings.header_timeout,
            write_timeout=settings.write_timeout,
        )

    def _refusal(self) -> bytes:
        error = Unavailable("there are too many connections")
        return refusal(error, secrets.token_hex(8), self.server_state.default_headers)

    @property
    def _running(self) -> int:
        """The requests that are here, read or running."""
        calls = 0 if self._grpc is None else self._grpc.running
        return len(self.server_state.tasks) + calls

    def _alone(self) -> bool:
        """Whether the request that asks this is the only one that is here, read or running."""
        return self._running == 1

    async def _follow(self) -> None:
        """Follow orders one after the other."""
        while True:
            message, descriptor = await self._orders.get()
            try:
                refusal = await self._reconciler.follow(Order(**message["order"]), descriptor)
            except Exception:
                # It would serve other versions than the rest, so another one has to take its place.
                logger.exception("worker %d failed to follow an order", self._number)
                self._leave()
                return
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            fault, reason = ("", "") if refusal is None else (refusal.fault, refusal.reason)
            self._channel.send("done", round=message["round"], fault=fault, reason=reason[:MAX_MESSAGE_CHARACTERS])

    def _tell_closed(self) -> None:
        """Let the supervisor know how many of the connections it handed out are gone."""
        self._closed["rest"] += self._rest.take_closed()
        if self._grpc is not None:
            self._closed["grpc"] += self._grpc.listener.take_closed()
        for protocol, count in self._closed.items():
            if count and self._tell("closed", protocol=protocol, count=count):
                self._closed[protocol] = 0

    def _closed_one(self, protocol: str) -> None:
        self._closed[protocol] += 1

    def _tell(self, kind: str, **fields: Any) -> bool:
        """Say something to the supervisor, if it listens."""
        try:
            self._channel.send(kind, **fields)
        except (BlockingIOError, ChannelClosed):
            return False
        return True

    def _drain(self) -> None:
        """Answer as before, but say that the end is near: health says no, and nobody may load a model."""
        self._dataplane.draining = True
        for result in self._results.values():
            if not result.done():
                result.set_exception(Unavailable("shutting down"))

    def _leave(self) -> None:
        """Go. No connection comes after this, and those that came before it are here."""
        self._drain()
        self._leaving = True
