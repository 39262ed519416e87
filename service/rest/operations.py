"""The routes of operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.rest.native import ErrorResponse
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

router = APIRouter(tags=["operations"])


class Status(BaseModel):
    """A probe's answer."""

    status: str


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Status:
    """200 as long as the process answers at all."""
    return Status(status="alive")


@router.get("/readyz", summary="May traffic come here?", responses={503: {"model": ErrorResponse}})
async def readyz(request: Request) -> Status:
    """200 while models are loaded that gave their golden answer; 503 once the service is shutting down."""
    dataplane: DataPlane = request.app.state.dataplane
    dataplane.check_ready()
    return Status(status="ready")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The service's counters in Prometheus' text format."""
    dataplane: DataPlane = request.app.state.dataplane
    return Response(dataplane.metrics.expose(dataplane.repository.states()), media_type=CONTENT_TYPE)
