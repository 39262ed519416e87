"""The core of the service, which knows no protocol: the models, and what answers requests with them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.reconciler import Reconciler, Workers
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.startup import opener
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.scheduling.dataplane import Batching, DataPlane, RequestLimits
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.security.tls import Certificates
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import LOGGED, Metrics
from sentiment_conv1d.service.telemetry.request_log import RequestLog
from sentiment_conv1d.service.telemetry.sinks import open_sink


@dataclass(frozen=True)
class Core:
    """The parts that a service loads before it answers requests. Workers inherit them at their fork."""

    settings: Settings
    repository: Repository
    models: LoadedModels
    metrics: Metrics
    access: Access
    certificates: Certificates | None = None
    workers: int = 0

    def start(self, worker: int, workers: Workers | None = None) -> ServiceState:
        """Return the parts of a worker. Call it after the fork, because logs have threads.

        `workers` carries out the orders of the reconciler. Without it, there is no reconciler.
        """
        settings = self.settings
        limits = RequestLimits(
            texts=settings.max_batch_texts,
            characters=settings.max_text_characters,
            requests=settings.max_concurrent_requests,
            pending_texts=settings.max_pending_texts,
            seconds=settings.request_timeout,
        )
        batching = Batching(settings.batching, settings.batching_rows, settings.batching_delay)
        dataplane = DataPlane(limits, batching, self.metrics, self.models, self._make_request_log(worker))
        state = ServiceState(settings, dataplane, self.models, self.access, self.metrics, self.certificates)
        if workers is not None:
            open_version = opener(settings)
            state.reconciler = Reconciler(self.repository, self.models, open_version, dataplane, self.metrics, workers)
        return state

    def refresh(self, level: int = logging.INFO) -> None:
        """Read changed certificates and keys, and log that at this level. The metrics show what is refused."""
        if self.certificates is not None:
            self.certificates.refresh(level)
            self.metrics.files_refused(self.certificates.what, refused=self.certificates.refused)
        self.access.refresh(level)
        for keys in self.access.keys:
            self.metrics.files_refused(keys.what, refused=keys.refused)

    def _make_request_log(self, worker: int) -> RequestLog | None:
        settings = self.settings
        if settings.request_log is None:
            return None
        name = f"requests-{worker}.jsonl"
        sink = open_sink(settings.request_log, name, settings.request_log_bytes)
        count = partial(self.metrics.count, LOGGED)
        return RequestLog(sink, settings.request_log_sample, texts=settings.request_log_texts, count=count)
