"""Typed access to the state that the application keeps for its routes."""

from __future__ import annotations

from fastapi import Request

from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics


def settings_of(request: Request) -> Settings:
    """Return the settings of the service."""
    settings: Settings = request.app.state.settings
    return settings


def dataplane_of(request: Request) -> DataPlane:
    """Return the data plane of this worker."""
    dataplane: DataPlane = request.app.state.dataplane
    return dataplane


def models_of(request: Request) -> LoadedModels:
    """Return the models that are served."""
    models: LoadedModels = request.app.state.models
    return models


def readiness_of(request: Request) -> Readiness:
    """Return the readiness of this worker."""
    readiness: Readiness = request.app.state.readiness
    return readiness


def access_of(request: Request) -> Access:
    """Return the API keys and administration keys."""
    access: Access = request.app.state.access
    return access


def metrics_of(request: Request) -> Metrics:
    """Return the metrics of all workers."""
    metrics: Metrics = request.app.state.metrics
    return metrics


def reconciler_of(request: Request) -> Reconciler:
    """Return the reconciler, which loads and unloads models in all workers."""
    reconciler: Reconciler = request.app.state.reconciler
    return reconciler
