"""A Ray cluster of two nodes on this machine. These tests run in the environment of `make test-ray`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.processes import MODEL_REPOSITORY, PATIENCE, PROJECT

# Ray and its processes read them when they start.
os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",  # a busy machine starts the proxy slowly
    "PYTHONPATH": str(PROJECT),
}

#: Small, since both nodes share this machine.
_NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}

#: The port of the only proxy.
_PORT = 18000

#: The arguments of the application.
ARGUMENTS = {"model": "imdb-cnn:1", "repository": str(MODEL_REPOSITORY), "open_metrics": "true"}


class OnRay(NamedTuple):
    """A service with two replicas, one per node. It has the attributes of `ServerProcess` that other tests use."""

    cluster: Any
    second_node: Any
    client: httpx.Client
    url: str = f"http://127.0.0.1:{_PORT}"


@pytest.fixture(scope="session")
def nodes() -> Iterator[tuple[Any, Any]]:
    """Start a cluster of a head and another node. Yields the cluster and that node."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
    second = cluster.add_node(**_NODE)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def proxy(nodes: tuple[Any, Any]) -> Iterator[None]:
    """Start Ray Serve with a proxy on the head."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    serve.start(proxy_location="HeadOnly", http_options=HTTPOptions(host="127.0.0.1", port=_PORT))
    yield
    serve.shutdown()


@pytest.fixture
def service(nodes: tuple[Any, Any], proxy: None) -> Iterator[OnRay]:
    """Serve the shipped model on the cluster."""
    from ray import serve

    from sentiment_conv1d.cluster.application import deployment

    cluster, second = nodes
    if second not in cluster.list_all_nodes():
        second = cluster.add_node(**_NODE)
    two = deployment.options(num_replicas=2, autoscaling_config=None)
    serve.run(two.bind(ARGUMENTS), route_prefix="/")
    with httpx.Client(base_url=f"http://127.0.0.1:{_PORT}", timeout=PATIENCE, trust_env=False) as client:
        yield OnRay(cluster, second, client)
    serve.delete("default")
