"""The routes of operators: liveness, readiness and metrics."""

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


@router.get("/livez", summary="Is the process alive?")
async def livez() -> ProbeStatus:
    """200 as long as the process answers at all."""
    return ProbeStatus(status="alive")


@router.get("/readyz", summary="May traffic come here?", responses={503: {"model": ErrorResponse}})
async def readyz(request: Request) -> ProbeStatus:
    """200 while models are loaded that gave their golden answer; 503 once the service is shutting down."""
    state_of(request).readiness.check()
    return ProbeStatus(status="ready")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The service's counters in Prometheus' text format."""
    state = state_of(request)
    return Response(state.metrics.expose(state.models.states()), media_type=CONTENT_TYPE)


PROTOCOL = replace(native.PROTOCOL, tag="operations", endpoints={}, routers=(router,), health=("/livez", "/readyz"))
