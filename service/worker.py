"""One worker process: REST and gRPC on one event loop, over the models it was forked with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Generator
from time import monotonic
from typing import Any

import uvicorn

from service.channel import Channel, ChannelClosed
from service.dataplane import DataPlane
from service.errors import MAX_MESSAGE_CHARACTERS, Unavailable
from service.grpc.server import Server as GrpcServer
from service.keeper import Keeper, Outcome
from service.ledger import Fact, Order
from service.rest.app import Application
from service.rest.protocol import Protocol

logger = logging.getLogger(__name__)

#: Connections in one hand-out of the event loop, so that requests get their turn in between.
_HANDOUT = 64

#: Ticks of a tenth of a second between two signs of life.
_LIFE_TICKS = 5


class Worker(uvicorn.Server):
    """Uvicorn with connections from the supervisor, gRPC beside it, and our way out.

    The way out: not ready at once, gone after the drain delay, running requests finished, exit status 0.
    """

    def __init__(
        self, number: int, dataplane: DataPlane, channel: Channel, grpc_port: int | None, facts: list[Fact]
    ) -> None:
        settings = dataplane.settings
        self._keeper = Keeper(dataplane, self)
        application = Application(dataplane)
        application.state.keeper = self._keeper
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
                timeout_keep_alive=settings.keep_alive_timeout,
                timeout_graceful_shutdown=settings.shutdown_timeout,
            )
        )
        self._number = number
        self._dataplane = dataplane
        self._settings = settings
        self._channel = channel
        self._grpc_port = grpc_port
        self._grpc: GrpcServer | None = None
        self._facts = facts
        self._orders: asyncio.Queue[tuple[dict[str, Any], int | None]] = asyncio.Queue()
        self._tickets = itertools.count()
        self._results: dict[int, asyncio.Future[Outcome]] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._open: set[Any] = set()  # protocols of the connections that were handed to this worker
        self._attending: set[asyncio.Task[None]] = set()
        self._closed = 0  # since the supervisor was last told
        self._leave_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Follow what all others have followed, listen to gRPC and to the supervisor, say so."""
        self._dataplane.alone = self._alone
        await self._keeper.catch_up(self._facts)
        for _, descriptor in self._facts:
            if descriptor is not None:
                os.close(descriptor)
        if self._grpc_port is not None:
            self._grpc = GrpcServer(self._dataplane, self._keeper)
            await self._grpc.start(self._settings.host, self._grpc_port)
        self.servers = []
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._keeping.append(asyncio.create_task(self._follow()))
        if self._number == 0 and self._settings.watch_interval:
            self._keeping.append(asyncio.create_task(self._keeper.watch(self._settings.watch_interval)))
        self._channel.send("ready")
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to leave."""
        self._tell_closed()
        if counter % _LIFE_TICKS == 0:
            self._tell("alive")
        if self._grpc is not None:
            self._grpc.tell(self._dataplane.ready)
        return await super().on_tick(counter) or (self._leave_at is not None and monotonic() >= self._leave_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new requests, of either kind, and finish those that run."""
        self._loop.remove_reader(self._channel.fileno())
        for task in self._keeping:
            task.cancel()
        closing = [super().shutdown(sockets)]
        if self._grpc is not None:
            closing.append(self._grpc.stop(self._settings.shutdown_timeout))
        await asyncio.gather(*closing)

    async def ask(self, order: Order, descriptor: int | None = None) -> Outcome:
        """Have all workers follow an order. Raises `Unavailable` while the service shuts down."""
        ticket = next(self._tickets)
        self._results[ticket] = self._loop.create_future()
        try:
            if self._leave_at is not None:
                raise Unavailable("shutting down")
            self._channel.send("ask", descriptor, ticket=ticket, order=order._asdict())
            return await self._results[ticket]
        except (BlockingIOError, ChannelClosed):
            raise Unavailable("the supervisor takes no orders") from None
        finally:
            del self._results[ticket]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """The supervisor says when to leave; Ctrl-C reaches every process of a terminal and is not for us."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: self._leave(at_once=False))
        yield

    def _hear(self) -> None:
        """What the supervisor sent. Without a supervisor there is no one left to work for."""
        try:
            for _ in range(_HANDOUT):
                received = self._channel.receive()
                if received is None:
                    break
                message, descriptor = received
                match message["kind"]:
                    case "connection":
                        assert descriptor is not None
                        task = self._loop.create_task(self._attend(socket.socket(fileno=descriptor)))
                        self._attending.add(task)
                        task.add_done_callback(self._attending.discard)
                    case "order":
                        self._orders.put_nowait((message, descriptor))
                    case "result":
                        if (result := self._results.get(message["ticket"])) is not None and not result.done():
                            refusal = message["refusal"]
                            result.set_result(Outcome(refusal and Order(**refusal), message["declined"]))
                    case "leave":
                        self._leave(at_once=message["now"])
        except ChannelClosed:
            logger.error("worker %d: the supervisor is gone", self._number)
            self._loop.remove_reader(self._channel.fileno())
            self._leave(at_once=True)
        self._tell_closed()

    async def _attend(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:
            connection.close()
            self._closed += 1
        else:
            self._open.add(protocol)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, {}, self._loop)

    def _alone(self) -> bool:
        """Whether the request that asks this is the only one that is here. REST's count as soon as they are read."""
        return len(self.server_state.tasks) + self._dataplane.metrics.in_flight("grpc") == 1

    async def _follow(self) -> None:
        """Follow orders one after the other."""
        while True:
            message, descriptor = await self._orders.get()
            try:
                refusal = await self._keeper.follow(Order(**message["order"]), descriptor)
            except Exception:
                # It would serve other versions than the rest, so another one has to take its place.
                logger.exception("worker %d failed to follow an order", self._number)
                self._leave(at_once=True)
                return
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            fault, reason = ("", "") if refusal is None else (refusal.fault, refusal.reason)
            self._channel.send("done", round=message["round"], fault=fault, reason=reason[:MAX_MESSAGE_CHARACTERS])

    def _tell_closed(self) -> None:
        """Let the supervisor know how many of the connections it handed out are gone."""
        gone = self._open - self.server_state.connections
        self._open -= gone
        self._closed += len(gone)
        if self._closed and self._tell("closed", count=self._closed):
            self._closed = 0

    def _tell(self, kind: str, **fields: Any) -> bool:
        """Say something to the supervisor, if it listens."""
        try:
            self._channel.send(kind, **fields)
        except (BlockingIOError, ChannelClosed):
            return False
        return True

    def _leave(self, *, at_once: bool) -> None:
        if self._leave_at is not None:
            self.should_exit = self.force_exit = True
            return
        self._dataplane.draining = True
        for result in self._results.values():
            if not result.done():
                result.set_exception(Unavailable("shutting down"))
        self._leave_at = monotonic() + (0 if at_once else self._settings.drain_delay)
