"""Starts the service from its settings, and stops it."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment_conv1d.artifact.artifact import Artifact
from sentiment_conv1d.artifact.errors import TransientError
from sentiment_conv1d.artifact.manifest import Manifest
from sentiment_conv1d.inference.provider import CUDA
from sentiment_conv1d.inference.provider import choose as choose_provider
from sentiment_conv1d.server.errors import ServerError
from sentiment_conv1d.server.network.sockets import ListeningSocket, bind, bind_unix
from sentiment_conv1d.server.process.channel import Channel
from sentiment_conv1d.server.process.open_files import make_room, open_standard_streams
from sentiment_conv1d.server.process.processors import processors
from sentiment_conv1d.server.process.supervisor import Supervisor
from sentiment_conv1d.service.errors import StartupError
from sentiment_conv1d.service.models import snapshot
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.order import Order
from sentiment_conv1d.service.models.repository import Repository
from sentiment_conv1d.service.models.startup import choose, opener, repository_of
from sentiment_conv1d.service.process.core import Core
from sentiment_conv1d.service.process.startup_signals import StartupSignals
from sentiment_conv1d.service.process.transactions import Transactions
from sentiment_conv1d.service.process.trial import Trial
from sentiment_conv1d.service.process.worker import ServiceWorker
from sentiment_conv1d.service.protocols import rest_protocols, routes
from sentiment_conv1d.service.rest import openapi
from sentiment_conv1d.service.scheduling.served import ServedClassifier
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.security.tls import Certificates
from sentiment_conv1d.service.settings import Settings, flag, named
from sentiment_conv1d.service.telemetry.metrics import LOADS, Metrics
from sentiment_conv1d.service.telemetry.sinks import prepare_folder
from sentiment_conv1d.service.version_labels import parse_labels

if TYPE_CHECKING:
    from sentiment_conv1d.service.process.copies import Copies

logger = logging.getLogger(__name__)

#: Signals that the service has no use for. By default they would end a process without a drain. Workers inherit this.
_IGNORED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)

#: Addresses that a browser on this machine reaches as `localhost`.
_THIS_MACHINE = ("0.0.0.0", "::", "127.0.0.1")  # noqa: S104 - compared, not bound


def serve(settings: Settings) -> None:
    """Load the models, answer requests until SIGTERM or SIGINT, and finish the running requests.

    Raises `StartupError` or `ArtifactError` before the service listens, so a server that listens works.
    """
    open_standard_streams()
    signals = StartupSignals()
    for number in (signal.SIGHUP, *_IGNORED):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent that ignores it would hide the ends of child processes
    certificates = Certificates.read_settings(settings)
    most_workers = settings.workers or processors()
    limits = {name: getattr(settings, name) for name in ("max_connections", "grpc_max_connections")}
    settings = settings.model_copy(update=make_room(limits, most_workers))
    if settings.tracing:
        import_module("sentiment_conv1d.service.telemetry.tracing")  # fails now if a package is missing
    prepare_folder(settings.request_log)
    with ExitStack() as stack:
        listeners = _bind_all(settings, stack)
        core = load_core(settings, most_workers, certificates)
        openapi.write(rest_protocols(settings), settings, core.access)  # workers inherit it
        logger.info("access: %s", core.access.describe())
        signals.check()
        for listener in listeners.values():
            listener.listen(settings.write_timeout)
        if not _supervisor(core, listeners).run():
            # The settings were checked before the fork, so a worker lacked memory, files or time, or was killed.
            raise TransientError("the service could not start; the log says why")
    for number in (signal.SIGINT, signal.SIGTERM):  # a late signal must not change the exit status
        signal.signal(number, signal.SIG_IGN)
    logger.info("stopped")


def _bind_all(settings: Settings, stack: ExitStack) -> dict[str, ListeningSocket]:
    """Return the sockets by protocol. The stack closes them."""
    listeners = {"rest": stack.enter_context(_bind(settings.uds, settings, "port"))}
    if settings.grpc:
        listeners["grpc"] = stack.enter_context(_bind(settings.grpc_uds, settings, "grpc_port", " for gRPC"))
    return listeners


def _bind(path: Path | None, settings: Settings, setting: str, purpose: str = "") -> ListeningSocket:
    """Bind the path, or the port of this setting. Raises `ServerError`, which says how to choose another port."""
    if path is not None:
        return bind_unix(path)
    try:
        return bind(settings.host, getattr(settings, setting), purpose)
    except ServerError as error:
        if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EADDRINUSE:
            raise
        default = Settings.model_fields[setting].default
        command = f'make serve ARGS="{flag(setting)} {default + 1000}"'
        raise ServerError(f"{error}; {named(setting)} chooses another port, as in `{command}`") from error


def _supervisor(core: Core, listeners: Mapping[str, ListeningSocket]) -> Supervisor:
    """Return the supervisor of a service that is loaded."""
    settings = core.settings
    control = Transactions(
        core.models,
        core.metrics,
        partial(record, core),
        partial(core.refresh, logging.DEBUG),  # the workers say it too
        Trial(core.repository, core.models, opener(settings), settings.load_timeout).start,
        settings.load_timeout,
        _copies(core),
    )
    return Supervisor(
        partial(_work, core),
        core.workers,
        listeners,
        control,
        partial(_log_listeners, core, listeners),
        worker_seconds=settings.worker_timeout,
        shutdown_seconds=settings.shutdown_timeout,
        drain_seconds=settings.drain_delay,
    )


def _work(core: Core, number: int, channel: Channel) -> None:
    """Run a worker in this process until it leaves."""
    core.metrics.choose_row(number)
    ServiceWorker(number, core, channel).run()


def _log_listeners(core: Core, listeners: Mapping[str, ListeningSocket]) -> None:
    """Log where the service listens, REST last, and on a terminal what a browser opens."""
    if any(listener.is_loopback() for listener in listeners.values()):
        logger.info("only this machine can connect; %s admits others, as in `--host 0.0.0.0`", named("host"))
    secure = "" if core.certificates is None else "s"
    for protocol, scheme in (("grpc", "grpc"), ("rest", "http")):
        if protocol in listeners:
            logger.info("listening on %s", listeners[protocol].describe(scheme + secure, core.settings.host))
    if core.settings.uds is None and sys.stderr.isatty():
        host = "localhost" if core.settings.host in _THIS_MACHINE else core.settings.host
        logger.info("open %s", listeners["rest"].describe("http" + secure, host))


def _copies(core: Core) -> Copies | None:
    """Return what updates the copies of a store, or None if the models are not in one."""
    if not core.repository.copied:
        return None
    from sentiment_conv1d.service.models.mirror import Mirror
    from sentiment_conv1d.service.process.copies import Copies

    assert isinstance(core.repository, Mirror)
    settings = core.settings
    interval = max(settings.watch_interval, settings.store_interval) if settings.watch_interval else 0.0
    return Copies(core.repository, settings.store_timeout, interval, core.metrics)


class _Loader:
    """Loads the versions with which a service starts.

    This process opens them before it forks the workers. A process cannot use a GPU that its parent has used, so each
    worker opens the versions on a GPU itself. Those are `unopened`.
    """

    def __init__(self, settings: Settings, repository: Repository, models: LoadedModels) -> None:
        self.unopened: list[Manifest] = []
        self._settings = settings
        self._repository = repository
        self._models = models
        self._open = opener(settings)
        self._trial = Trial(repository, models, self._open, settings.load_timeout)

    def load(self, order: Order) -> None:
        """Read and open a version. Raises `ArtifactError`."""
        self._put(order, self._repository.read(*order.key))

    def load_for_workers(self, order: Order) -> None:
        """Let a child process read and open a version first. Raises the errors of `Trial.run`."""
        with ExitStack() as stack:
            descriptor = self._trial.run(order)
            stack.callback(os.close, descriptor)
            artifact = self._repository.verify(*order.key, snapshot.contents(descriptor))
            choice = choose_provider(self._settings.execution_provider, artifact, self._settings.device)
            if choice.provider != CUDA:
                self._put(order, artifact)
                return
            self.unopened.append(artifact.manifest)
            self._models.follow(snapshot.order(descriptor), descriptor)
            stack.pop_all()  # the models close it
            log_model(artifact.manifest, *choice)

    def _put(self, order: Order, artifact: Artifact) -> None:
        self._models.put(ServedClassifier(self._open(artifact)), order.fingerprint)


def load_core(settings: Settings, most_workers: int = 0, certificates: Certificates | None = None) -> Core:
    """Load the models and the keys, for up to `most_workers` workers, or for this process alone.

    If there are workers, this process must have no threads. Raises the errors of `choose`, and `StartupError`.
    """
    access = Access(settings)  # before the models, which take seconds
    repository = repository_of(settings, watched=settings.watch_interval > 0)
    models = LoadedModels(settings.default_model, parse_labels(settings.version_labels))
    loader = _Loader(settings, repository, models)
    if "://" not in settings.model_repository:
        logger.info("the model repository is %s", repository.path.absolute())
    choose(repository, models, loader.load_for_workers if most_workers else loader.load)
    workers = most_workers
    if not settings.workers and not list(models):  # processes that share a GPU only take its memory
        workers = min(1, most_workers)
    metrics = Metrics(routes(settings), workers=workers + 1)
    metrics.choose_row(workers)
    for manifest in (*loader.unopened, *(classifier.manifest for classifier in models)):
        metrics.assign((manifest.name, manifest.version), manifest.labels)
    for classifier in models:
        classifier.count(metrics)
        log_model(classifier.manifest, classifier.engine.provider, classifier.choice.reason, classifier.engine.operator)
    if missing := models.missing():
        if settings.strict:
            raise StartupError(f"--strict: {'; '.join(map(str, missing))}")
        for each in missing:
            logger.warning("%s", each)
    metrics.keys.add(access.names())
    return Core(settings, repository, models, metrics, access, certificates, workers)


def log_model(manifest: Manifest, provider: str, reason: str, operator: str = "") -> None:
    """Log a model that is served from the start, its execution provider, and why `auto` chose it.

    `operator` is `native`, or why the native operator is not used.
    """
    extra = {"version": manifest.version, "execution_provider": provider, "reason": reason, "operator": operator}
    logger.info("serving %s", manifest.name, extra={name: value for name, value in extra.items() if value})


def record(core: Core, order: Order) -> None:
    """Count and log an order that all workers have carried out."""
    metrics = core.metrics
    metrics.retire(core.models.keys())
    extra: dict[str, object] = {"version": order.version}
    match order.action:
        case "serve":
            metrics.count(LOADS, "loaded")
            logger.info("serving %s", order.name, extra=extra)
        case "refuse":
            metrics.count(LOADS, "refused")
            logger.error("refused a version of %s: %s", order.name, order.reason, extra=extra | {"fault": order.fault})
        case "drop":
            logger.info("stopped serving a version of %s", order.name, extra=extra)
        case "unload":
            logger.info("unloaded %s", order.name)
        case "label":
            logger.info("labelled versions of %s", order.name, extra={"labels": order.version_labels})
