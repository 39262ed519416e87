"""While a version of a split is not served, no version answers the requests that name none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from loadtest.stubs import SentimentStub
from sentiment_conv1d.model.manifest import GRAPH_FILE
from sentiment_conv1d.protos import sentiment_pb2 as pb
from tests.faults.services import damage
from tests.proc import kill_children
from tests.processes import ServerProcess, run
from tests.service.artifacts import publish_strength
from tests.service.grpc.channels import connect, refused
from tests.service.process.test_supervisor import versions
from tests.service.telemetry.test_metrics import metric

ROUTE = "/v2/repository/models/tickets/routing"
REASON = "split of tickets: version 1, labelled 'stable', is not served"

FLAGS = ("--workers", "2", "--versions", "all", "--watch-interval", "0.1", "--admin", "open")
STABLE = ("--version-labels", "tickets=stable:1", "--split", "tickets=stable:100")

TENSOR = {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["praise"]}
IDS = {"name": "tokens", "datatype": "INT32", "shape": [1, 2], "data": [1, 4]}

#: Requests that name no version.
UNVERSIONED: dict[str, Any] = {
    "/v1/predict": {"text": "praise"},
    "/v1/predict_batch": {"texts": ["praise"], "model": "tickets"},
    "/v1/explain": {"text": "praise"},
    "/v2/models/tickets/infer": {"inputs": [TENSOR]},
    "/v2/models/tickets/infer?ids": {"inputs": [IDS]},
    "/v1/models/tickets:predict": {"instances": ["praise"]},
    "/predict": {"inputs": "praise"},
    "/invocations": {"inputs": "praise"},
    "/classify": {"input": "praise", "model": "tickets"},
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Create a repository with versions 1, 2 and 3."""
    for strength in (1, 2, 3):
        publish_strength(tmp_path, strength)
    return tmp_path


@pytest.fixture
def server(repository: Path) -> Iterator[ServerProcess]:
    """Serve all versions. The split names version 1."""
    with ServerProcess(*FLAGS, *STABLE, repository=repository) as process:
        yield process


def missing(server: ServerProcess, **labels: str) -> float:
    return metric(server, "sentiment_routing_missing_versions", **labels)


def test_damaged_version(repository: Path) -> None:
    """All workers reject requests that name no version until the version is repaired. Others are answered."""
    graph = repository / "tickets" / "1" / GRAPH_FILE
    whole = damage(graph)
    with ServerProcess(*FLAGS, *STABLE, repository=repository) as server, connect(server) as channel:
        server.wait_for_log(f"WARNING .*{REASON}")
        for _ in range(2):
            assert versions(server, 8) == {"503": 8}
            ready = server.client.get("/readyz")
            assert (ready.status_code, ready.json()["error"]["message"]) == (503, REASON)
            kill_children(server.process.pid)
        for path, body in UNVERSIONED.items():
            answer = server.client.post(path, json=body)
            assert answer.status_code == 503 and REASON in answer.text, path
        stub: Any = SentimentStub(channel)
        refusal = refused(lambda: stub.Predict(pb.PredictRequest(text="praise")))
        assert refusal.code is grpc.StatusCode.UNAVAILABLE and refusal.message.startswith(REASON)
        assert stub.Predict(pb.PredictRequest(text="praise", version="2")).version == "2"
        assert len(server.client.get("/v2/models/tickets/stats").json()["model_stats"]) == 2
        health: Any = HealthStub(channel)
        assert health.Check(HealthCheckRequest()).status == HealthCheckResponse.NOT_SERVING
        assert missing(server, model="tickets", version="1", rule="split") == 1

        graph.write_bytes(whole)
        server.wait_for_log("serving tickets version=1")
        assert versions(server, 8) == {"1": 8}
        assert server.client.get("/readyz").status_code == 200
        assert missing(server) == 0


def test_rules_that_need_no_missing_version(repository: Path) -> None:
    """A change of the rules makes the service ready, although the default model answers no requests before."""
    shutil.rmtree(repository / "tickets" / "1")
    with ServerProcess(*FLAGS, *STABLE, repository=repository) as server:
        server.client.post(ROUTE, json={"labels": {"stable": 2}}).raise_for_status()
        assert versions(server, 8) == {"2": 8}
        kill_children(server.process.pid)
        assert versions(server, 8) == {"2": 8}
        assert server.client.get("/readyz").status_code == 200


def test_removed_version(server: ServerProcess, repository: Path) -> None:
    """A version that the split names stays while its folder is gone, and until the split names another one."""
    shutil.rmtree(repository / "tickets" / "1")
    server.wait_for_log("contains no version 1 of 'tickets' any more; it stays for the split")
    assert versions(server, 8) == {"1": 8}
    kill_children(server.process.pid)
    assert versions(server, 8) == {"1": 8}
    server.client.post(ROUTE, json={"labels": {"stable": 3}}).raise_for_status()
    assert versions(server, 8) == {"3": 8}
    server.wait_for_log("stopped serving a version of tickets version=1")


def test_unloaded_version(server: ServerProcess, repository: Path) -> None:
    """After an unload, no version answers until the version of the split is loaded again."""
    away = (repository / "tickets" / "1").rename(repository / "away")
    server.client.post("/v2/repository/models/tickets/unload").raise_for_status()
    assert versions(server, 4) == {"404": 4}
    assert "sentiment_routing_missing_versions{" not in server.metrics()  # it was asked for
    server.client.post("/v2/repository/models/tickets/load").raise_for_status()
    assert versions(server, 8) == {"503": 8}
    away.rename(repository / "tickets" / "1")
    server.client.post("/v2/repository/models/tickets/load").raise_for_status()
    assert versions(server, 8) == {"1": 8}


@pytest.mark.parametrize("split", ["tickets=9:100", "tickets=1:90,9:10", "tikets=1:100"])
def test_typo(repository: Path, split: str) -> None:
    """A version or model that does not exist keeps the service from becoming ready, or with --strict from starting."""
    reason = "split of tikets: version 1 is" if "tikets" in split else "split of tickets: version 9 is"
    with ServerProcess("--versions", "all", "--split", split, repository=repository) as server:
        assert server.client.get("/readyz").json()["error"]["message"] == f"{reason} not served"
    result = run(
        "-m",
        "service",
        "serve",
        "--versions",
        "all",
        "--split",
        split,
        "--strict",
        "--port",
        "0",
        "--model-repository",
        str(repository),
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == f"error: --strict: {reason} not served"


def test_shadow_version(repository: Path) -> None:
    """Missing versions without requests have no effect on answers and readiness, but a metric and the log show them."""
    flags = ("--shadow", "tickets=9:50", "--version-labels", "tickets=next:4", "--split", "tickets=3:1,8:0")
    with ServerProcess(*FLAGS, *flags, repository=repository) as server:
        server.wait_for_log("WARNING .*shadow of tickets: version 9 is not served")
        assert server.client.get("/readyz").status_code == 200
        assert versions(server, 4) == {"3": 4}
        assert missing(server, version="9", rule="shadow") == missing(server, version="4", rule="labels") == 1
        assert missing(server, rule="split") == 0 and missing(server, version="8", rule="split_without_weight") == 1
