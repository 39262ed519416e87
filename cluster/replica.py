"""A replica: the core, the REST application and the gRPC methods of `service`, with one session.

It has the role in Ray Serve that `service.process.worker` has under the supervisor. Ray's proxies accept the
connections, so the service's limits on connections, heads and slow callers do not apply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.service.errors import StartupError, Unavailable
from sentiment_conv1d.service.grpc import oip, sentiment
from sentiment_conv1d.service.grpc.health import Health
from sentiment_conv1d.service.grpc.methods import Counted
from sentiment_conv1d.service.grpc.server import HEALTH_METHODS, HEALTH_NAMES
from sentiment_conv1d.service.grpc.transport.method import Method
from sentiment_conv1d.service.inference.classifier import GOLDEN_TOLERANCE
from sentiment_conv1d.service.inference.in_flight import InFlight
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.models.startup import opener
from sentiment_conv1d.service.network.buffers import Buffers, Charge
from sentiment_conv1d.service.process.server import begin, note
from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.rest.server import headers
from sentiment_conv1d.service.rest.server.asgi import CHARGE
from sentiment_conv1d.service.settings import Settings

_EVERY_RESPONSE = [(name.encode(), value.encode()) for name, value in headers.EVERY_RESPONSE]


class Replica:
    """A replica, which is an ASGI application on the running event loop.

    Raises `StartupError` or `ArtifactError` if the models cannot be served.
    """

    def __init__(self, settings: Settings) -> None:
        # A load or unload request would reach only one replica, and the others would serve other versions.
        settings = settings.model_copy(update={"admin": "off", "workers": 1})
        if settings.request_log_folder is not None:
            raise StartupError("--request-log: replicas on Ray share no folder; use a URL")
        core = begin(settings).core
        self._models, self.metrics, self.access = core.models, core.metrics, core.access
        in_flight = InFlight()
        self._requests = in_flight.new_set()
        self._buffers = Buffers(settings.max_buffered_bytes)
        self._state = core.start(0, in_flight)
        self._dataplane, self._readiness = self._state.dataplane, self._state.readiness
        self._reconciler = Reconciler(
            core.repository, self._models, opener(settings), self._dataplane, self.metrics, self
        )
        self._state.reconciler = self._reconciler
        self._watch_interval = settings.watch_interval
        #: The gRPC methods that need no API key.
        self.open_methods = HEALTH_METHODS if settings.open_health else frozenset()
        self.max_message_bytes = settings.max_body_bytes
        self._application = Application(self._state)
        counted = Counted(self._dataplane, self.metrics)
        self.methods: dict[str, Method] = {
            **Health(HEALTH_NAMES).methods(),
            **counted.methods(oip.SERVICE, oip.OpenInference(self._state), oip.POLLED),
            **counted.methods(sentiment.SERVICE, sentiment.Sentiment(self._dataplane, self._models)),
        }
        #: Returns the id that a proxy has given to the current request and adds to its response.
        self.request_id: Callable[[], str] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to follow changes of the model repository."""
        if self._watch_interval:
            self._watching = asyncio.create_task(self._reconciler.watch(self._watch_interval))

    def stop(self) -> None:
        """Stop the background tasks. Call it after all requests have been answered."""
        self._readiness.draining = True
        if self._watching is not None:
            self._watching.cancel()
        self._dataplane.close()

    def expose(self) -> str:
        """Return the metrics of this replica in Prometheus' text format."""
        return self.metrics.expose(self._models.states(), self._models.missing()).decode()

    def use_metrics(self, metrics: Any) -> None:
        """Answer `/metrics` from these metrics."""
        self._state.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request that a proxy has read."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        scope.setdefault("state", {})
        scope.setdefault("raw_path", scope["path"].encode())
        if self.request_id is not None:
            others = [field for field in scope["headers"] if field[0] != headers.REQUEST_ID]
            scope["headers"] = [*others, (headers.REQUEST_ID, self.request_id().encode())]
        charge = scope[CHARGE] = Charge(self._buffers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = (
                    field for field in message["headers"] if self.request_id is None or field[0] != headers.REQUEST_ID
                )
                message["headers"] = [*own, *_EVERY_RESPONSE]
            await send(message)

        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            await self._application(scope, receive, send_with_headers)
        finally:
            self._requests.discard(task)
            charge.release()

    async def check(self) -> None:
        """Classify the golden text of the default model. Raises `Unavailable` if the answer is wrong."""
        self._readiness.check()
        classifier = self._models.get()
        golden = classifier.manifest.golden
        [prediction] = await self._dataplane.predict(classifier, (golden.text,))
        expected = golden.probabilities[-1]
        if not np.isclose(float(prediction.probabilities[-1]), expected, rtol=0, atol=GOLDEN_TOLERANCE):
            raise Unavailable(f"the golden text gets {prediction.probabilities[-1]} instead of {expected}")

    async def ask(self, order: Order, descriptor: int | None = None) -> str:
        """Follow an order, and return why it was not carried out, if so.

        The reconciler sees this replica as the only worker.
        """
        follow = self._reconciler.follow
        await follow(order)
        if order.action == "load":
            refusal = await follow(order._replace(action="prepare"), descriptor)
            order = refusal or order._replace(action="serve")
            await follow(order)
        note(self.metrics, order)
        return order.reason
