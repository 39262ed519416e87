"""The application on Ray Serve: `serve run sentiment_conv1d.cluster.application:application`.

Pass the settings of `service` as arguments (`model_repository=/models`), or set them as environment variables on the
cluster's nodes (`SENTIMENT_MODEL_REPOSITORY`). deploy/ray/serve.yaml configures `serve deploy`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.context import _get_serve_request_context

from sentiment_conv1d.cluster.calls import run_stream, run_unary
from sentiment_conv1d.cluster.metrics import INTERVAL, Board, SummedMetrics, samples_of
from sentiment_conv1d.cluster.replica import Replica
from sentiment_conv1d.cluster.servicers import METHODS, Message
from sentiment_conv1d.service.settings import read_settings

logger = logging.getLogger("ray.serve")

#: Concurrent requests of a replica. Further requests would wait in the replica, although another replica could answer
#: them. docs/scaling.md has the measurements for the limits.
MAX_ONGOING = 16

#: Requests that wait in each proxy. The proxy rejects more with 429 and Retry-After.
MAX_QUEUED = 256

#: Average requests per replica. Ray adapts the number of replicas to reach it. A replica with this many is busy.
TARGET_ONGOING = 4


def _with_grpc_methods(cls: type) -> type:
    """Add a Python method for each gRPC method. Ray Serve calls it by its name."""
    for path, streaming in METHODS.items():
        setattr(cls, path.rpartition("/")[2], _stream(path) if streaming else _unary(path))
    return cls


def _unary(path: str) -> Any:
    async def call(self: Any, request: Message, grpc_context: Any) -> Message:
        return await run_unary(self.replica, path, request, grpc_context)

    return call


def _stream(path: str) -> Any:
    async def call(self: Any, requests: AsyncIterator[Message], grpc_context: Any) -> AsyncIterator[Message]:
        async for message in run_stream(self.replica, path, requests, grpc_context):
            yield message

    return call


class Sentiment:
    """A replica, on Ray Serve's event loop."""

    def __init__(self, arguments: dict[str, str]) -> None:
        self.replica = Replica(read_settings(arguments))
        self.replica.start()
        self._name = serve.get_replica_context().replica_id.unique_id
        self._metrics = SummedMetrics(self.replica.metrics)
        self.replica.use_metrics(self._metrics)
        self.replica.request_id = lambda: _get_serve_request_context().request_id
        self._reporting = asyncio.create_task(self._report())

    def __serve_build_asgi_app__(self) -> Any:
        return self.replica

    def __del__(self) -> None:
        # Ray calls this method after all requests have been answered.
        self.replica.stop()

    async def check_health(self) -> None:
        """Run an inference. Ray replaces a replica if this raises or takes too long."""
        await self.replica.check()

    async def _report(self) -> None:
        """Report the samples of this replica to the board and get those of the others."""
        board: Any = None
        while True:
            try:
                if board is None:
                    board = ray.remote(Board).options(
                        name="sentiment-metrics", namespace="serve", get_if_exists=True, lifetime="detached",
                        num_cpus=0, max_restarts=-1,
                    ).remote()  # fmt: skip
                own = samples_of(self.replica.expose())
                self._metrics.others = await board.report.remote(self._name, own)
            except ray.exceptions.RayError:
                logger.warning("cannot read the metrics of the other replicas", exc_info=True)
                board = None
            await asyncio.sleep(INTERVAL)


#: The deployment. A configuration for `serve deploy` overrides its options.
deployment: Any = serve.deployment(
    name="sentiment",
    max_ongoing_requests=MAX_ONGOING,
    max_queued_requests=MAX_QUEUED,
    backpressure_config=BackpressureConfig(status_code=429, retry_after_s=1),
    autoscaling_config=AutoscalingConfig(min_replicas=1, max_replicas=8, target_ongoing_requests=TARGET_ONGOING),
    ray_actor_options={"num_cpus": 1},
    health_check_period_s=5,
    health_check_timeout_s=10,
    graceful_shutdown_wait_loop_s=0.5,
    graceful_shutdown_timeout_s=25,
)(serve.ingress()(_with_grpc_methods(Sentiment)))


def application(arguments: dict[str, str]) -> Any:
    """Return the application for `serve run` and for configurations. The arguments are settings of the service."""
    return deployment.bind(arguments)
