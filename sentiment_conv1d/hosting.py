"""`asgi`: the REST application of the service for one loaded model, in any ASGI server."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from sentiment_conv1d.artifact.errors import first_fault
from sentiment_conv1d.models import Model
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.repository import Repository, Scan
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.process.standalone import Standalone
from sentiment_conv1d.service.protocols import routes
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.version_policy import VersionPolicy

#: The settings that apply in another server. The others concern listening, processes or the model repository.
_SETTINGS = frozenset(
    {
        *("api_keys", "open_health", "open_metrics", "open_page", "access_log"),
        *("max_body_bytes", "max_text_characters", "max_batch_texts", "max_buffered_bytes"),
        *("max_concurrent_requests", "max_pending_texts", "body_timeout", "request_timeout"),
        *("batching", "batching_rows", "batching_delay"),
    }
)


def asgi(model: Model, **settings: Any) -> ASGIApp:
    """Return an ASGI application that serves a model over REST, for uvicorn or another server:

        app = sentiment_conv1d.asgi(sentiment_conv1d.load("imdb-cnn"))

    It has the routes, the page and the metrics of the service. `settings` are settings of the service that limit
    requests, such as `max_batch_texts=64` or `api_keys="..."`. Raises `TypeError` for any other setting, `ValueError`
    for a wrong value, and `SentimentError` for a bad API key.
    """
    if others := ", ".join(sorted(settings.keys() - _SETTINGS)):
        raise TypeError(f"{others}: not a setting of an ASGI application; there are: {', '.join(sorted(_SETTINGS))}")
    try:
        values = Settings(**settings, default_model=model.name)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None
    return _Hosted(_core(model, values))


class _Hosted:
    """Starts the application when its server starts, on the event loop of this server."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._application: Standalone | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._application is None:
            self._application = Standalone(self._core)
        application = self._application
        if scope["type"] == "lifespan":
            try:
                await application(scope, receive, send)
            finally:
                application.stop()
                self._application = None
        else:
            await application(_below(scope), receive, send)


class _OneModel(Repository):
    """A repository that consists of a loaded model."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.folder.parent.parent, VersionPolicy(""))
        self._key = model.name, int(model.version)

    def scan(self) -> Scan:
        name, version = self._key
        return {name: {version: self.fingerprint(name, version)}}


def _core(model: Model, settings: Settings) -> Core:
    classifier = ServedClassifier(model.classifier)
    models = LoadedModels(model.name)
    models.put(classifier)
    metrics = Metrics({"rest": routes(settings)["rest"]}, workers=1)
    metrics.choose_row(0)
    metrics.assign((model.name, int(model.version)), classifier.labels)
    classifier.count(metrics)
    return Core(settings, _OneModel(model), models, metrics, Access(settings), None)


def _below(scope: Scope) -> Scope:
    """Return the scope of a request with the path below the one at which the application is mounted."""
    root = scope.get("root_path", "")
    if not root or not scope["path"].startswith(f"{root}/"):
        return scope
    raw_path = scope.get("raw_path") or scope["path"].encode()
    return {
        **scope,
        "path": scope["path"].removeprefix(root),
        "raw_path": raw_path.removeprefix(root.encode()),
    }
