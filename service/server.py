"""From settings to a running server, and down again."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from time import monotonic
from types import FrameType

import uvicorn

from service.dataplane import DataPlane
from service.errors import StartupError
from service.grpc import server as grpc
from service.metrics import Metrics
from service.repository import load_repository
from service.rest import app
from service.rest.protocol import Protocol
from service.settings import Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Load, answer requests until SIGTERM or SIGINT, finish the running ones.

    Raises `StartupError` or `ArtifactError` before anyone can connect: a server that listens is one that works.
    """
    # For a signal while loading, which the first process of a container would not even notice, or at the very end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = bind(settings.host, settings.port)
    with listener:
        dataplane = load(settings)
        try:
            Server(settings, dataplane).run([listener])
        finally:
            dataplane.close()
    logger.info("stopped")


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises `StartupError` if the address is taken or none of ours."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the second for a name that no name could be
        reason = error.strerror if isinstance(error, OSError) else error
        raise StartupError(f"cannot listen on {host}:{port}: {reason}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartupError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def load(settings: Settings) -> DataPlane:
    """Every model verified, warmed up and true to its golden answer."""
    repository = load_repository(settings)
    for classifier in repository:
        manifest = classifier.manifest
        logger.info(
            "serving %s",
            manifest.name,
            extra={"version": manifest.version, "execution_provider": classifier.engine.provider},
        )
    routes = {"rest": app.routes(settings), "grpc": grpc.ROUTES}
    return DataPlane(repository, settings, Metrics(routes, [classifier.manifest for classifier in repository]))


class Server(uvicorn.Server):
    """Uvicorn with our way out: not ready at once, gone after the drain delay, exit status 0."""

    def __init__(self, settings: Settings, dataplane: DataPlane) -> None:
        super().__init__(
            uvicorn.Config(
                app.Application(dataplane),
                http=Protocol,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=settings.keep_alive_timeout,
                timeout_graceful_shutdown=settings.shutdown_timeout,
            )
        )
        self._dataplane = dataplane
        self._settings = settings
        self._grpc: grpc.Server | None = None
        self._leave_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, and say so. Raises `StartupError` if another process was faster."""
        for listener in sockets or []:
            try:
                listener.listen(self.config.backlog)  # uvloop would not tell that it cannot
            except OSError as error:
                raise StartupError(f"cannot listen: {error.strerror}") from error
        host = self._settings.host
        shown = f"[{host}]" if ":" in host else host
        if self._settings.grpc:
            self._grpc = grpc.Server(self._dataplane)
            port = await self._grpc.start(host, self._settings.grpc_port)
            logger.info("listening on grpc://%s:%d", shown, port)
        await super().startup(sockets)
        for listener in sockets or []:
            logger.info("listening on http://%s:%d", shown, listener.getsockname()[1])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new requests, on either port, and finish those that run."""
        closing = [super().shutdown(sockets)]
        if self._grpc is not None:
            closing.append(self._grpc.stop(self._settings.shutdown_timeout))
        await asyncio.gather(*closing)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether it is time to leave."""
        if self._dataplane.draining and self._grpc is not None:
            await self._grpc.drain()
        return await super().on_tick(counter) or (self._leave_at is not None and monotonic() >= self._leave_at)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave: SIGTERM gives load balancers the drain delay, Ctrl-C does not, a second signal waits for nothing."""
        if self._leave_at is not None:
            self.should_exit = self.force_exit = True
            return
        logger.info("shutting down")
        self._dataplane.draining = True
        self._leave_at = monotonic() + (self._settings.drain_delay if sig == signal.SIGTERM else 0)
