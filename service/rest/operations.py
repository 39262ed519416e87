"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel

from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

PROTOCOL = RestProtocol("operations")


class ProbeStatus(BaseModel):
    """The answer to a probe."""

    status: str


PROTOCOL.probe("/livez", "Liveness", b'{"status":"alive"}', ProbeStatus, readiness=False, name="livez")
PROTOCOL.probe("/readyz", "Readiness", b'{"status":"ready"}', ProbeStatus, name="readyz")


@PROTOCOL.document("/metrics", "Prometheus metrics", response_class=Response)
def metrics(state: ServiceState) -> Answer:
    """Return the metrics of the service in the Prometheus text format."""
    return Answer(state.exposition(), CONTENT_TYPE.encode())
