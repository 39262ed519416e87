"""One worker process of the service: REST and gRPC over the models it was forked with, and how they are wired."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.http.server import Events, HttpLimits, HttpServer, configure
from sentiment_conv1d.server.network.buffers import Buffers
from sentiment_conv1d.server.network.listener import Listener
from sentiment_conv1d.server.network.turns import Turns
from sentiment_conv1d.server.process.channel import Channel
from sentiment_conv1d.server.process.worker import Worker
from sentiment_conv1d.service.grpc.server import GrpcServer
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.protocols import GRPC_SERVICES, rest_protocols
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.telemetry.metrics import FAILED, REJECTED

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)


class ServiceWorker(Worker):
    """A worker that answers with the models of a core, and follows the orders of the supervisor."""

    def __init__(self, number: int, core: Core, channel: Channel) -> None:
        settings = self._settings = core.settings
        self._state = core.start(number, self)
        self._tracer: Tracer | None = None
        if settings.tracing:
            from sentiment_conv1d.service.telemetry.tracing import Tracer

            self._tracer = Tracer()
        self._application = Application(self._state, rest_protocols(settings), self._tracer)
        super().__init__(
            configure(self._application, settings.keep_alive_timeout), number, channel, settings.shutdown_timeout
        )
        self._refresh = core.refresh
        self._grpc: GrpcServer | None = None  # created when the event loop runs
        self._orders: asyncio.Queue[tuple[dict[str, Any], int | None]] = asyncio.Queue()
        self._tickets = itertools.count()
        self._results: dict[int, asyncio.Future[str]] = {}
        self._background: list[asyncio.Task[None]] = []

    async def open(self, turns: Turns) -> Mapping[str, Listener]:
        """Open the versions that were loaded since the start, and return the listeners."""
        settings, buffers = self._settings, Buffers(self._settings.max_buffered_bytes)
        turns.pause = self._state.dataplane.pause
        await self._state.reconciler.catch_up()
        listeners = {"rest": self._make_http_server(buffers, turns).listener}
        if settings.grpc:
            self._grpc = GrpcServer(self._state, GRPC_SERVICES, buffers=buffers, turns=turns, tracer=self._tracer)
            listeners["grpc"] = self._grpc.listener
        self._background.append(asyncio.create_task(self._follow()))
        if self.number == 0 and settings.watch_interval:
            self._background.append(asyncio.create_task(self._state.reconciler.watch(settings.watch_interval)))
        return listeners

    def message_received(self, message: dict[str, Any], descriptor: int | None) -> None:
        """Queue an order, or pass on the result of an order that this worker sent."""
        if message["kind"] == "order":
            self._orders.put_nowait((message, descriptor))
        elif (result := self._results.get(message["ticket"])) is not None and not result.done():
            result.set_result(message["problem"])

    def progresses(self) -> bool:
        """Return whether the thread that runs large requests makes progress: all of them wait for it."""
        return not self._state.dataplane.pulse.stalled()

    def is_idle(self) -> bool:
        """Return whether no request is in flight."""
        return not self._state.metrics.in_flight

    def tick(self) -> None:
        """Tell health watchers whether the service is ready."""
        if self._grpc is not None:
            self._grpc.health.tell(self._state.ready)

    def every_second(self) -> None:
        """Read changed certificates and keys."""
        self._refresh()

    def drain(self) -> None:
        """Answer requests as before, but fail health checks and load no more models."""
        self._state.draining = True
        for result in self._results.values():
            if not result.done():
                result.set_exception(Unavailable("shutting down"))

    def stop_listening(self) -> None:
        """Follow no more orders, and end watching calls."""
        for task in self._background:
            task.cancel()
        if self._grpc is not None:
            self._grpc.leave()

    def reject_unfinished(self) -> None:
        """Answer requests and calls that have not ended with an error."""
        self._application.reject_unfinished()
        if self._grpc is not None:
            self._grpc.reject_unfinished()

    async def close(self) -> None:
        """Finish the running batch, and write the last records and traces."""
        if self._grpc is not None:
            await self._grpc.stop()
        self._state.close()
        if self._tracer is not None:
            self._tracer.close()

    async def ask(self, order: Order) -> str:
        """Make all workers follow an order, and return why they did not, if so. Raises `Unavailable` at shutdown."""
        return await self._ask("ask", order=order._asdict())

    async def update_copies(self, name: str) -> str:
        """Update the copies of a store, and return why that failed, if so. Raises `Unavailable` at shutdown."""
        seconds = self._settings.load_timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._ask("copy", name=name)
        except TimeoutError:
            return f"the models are not listed and copied within {seconds:g} s (--load-timeout)"

    async def _ask(self, kind: str, **fields: Any) -> str:
        """Send a request to the supervisor, and return the problem in its answer."""
        ticket = next(self._tickets)
        self._results[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._state.check_draining()
            if not self.channel.send(kind, ticket=ticket, **fields):
                raise Unavailable("the supervisor does not accept orders")
            return await self._results[ticket]
        finally:
            del self._results[ticket]

    async def _follow(self) -> None:
        """Follow orders, one after the other."""
        while True:
            message, descriptor = await self._orders.get()
            try:
                refusal = await self._state.reconciler.follow(Order(**message["order"]), descriptor)
            except Exception:
                # This worker would serve other versions than the others, so it has to be replaced.
                logger.exception("worker %d failed to follow an order", self.number)
                self.leave()
                return
            finally:
                if descriptor is not None:
                    os.close(descriptor)
            answer = None if refusal is None else refusal._asdict()
            self.channel.send("done", round=message["round"], refusal=answer)

    def _make_http_server(self, buffers: Buffers, turns: Turns) -> HttpServer:
        settings, certificates, metrics = self._settings, self._state.certificates, self._state.metrics
        return HttpServer(
            self.config,
            self.server_state,
            HttpLimits(
                connections=settings.max_connections,
                connections_per_address=settings.max_connections_per_address,
                header_timeout=settings.header_timeout,
                handshake_timeout=settings.handshake_timeout,
                write_timeout=settings.write_timeout,
            ),
            buffers=buffers,
            turns=turns,
            find_handler=self._application.find_handler,
            find_document=self._application.find_document,
            admits=self._application.admits if self._state.guarded else None,
            find_caller=self._state.access.caller if self._state.access.takes_key else None,
            events=Events(
                rejected=partial(metrics.count, REJECTED, "rest"),
                failed=partial(metrics.count, FAILED, "rest"),
                draining=lambda: self._state.draining,
            ),
            tls=None if certificates is None else lambda: certificates.rest,
        )
