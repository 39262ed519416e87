"""The core of the service, which knows no protocol: the models, and what answers requests with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sentiment_conv1d.service.inference.dataplane import Batching, DataPlane, RequestLimits
from sentiment_conv1d.service.inference.in_flight import InFlight
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_log import RequestLog
from sentiment_conv1d.service.telemetry.sinks import EventSink, LogFile


@dataclass(frozen=True)
class Core:
    """What a service loads before it answers requests. Workers inherit it at their fork."""

    settings: Settings
    repository: Repository
    models: LoadedModels
    metrics: Metrics
    access: Access
    #: How the request log writes a text; None if it contains no texts.
    written: Callable[[str], str] | None

    def start(self, worker: int, in_flight: InFlight) -> ServiceState:
        """Return the parts of a worker. Call it after the fork, because the request log has a thread."""
        settings = self.settings
        limits = RequestLimits(
            texts=settings.max_batch_texts,
            characters=settings.max_text_characters,
            requests=settings.max_concurrent_requests,
            pending_texts=settings.max_pending_texts,
            seconds=settings.request_timeout,
        )
        batching = Batching(settings.batching, settings.batching_rows, settings.batching_delay)
        dataplane = DataPlane(limits, batching, self.metrics, in_flight, self.models, self._make_request_log(worker))
        return ServiceState(settings, dataplane, self.models, Readiness(self.models), self.access, self.metrics)

    def _make_request_log(self, worker: int) -> RequestLog | None:
        settings = self.settings
        if settings.request_log is None:
            return None
        if (folder := settings.request_log_folder) is None:
            sink = EventSink(settings.request_log).write
        else:
            sink = LogFile(folder / f"requests-{worker}.jsonl", settings.request_log_bytes).write
        return RequestLog(sink, settings.request_log_sample, written=self.written, count=self.metrics.logged)
