"""More legal work than fits into memory."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from service.grpc.protos.sentiment_pb2 import PredictBatchRequest
from tests.attacks.scenarios import Scenarios, Setup
from tests.attacks.wire import PREDICT_BATCH
from tests.processes import PATIENCE, ServerProcess

SCENARIOS = Scenarios()

#: Megabytes of all processes together, which is what a container of the shipped deployments may have.
_ALL_PROCESSES = 1024

_TEXTS = ["a good film " * 680] * 1020


@SCENARIOS.add(Setup(("--workers", "2")), peak_megabytes=_ALL_PROCESSES, total=True)
def large_batches(server: ServerProcess, times: int) -> int:
    """80 callers with complete bodies of 8 MB each, over both protocols: each is answered or refused."""
    body = json.dumps({"texts": _TEXTS}).encode()
    batch = PredictBatchRequest(texts=_TEXTS).SerializeToString()

    def rest() -> str:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2 * PATIENCE)
        try:
            connection.request("POST", "/v1/predict_batch", body)
            response = connection.getresponse()
            response.read()
            return str(response.status)
        finally:
            connection.close()

    def call() -> str:
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) as channel:
            try:
                method: Any = channel.unary_unary(PREDICT_BATCH.decode())
                method(batch, timeout=2 * PATIENCE)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "200"

    def ask(once: Callable[[], str]) -> str:
        try:
            return once()
        except OSError as error:
            return type(error).__name__

    callers = [rest, call] * 40 * times
    with ThreadPoolExecutor(80) as pool:
        outcomes = Counter(pool.map(ask, callers))
    assert outcomes.keys() <= {"200", "429", "RESOURCE_EXHAUSTED"}, dict(outcomes)
    return 40 * times * (len(body) + len(batch))
