"""Typed access to the state that the application keeps for its routes."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import State

from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics


class ServiceState(State):
    """The parts of this worker that routes use."""

    settings: Settings
    dataplane: DataPlane
    models: LoadedModels
    readiness: Readiness
    access: Access
    metrics: Metrics
    reconciler: Reconciler


def state_of(request: Request) -> ServiceState:
    """The parts of the worker that handles a request."""
    state: ServiceState = request.app.state
    return state
