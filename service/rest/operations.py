"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel

from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

ROUTES = RestProtocol("operations")


class ProbeStatus(BaseModel):
    """The answer to a probe."""

    status: str


ROUTES.probe("/livez", "Liveness", b'{"status":"alive"}', ProbeStatus, readiness=False, name="livez")
ROUTES.probe("/readyz", "Readiness", b'{"status":"ready"}', ProbeStatus, name="readyz")


@ROUTES.document("/metrics", "Prometheus metrics", compressed=True, response_class=Response)
def metrics(state: ServiceState) -> Answer:
    """Return the metrics of the service in the Prometheus text format, compressed if the client accepts it."""
    return Answer(state.exposition(), CONTENT_TYPE.encode())
