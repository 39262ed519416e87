"""gRPC's health service, which load balancers and Kubernetes call."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from sentiment_conv1d.protos.descriptors import message_class
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.stubs import SentimentStub
from tests.processes import PATIENCE, ServerProcess
from tests.service.artifacts import publish_table
from tests.service.grpc.channels import connect, refused

SERVICES = (
    "",
    "sentiment.v1.Sentiment",
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


def health_of(channel: grpc.Channel) -> Any:
    """Return the health service. Its type stubs have no methods."""
    return HealthStub(channel)


def listed(channel: grpc.Channel) -> dict[str, int]:
    """Return the status of every service. gRPC's Python package does not have this method yet."""
    method: Any = channel.unary_unary("/grpc.health.v1.Health/List")
    answer = message_class("grpc.health.v1.HealthListResponse").FromString(method(b""))
    return {service: response.status for service, response in answer.statuses.items()}


@pytest.mark.parametrize("service", SERVICES)
def test_check(channel: grpc.Channel, service: str) -> None:
    """The whole server and each of its services are SERVING."""
    assert health_of(channel).Check(HealthCheckRequest(service=service)).status == SERVING


def test_list(channel: grpc.Channel) -> None:
    """`List` returns the whole server and each of its services."""
    assert listed(channel) == dict.fromkeys(SERVICES, SERVING)


@pytest.mark.parametrize("service", SERVICES)
def test_watch(channel: grpc.Channel, service: str) -> None:
    """`Watch` sends the current status at once."""
    watch = health_of(channel).Watch(HealthCheckRequest(service=service), timeout=PATIENCE)
    assert next(watch).status == SERVING
    watch.cancel()


def test_unknown_service(channel: grpc.Channel) -> None:
    """`Check` of an unknown service is NOT_FOUND, and `Watch` reports SERVICE_UNKNOWN, since it could be added."""
    request = HealthCheckRequest(service="sentiment.v2.Sentiment")
    refusal = refused(lambda: health_of(channel).Check(request))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert "'sentiment.v2.Sentiment'" in refusal.message
    watch = health_of(channel).Watch(request, timeout=PATIENCE)
    assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_drain() -> None:
    """After SIGTERM health is NOT_SERVING while calls are answered, and a watching client does not delay the exit."""
    with ServerProcess("--drain-delay", "600") as server, connect(server) as channel:
        health, sentiment = health_of(channel), SentimentStub(channel)
        watches = [health.Watch(HealthCheckRequest(service=service), timeout=PATIENCE) for service in SERVICES]
        leaving = health.Watch(HealthCheckRequest(), timeout=PATIENCE)
        unknown = health.Watch(HealthCheckRequest(service="other"), timeout=PATIENCE)
        assert [next(watch).status for watch in (*watches, leaving)] == [SERVING] * (len(SERVICES) + 1)
        assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN
        leaving.cancel()  # the others must not be forgotten with it
        server.process.send_signal(signal.SIGTERM)
        assert [next(watch).status for watch in watches] == [NOT_SERVING] * len(SERVICES)
        assert health.Check(HealthCheckRequest()).status == NOT_SERVING
        assert listed(channel) == dict.fromkeys(SERVICES, NOT_SERVING)
        assert sentiment.Predict(PredictRequest(text="x")).tokens == 2
        assert next(health.Watch(HealthCheckRequest(), timeout=PATIENCE)).status == NOT_SERVING
        assert server.stop() == 0  # the second signal ends the drain delay
        for watch in (*watches, unknown):
            assert list(watch) == []
        assert not [line for line in server.log if "ERROR" in line or "WARNING" in line]


def test_exit_while_clients_watch() -> None:
    """Without a drain delay the server exits at once, although a client watches and the shutdown timeout is long."""
    with ServerProcess("--shutdown-timeout", "3600") as server, connect(server) as channel:
        watch = health_of(channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch).status == SERVING
        assert server.stop() == 0
        assert [answer.status for answer in watch] == [NOT_SERVING]


def test_health_follows_the_default_model(tmp_path: Path) -> None:
    """While the default model is unloaded, the service is NOT_SERVING, and after a load it is SERVING again."""
    publish_table(tmp_path)
    flags = ("--workers", "1", "--admin", "open")
    with ServerProcess(*flags, repository=tmp_path) as process, connect(process) as channel:
        watching = health_of(channel).Watch(HealthCheckRequest(), timeout=PATIENCE)
        assert next(watching).status == SERVING
        process.client.post("/v2/repository/models/tickets/unload")
        assert next(watching).status == NOT_SERVING
        process.client.post("/v2/repository/models/tickets/load")
        assert next(watching).status == SERVING
        watching.cancel()
