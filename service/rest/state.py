"""What the application keeps for its routes."""

from __future__ import annotations

from fastapi import Request

from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.reconciler import Reconciler


def dataplane_of(request: Request) -> DataPlane:
    """The data plane of this worker."""
    dataplane: DataPlane = request.app.state.dataplane
    return dataplane


def reconciler_of(request: Request) -> Reconciler:
    """What loads and unloads models in all workers."""
    reconciler: Reconciler = request.app.state.reconciler
    return reconciler
