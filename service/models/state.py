"""What the routes of REST and the methods of gRPC use of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from sentiment_conv1d.service.inference.dataplane import DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.security.tls import Certificates
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics


@dataclass
class ServiceState:
    """The parts of a worker. `reconciler` is set later, by a process that follows orders, and so are `certificates`."""

    settings: Settings
    dataplane: DataPlane
    models: LoadedModels
    readiness: Readiness
    access: Access
    metrics: Metrics
    certificates: Certificates | None = None
    reconciler: Reconciler = field(init=False)
