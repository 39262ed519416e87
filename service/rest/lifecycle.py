"""What all REST requests have in common: an id, access, counts, traces, CORS, the access log, and the shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sentiment_conv1d.server.errors import RequestError, ShutDown, Unauthorized
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.request_ids import HEADER, choose_id
from sentiment_conv1d.service.errors import Forbidden
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest import page
from sentiment_conv1d.service.rest.cors import Cors
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.logs import log_request
from sentiment_conv1d.service.telemetry.request_context import RequestContext

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)

_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR.value

#: The key of an ASGI scope under which the context of the request is.
CONTEXT = "service.context"

#: The status that nginx logs if the client disconnects before the response. It is never sent.
CLIENT_CLOSED_REQUEST = 499


class Lifecycle:
    """Begins and ends the requests of one worker. `health` are the paths of health probes."""

    def __init__(self, state: ServiceState, health: set[str], tracer: Tracer | None = None) -> None:
        settings = state.settings
        self._state = state
        self._health = health
        self._metrics = state.metrics
        self._access = state.access
        self._needs_certificate = settings.tls_client_ca is not None
        self._access_log = settings.access_log
        self._open_paths = open_paths(settings, health)
        self.cors = None if settings.cors_origins is None else Cors(settings.cors_origins)
        self._tracer = tracer
        self._untraced = frozenset({*health, "/metrics"})
        #: The tasks of requests whose response has not begun.
        self.unanswered: set[asyncio.Task[Any] | None] = set()
        self.expired = False  # whether the time for shutdown is over

    def begin(self, request: HttpRequest, route: str) -> RequestContext:
        """Return the context of a new request, which is counted and traced until `end`."""
        identity = choose_id(request.headers.get(HEADER))
        self._metrics.began("rest")
        context = RequestContext(identity, "rest", route, request.charge.caller)
        if self.cors is not None:
            context.fields = self.cors.fields(request.headers)
        if self._tracer is not None and request.path not in self._untraced:
            attributes = _attributes(request)
            context.trace = self._tracer.begin(request.method, request.headers, attributes, context.started)
            context.fields += context.trace.fields
        return context

    def end(self, status: int, request: HttpRequest, context: RequestContext) -> None:
        """Count a request, write the access log, and end the trace. Failures of the service are always in the log."""
        seconds = perf_counter() - context.started
        self._metrics.ended("rest", context.route, str(status), seconds, context)
        expected = self._state.draining and context.route in self._health
        hurried = status == HTTPStatus.GATEWAY_TIMEOUT and context.hurried
        failed = status >= _SERVER_ERROR and not (expected or hurried)
        if self._access_log or failed:
            # The target is logged as it was sent: decoded, it could contain a line break and forge another line.
            line = f"{request.method} {request.target.decode()}"
            log_request(logger, context.id, line, status, seconds, request.client, failed=failed)
        if context.trace is not None:
            attributes: dict[str, str | int] = {"http.route": context.route, "http.response.status_code": status}
            if error := status >= _SERVER_ERROR:
                attributes["error.type"] = str(status)
            context.trace.end(f"{request.method} {context.route}", attributes, context, failed=error)

    def check_access(self, request: HttpRequest, path: str) -> None:
        """Raise an error if a path is not open, and the request lacks a certificate or a key."""
        if not self._state.guarded or self._is_open(request.method, path):
            return
        if self._needs_certificate and not request.certified:
            raise Forbidden("a client certificate is needed")
        if not self._access.admits(request.charge.caller):
            raise Unauthorized("an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")

    def admits(self, method: bytes, target: bytes, headers: Mapping[bytes, bytes], certified: bool) -> bool:
        """Return whether a request shows that its client has access: by a key, or by a certificate.

        A request for an open path does not: probes are answered even if all places of clients with access are taken.
        """
        if self._is_open(method.decode(), target.partition(b"?")[0].decode("latin-1")):
            return False
        return certified or (self._access.needs_key and self._access.caller(headers) is not None)

    def reject_unfinished(self) -> None:
        """Answer requests whose response has not begun, and later ones that run a model, with 503.

        Called when the time for shutdown is over. A client that is reading its answer can finish reading.
        """
        self.expired = True
        for task in self.unanswered:
            if task is not None:
                task.cancel()

    def _is_open(self, method: str, path: str) -> bool:
        return path in self._open_paths and method in ("GET", "HEAD")


def _attributes(request: HttpRequest) -> dict[str, str]:
    """Return the attributes of a span that are known when its request begins."""
    attributes = {
        "http.request.method": request.method,
        "url.scheme": request.scheme,
        "url.path": request.path,
        "network.protocol.version": request.version,
    }
    if request.client is not None:
        attributes["client.address"] = request.client
    return attributes


def complete(answer: Answer, context: RequestContext) -> Answer:
    """Return an answer with the header fields for CORS and traces."""
    return Answer(answer.body, answer.content_type, answer.headers + context.fields) if context.fields else answer


def refuse(protocol: RestProtocol, error: RequestError, request_id: str) -> tuple[Answer, int]:
    """Return an error in a protocol's form, and its status."""
    answer = Answer(protocol.error_body(error, request_id), headers=headers.of_error(error))
    return answer, protocol.status(error).value


def out_of_time() -> ShutDown:
    """Return the error of a request that does not end before the service."""
    return ShutDown("the server is shutting down, and the request did not end in time")


def open_paths(settings: Settings, health: set[str]) -> frozenset[str]:
    """Return the paths that need no API key."""
    paths = set(health) if settings.open_health else set()
    if settings.open_metrics:
        paths.add("/metrics")
    if settings.open_page:
        paths |= {*page.PATHS}
    return frozenset(paths)
