"""Routes for operators: liveness, readiness and metrics."""

from __future__ import annotations

from fastapi import Response
from pydantic import BaseModel

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.endpoint import to_json
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.telemetry.exposition import CONTENT_TYPE

PROTOCOL = RestProtocol("operations", health=("/livez", "/readyz"))


class ProbeStatus(BaseModel):
    """The answer to a probe."""

    status: str


_ALIVE, _READY = (Answer(to_json({"status": status})) for status in ("alive", "ready"))


@PROTOCOL.document("/livez", "Liveness", response_model=ProbeStatus)
def livez(state: ServiceState) -> Answer:
    """Return 200 if the process can answer."""
    return _ALIVE


@PROTOCOL.document("/readyz", "Readiness", response_model=ProbeStatus, responses=PROTOCOL.errors(Unavailable))
def readyz(state: ServiceState) -> Answer:
    """Return 200 while the default model and the versions of every split are loaded, otherwise or at shutdown 503."""
    state.readiness.check()
    return _READY


@PROTOCOL.document("/metrics", "Prometheus metrics", response_class=Response)
def metrics(state: ServiceState) -> Answer:
    """Return the metrics of the service in the Prometheus text format."""
    return Answer(state.exposition(), CONTENT_TYPE.encode())
