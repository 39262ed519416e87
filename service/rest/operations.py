"""The routes of operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.rest.native import ErrorResponse
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE
from sentiment_conv1d.service.telemetry.metrics import Metrics

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
    readiness: Readiness = request.app.state.readiness
    readiness.check()
    return Status(status="ready")


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """The service's counters in Prometheus' text format."""
    metrics: Metrics = request.app.state.metrics
    models: LoadedModels = request.app.state.models
    return Response(metrics.expose(models.states()), media_type=CONTENT_TYPE)
