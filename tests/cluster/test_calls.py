"""gRPC calls in a replica in this process, without Ray."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import grpc

from sentiment_conv1d.cluster.calls import Metadata, run_unary
from sentiment_conv1d.cluster.replica import Replica
from sentiment_conv1d.cluster.servicers import Message
from sentiment_conv1d.protos.sentiment_pb2 import PredictRequest
from sentiment_conv1d.service.grpc.health import CHECK, HealthCheckRequest
from sentiment_conv1d.service.grpc.sentiment import PREDICT
from sentiment_conv1d.service.settings import Settings
from tests.service.telemetry.test_metrics import series


class Context:
    """Records what a call tells Ray."""

    code = grpc.StatusCode.OK
    details = ""
    trailing: Sequence[tuple[str, str | bytes]] = ()

    def invocation_metadata(self) -> Metadata:
        return [("x-request-id", "mine")]

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, trailing: Sequence[tuple[str, str | bytes]]) -> None:
        self.trailing = trailing


def test_health_of_an_unknown_service() -> None:
    """A health check of an unknown service gets NOT_FOUND with the request id, like every refused call."""
    context = Context()
    request = Message(HealthCheckRequest(service="other").SerializeToString())

    async def check() -> Message:
        return await run_unary(Replica(Settings()), CHECK, request, context)

    assert asyncio.run(check()).content == b""
    assert (context.code, context.details) == (grpc.StatusCode.NOT_FOUND, "there is no service 'other'")
    assert dict(context.trailing).keys() == {"x-request-id", "grpc-status-details-bin"}
    assert dict(context.trailing)["x-request-id"] == "mine"


def test_metrics() -> None:
    """An answered call and a refused one are counted with their statuses, and end."""

    async def ask() -> Replica:
        replica = Replica(Settings())
        for model in ("", "other"):
            request = PredictRequest(text="A great film.", model=model)
            await run_unary(replica, PREDICT, Message(request.SerializeToString()), Context())
        await asyncio.sleep(0)  # the turn in which an answer is counted
        return replica

    counted: Counter[str] = Counter()
    for (name, labels), number in series(asyncio.run(ask()).expose()).items():
        if ("protocol", "grpc") in labels and name in ("sentiment_requests_total", "sentiment_requests_in_flight"):
            counted[dict(labels).get("status", "in flight")] += int(number)
    assert +counted == Counter(OK=1, NOT_FOUND=1)
