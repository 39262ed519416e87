"""Ray Serve in its throughput mode: HAProxy forwards requests to the replicas, which speak HTTP themselves."""

from __future__ import annotations

import os
import sys
from typing import Any

# Ray reads the variables when it is imported, and passes them to its processes.
os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "1"
os.environ["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.schema import LoggingConfig
from starlette.requests import Request

from benchmarks import ARTIFACT
from benchmarks.baselines.competent import Competent


class Sentiment:
    """`{"text": ...}` to `{"probability": ...}`."""

    def __init__(self) -> None:
        self._classifier = Competent(ARTIFACT)

    async def __call__(self, request: Request) -> dict[str, float]:
        review: Any = await request.json()
        [probability] = self._classifier.predict([review["text"]])
        return {"probability": probability}


def main() -> None:
    """Serve."""
    port, workers = map(int, sys.argv[1:])
    ray.init(include_dashboard=False, log_to_driver=False)
    logs = LoggingConfig(enable_access_log=False)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port), logging_config=logs)
    deployment = serve.deployment(Sentiment, num_replicas=workers, max_ongoing_requests=64)
    serve.run(deployment.bind(), route_prefix="/predict", blocking=True)


if __name__ == "__main__":
    main()
