"""The REST application of a program with one process, for ASGI servers other than the service's own.

Such a server accepts the connections, so the service's limits on connections, heads and slow callers do not apply.
"""

from __future__ import annotations

import asyncio
import os

from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.artifact.errors import SentimentError
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.asgi import CHARGE
from sentiment_conv1d.server.network.buffers import Buffers, Charge
from sentiment_conv1d.server.network.shares import LOCAL
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.process.server import record
from sentiment_conv1d.service.process.trial import Trial
from sentiment_conv1d.service.protocols import rest_protocols
from sentiment_conv1d.service.rest.app import Application

_EVERY_RESPONSE = [(name.encode(), value.encode()) for name, value in headers.EVERY_RESPONSE]


class Standalone:
    """An ASGI application that answers with the models of a core. Belongs to one event loop."""

    def __init__(self, core: Core) -> None:
        self._buffers = Buffers(core.settings.max_buffered_bytes)
        worker = _OnlyWorker(core)
        self.state = core.start(0, worker)
        worker.reconciler = self.state.reconciler
        self._application = Application(self.state, rest_protocols(core.settings))

    def stop(self) -> None:
        """End the background work. Call it after all requests have been answered."""
        self.state.draining = True
        self.state.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request that the server has read."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        scope.setdefault("state", {})
        scope.setdefault("raw_path", scope["path"].encode())
        client = scope["client"][0] if scope.get("client") else LOCAL
        caller = self.state.access.caller(dict(scope["headers"])) or client
        charge = scope[CHARGE] = Charge(self._buffers, caller)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_EVERY_RESPONSE]
            await send(message)

        try:
            await self._application(scope, receive, send_with_headers)
        finally:
            charge.release()


class _OnlyWorker:
    """Carries out the orders of the reconciler, which sees this process as the only worker.

    A program with threads cannot try versions in a process of its own.
    """

    reconciler: Reconciler

    def __init__(self, core: Core) -> None:
        self._core = core
        self._trial = Trial(core.repository, core.models, lambda artifact: None, core.settings.load_timeout)

    async def ask(self, order: Order) -> str:
        """Follow an order, and return why it was not carried out, if so."""
        follow = self.reconciler.follow
        await follow(order)
        if order.action == "load":
            order = await self._load(order)
            await follow(order)
        record(self._core, order)
        return order.reason

    async def _load(self, order: Order) -> Order:
        """Prepare to serve a version, and return the order that follows."""
        descriptor = snapshot.create()
        try:
            await asyncio.to_thread(self._trial.examine, order, descriptor)
            found = snapshot.order(descriptor)
            if found.action == "serve":
                prepare = found._replace(action="prepare")
                if (refusal := await self.reconciler.follow(prepare, descriptor)) is not None:
                    return refusal
                found = found._replace(block=self._core.metrics.assign(found.key, found.labels or ()))
            return found
        finally:
            os.close(descriptor)

    async def update_copies(self, name: str) -> str:
        """Update the copies of a store on a thread, and return why that failed, if so."""
        from sentiment_conv1d.service.models.mirror import Mirror

        assert isinstance(self._core.repository, Mirror)
        try:
            await asyncio.to_thread(self._core.repository.update, again={name})
        except SentimentError as error:
            return str(error)
        return ""
