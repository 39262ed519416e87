"""A replica: the core, the REST application and the gRPC methods of `service`, with one session.

It has the role in Ray Serve that `service.process.worker` has under the supervisor. Ray's proxies accept the
connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from sentiment_conv1d.inference.classifier import GOLDEN_TOLERANCE
from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.grpc import oip, sentiment
from sentiment_conv1d.service.grpc.health import Health
from sentiment_conv1d.service.grpc.methods import MethodBuilder
from sentiment_conv1d.service.grpc.server import HEALTH_METHODS, HEALTH_NAMES
from sentiment_conv1d.service.process.server import load_core
from sentiment_conv1d.service.process.standalone import Standalone
from sentiment_conv1d.service.setting_types import folder_of
from sentiment_conv1d.service.settings import Settings


class Replica(Standalone):
    """A replica, which is an ASGI application on the running event loop.

    Raises `StartupError` or `ArtifactError` if the models cannot be served.
    """

    def __init__(self, settings: Settings) -> None:
        # A load or unload request would reach only one replica, and the others would serve other versions.
        settings = settings.model_copy(update={"admin": "off", "workers": 1})
        if folder_of(settings.request_log) is not None:
            raise StartupError("--request-log: replicas on Ray share no folder; use a URL")
        core = load_core(settings)
        super().__init__(core)
        self.access = core.access
        self._watch_interval = settings.watch_interval
        #: The gRPC methods that need no API key.
        self.open_methods = HEALTH_METHODS if settings.open_health else frozenset()
        self.max_message_bytes = settings.max_body_bytes
        self.builder = builder = MethodBuilder(self.state.dataplane, self.metrics)
        self.methods: dict[str, Method] = {
            **Health(HEALTH_NAMES).methods(),
            **builder.methods(oip.SERVICE, oip.OpenInference(self.state), oip.POLLED),
            **builder.methods(sentiment.SERVICE, sentiment.Sentiment(self.state)),
        }
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to follow changes of the model repository."""
        if self._watch_interval:
            self._watching = asyncio.create_task(self.state.reconciler.watch(self._watch_interval))

    def stop(self) -> None:
        """Stop the background tasks. Call it after all requests have been answered."""
        if self._watching is not None:
            self._watching.cancel()
        super().stop()

    def expose(self) -> str:
        """Return the metrics of this replica in Prometheus' text format."""
        return self.metrics.expose(self.state.models.states(), self.state.models.labelled()).decode()

    def use_metrics(self, metrics: Any) -> None:
        """Answer `/metrics` from these metrics."""
        self.state.metrics = metrics

    async def check(self) -> None:
        """Classify the golden text of the default model. Raises `Unavailable` if the answer is wrong."""
        self.state.check_ready()
        classifier = self.state.models.get()
        golden = classifier.manifest.golden
        [prediction] = await self.state.dataplane.predict(classifier, (golden.text,))
        expected = golden.probabilities[-1]
        if not np.isclose(float(prediction.probabilities[-1]), expected, rtol=0, atol=GOLDEN_TOLERANCE):
            raise Unavailable(f"the golden text gets {prediction.probabilities[-1]} instead of {expected}")
