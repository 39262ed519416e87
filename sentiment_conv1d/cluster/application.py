"""The application on Ray Serve: `serve run sentiment_conv1d.cluster.application:application model=imdb-cnn`.

Its arguments are those of `sentiment_conv1d.load` and the settings of `sentiment_conv1d.asgi`. A deployment serves one
version of a model. deploy/ray/serve.yaml configures `serve deploy`.
"""

from __future__ import annotations

from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from sentiment_conv1d.cluster.replica import Replica

#: Concurrent requests of a replica. Further requests would wait in the replica, although another replica could answer
#: them.
MAX_ONGOING = 16

#: Requests that wait in each proxy. The proxy rejects more with 429 and Retry-After.
MAX_QUEUED = 256

#: Average requests per replica. Ray adapts the number of replicas to reach it. A replica with this many is busy.
TARGET_ONGOING = 4


class Sentiment:
    """A replica, on Ray Serve's event loop."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._replica = Replica(serve.get_replica_context().replica_id.unique_id, arguments)

    def __serve_build_asgi_app__(self) -> Replica:
        return self._replica

    async def check_health(self) -> None:
        """Run an inference. Ray replaces a replica if this raises or takes too long."""
        self._replica.check()


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
)(serve.ingress()(Sentiment))


def application(arguments: dict[str, Any]) -> Any:
    """Return the application for `serve run` and for configurations."""
    return deployment.bind(arguments)
