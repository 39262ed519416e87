"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import BaseModel

from sentiment_conv1d.service.errors import Unavailable
from sentiment_conv1d.service.rest.protocol import RestProtocol, state_of
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

PROTOCOL = RestProtocol("operations", health=("/livez", "/readyz"))


class ProbeStatus(BaseModel):
    """The answer to a probe."""

    status: str


@PROTOCOL.get("/livez", summary="Liveness")
async def livez() -> ProbeStatus:
    """Return 200 if the process can answer."""
    return ProbeStatus(status="alive")


@PROTOCOL.get("/readyz", summary="Readiness", responses=PROTOCOL.errors(Unavailable))
async def readyz(request: Request) -> ProbeStatus:
    """Return 200 while the default model and the versions of every split are loaded, otherwise or at shutdown 503."""
    state_of(request).readiness.check()
    return ProbeStatus(status="ready")


@PROTOCOL.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the metrics of the service in the Prometheus text format."""
    state = state_of(request)
    models = state.models
    expiry = None if state.certificates is None else state.certificates.expiry
    return Response(state.metrics.expose(models.states(), models.missing(), expiry), media_type=CONTENT_TYPE)
