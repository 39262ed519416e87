"""The parts of a worker that the routes of REST and the methods of gRPC use."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from sentiment_conv1d.server.errors import Unavailable
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.reconciler import Reconciler
from sentiment_conv1d.service.scheduling.dataplane import DataPlane
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.security.tls import Certificates
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics

#: Seconds for which all scrapes get the same exposition, which takes milliseconds of the event loop to compute.
SHARED_SECONDS = 0.2

#: Bytes of new expositions per second. Callers that read slowly hold the old ones, which are not charged because many
#: callers can share one, until the write timeout. With 64 versions an exposition has several megabytes.
NEW_BYTES_PER_SECOND = 2_000_000


@dataclass
class ServiceState:
    """The parts of a worker. `reconciler` is set later, in a process that follows orders."""

    settings: Settings
    dataplane: DataPlane
    models: LoadedModels
    access: Access
    metrics: Metrics
    certificates: Certificates | None = None
    #: Held by the large body or message that is decompressed, because only one at a time is.
    expanding: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    reconciler: Reconciler = field(init=False)
    draining: bool = field(default=False, init=False)  # shutting down: requests are still answered
    _exposition: bytes = field(default=b"", init=False)
    _exposed_at: float = field(default=float("-inf"), init=False)

    @property
    def guarded(self) -> bool:
        """Whether requests need an API key or a client certificate."""
        return self.access.needs_key or self.settings.tls_client_ca is not None

    @property
    def ready(self) -> bool:
        """Whether the worker is ready for traffic: see `check_ready`."""
        try:
            self.check_ready()
        except Unavailable:
            return False
        return True

    def check_ready(self) -> None:
        """Raise `Unavailable` if the worker is draining, or the models are not ready."""
        self.check_draining()
        self.models.check_ready()

    def check_draining(self) -> None:
        """Raise `Unavailable` if the worker is shutting down."""
        if self.draining:
            raise Unavailable("shutting down")

    def close(self) -> None:
        """Finish the running batch, and write the last records."""
        self.dataplane.close()

    def exposition(self) -> bytes:
        """Return the metrics in the Prometheus text format, at most `SHARED_SECONDS` old if it is small."""
        now = monotonic()
        if now - self._exposed_at >= max(SHARED_SECONDS, len(self._exposition) / NEW_BYTES_PER_SECOND):
            expiry = None if self.certificates is None else self.certificates.expiry
            self._exposition = self.metrics.expose(self.models.states(), self.models.labelled(), expiry)
            self._exposed_at = now
        return self._exposition
