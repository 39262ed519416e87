"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from sentiment_conv1d.service.rest import native
from sentiment_conv1d.service.rest.native import ErrorResponse
from sentiment_conv1d.service.rest.state import state_of
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

router = APIRouter()


class ProbeStatus(BaseModel):
    """The answer to a probe."""

    status: str


@router.get("/livez", summary="Liveness")
async def livez() -> ProbeStatus:
    """Return 200 if the process can answer."""
    return ProbeStatus(status="alive")


@router.get("/readyz", summary="Readiness", responses={503: {"model": ErrorResponse}})
async def readyz(request: Request) -> ProbeStatus:
    """Return 200 while the default model is loaded, and 503 otherwise or during shutdown."""
    state_of(request).readiness.check()
    return ProbeStatus(status="ready")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the metrics of the service in the Prometheus text format."""
    state = state_of(request)
    return Response(state.metrics.expose(state.models.states()), media_type=CONTENT_TYPE)


PROTOCOL = replace(native.PROTOCOL, tag="operations", endpoints={}, routers=(router,), health=("/livez", "/readyz"))
