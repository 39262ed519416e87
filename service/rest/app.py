"""The REST application: routing, and what all requests have in common.

Every request gets an id, is counted and timed, and gets a response in the form of its protocol, even after an
unexpected error. Fast-path routes (`endpoint.Endpoint`) are answered here; FastAPI handles all others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cached_property, partial
from http import HTTPStatus
from time import perf_counter, perf_counter_ns
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match as RouteMatch
from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.server.errors import (
    ClientDisconnected,
    MethodNotAllowed,
    Overloaded,
    RequestError,
    ShutDown,
    Unauthorized,
)
from sentiment_conv1d.server.http import headers
from sentiment_conv1d.server.http.asgi import PIECE_BYTES, TASK, AsgiRequest, send_body
from sentiment_conv1d.server.http.compression import decompress
from sentiment_conv1d.server.http.fast_path import AtOnce, FastRequest, Handler
from sentiment_conv1d.server.http.request import Answer, HttpRequest
from sentiment_conv1d.server.request_ids import choose_id
from sentiment_conv1d.service.errors import Forbidden, NotFound
from sentiment_conv1d.service.inference.dataplane import INLINE_CHARACTERS, STEPPED_CHARACTERS
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest import (
    cloud,
    explain,
    huggingface,
    native,
    oip,
    openapi,
    operations,
    page,
    tfserving,
    vllm,
)
from sentiment_conv1d.service.rest.endpoint import EndpointRequest, to_json
from sentiment_conv1d.service.rest.protocol import Document, RestProtocol, to_response
from sentiment_conv1d.service.rest.routing import Match, Routes
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.logs import log_request
from sentiment_conv1d.service.telemetry.request_context import RequestContext, current, current_id
from sentiment_conv1d.service.version import package_version

logger = logging.getLogger(__name__)

_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR.value

#: The metrics label of paths without a route.
OTHER = "other"

#: The status that nginx logs if the client disconnects before the response. It is never sent.
CLIENT_CLOSED_REQUEST = 499


class Application(FastAPI):
    """FastAPI with the fast-path routes in front of it."""

    def __init__(self, state: ServiceState) -> None:
        super().__init__(
            title="sentiment-conv1d",
            version=package_version(),
            description="The classic Conv1D text classifier: reviews in, labels and probabilities out.",
            exception_handlers=dict.fromkeys((RequestError, HTTPException, Exception), _on_error),
            openapi_url=None,  # see `document`
            docs_url=None,  # the page in page.py needs no network
            redoc_url=None,
            redirect_slashes=False,
        )
        self.service_state, settings = state, state.settings
        self._dataplane = state.dataplane
        self._metrics = state.metrics
        self._access = state.access
        self._needs_certificate = settings.tls_client_ca is not None
        self._guarded = self._access.needs_key or self._needs_certificate
        self._protocols = protocols(settings)
        health = {path for protocol in self._protocols for path in protocol.health}
        self.operational_paths = frozenset({*health, "/metrics"})
        self._open = _open_paths(settings, health)
        self._access_log = settings.access_log
        self._max_body_bytes, self._body_timeout = settings.max_body_bytes, settings.body_timeout
        self._fast_path_bytes = min(STEPPED_CHARACTERS, settings.max_body_bytes)
        self._fast_path = Routes(self._protocols)
        for protocol in self._protocols:
            self.include_router(protocol)
        self.add_route(page.OPENAPI, lambda request: to_response(self.document), include_in_schema=False)
        self._documents = self._find_documents()
        self._secure = settings.tls_certificate is not None
        self._routes = frozenset(routes(settings))
        self._unanswered: set[asyncio.Task[Any] | None] = set()
        self._expired = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        request = AsgiRequest(scope, receive, send)
        if (match := self._match(scope)) is not None:
            scope[TASK] = asyncio.current_task()
            await self.serve(match, request)
            return
        started = perf_counter()
        context = self._begin(request, "")
        if self._guarded and (refusal := self._denial(request, scope["path"])):
            answer, status = _refusal(self.protocol_of(scope), refusal, context.id)
            await request.send(status, answer, context.id)
        else:
            status = await self._handle(request, scope, receive, send, context.id)
        self._end(self.route_of(scope), status, started, request, context)

    def find_document(self, target: bytes, fields: Mapping[bytes, bytes]) -> AtOnce | None:
        """Return the fast-path handler of a GET request, or None if no document answers it whatever its headers are."""
        return None if headers.VARYING & fields.keys() else self._documents.get(target)

    def find_handler(self, target: bytes, fields: Mapping[bytes, bytes]) -> Handler | None:
        """Return the fast-path handler of a request, or None if its body is large, compressed, or of unknown size."""
        match = self._fast_path.find_target(target)
        if match is None or b"content-encoding" in fields:
            return None
        length = headers.content_length(fields)
        small = length is not None and length <= self._fast_path_bytes
        return partial(self.serve, match) if small else None

    def reply(self, document: Document, protocol: RestProtocol, request: FastRequest) -> None:
        """Answer a GET request for a document."""
        started = perf_counter()
        context = self._begin(request, document.route)
        try:
            if self._guarded and (refusal := self._denial(request, request.target.decode())):
                raise refusal
            answer, status = document.answer(self.service_state), 200
            if self._secure:
                answer = answer._replace(headers=(*answer.headers, headers.STRICT_TRANSPORT))
        except RequestError as error:
            answer, status = _refusal(protocol, error, context.id)
        except Exception:
            logger.exception("%s failed", document.route)
            answer, status = _refusal(protocol, RequestError("internal error"), context.id)
        request.reply(status, answer, context.id)
        self._end(document.route, status, started, request, context)
        current.set(None)  # this is not the context of a task, which would end with the request

    async def serve(self, match: Match, request: HttpRequest) -> None:
        """Answer a request of a fast-path route."""
        started = perf_counter()
        context = self._begin(request, match.endpoint.path)
        status = CLIENT_CLOSED_REQUEST
        try:
            answer, answered = await self._answer(match, request, context)
            await request.send(answered, answer, context.id)
            status = answered
        except ClientDisconnected:
            pass
        finally:
            self._end(match.endpoint.path, status, started, request, context)

    def reject_unfinished(self) -> None:
        """Answer requests whose response has not begun, and later ones that run a model, with 503.

        Called when the time for shutdown is over. A client that is reading its answer can finish reading.
        """
        self._expired = True
        for task in self._unanswered:
            if task is not None:
                task.cancel()

    def route_of(self, scope: Scope) -> str:
        """Return the declared path of the route that answered a request, or `other` if there is none."""
        if (match := self._match(scope)) is not None:
            return match.endpoint.path
        route = getattr(scope.get("route"), "path", OTHER)
        return route if route in self._routes else OTHER

    def protocol_of(self, scope: Scope) -> RestProtocol:
        """Return the protocol of a request that FastAPI handles: by prefix or route, else the native protocol."""
        for protocol in self._protocols:
            prefixed = protocol.prefix and scope["path"].startswith(protocol.prefix)
            if prefixed or any(route.matches(scope)[0] is not RouteMatch.NONE for route in protocol.routes):
                return protocol
        return native.PROTOCOL

    def openapi(self) -> dict[str, Any]:
        """Return FastAPI's OpenAPI document with the fast-path routes and the API keys."""
        if self.openapi_schema is None:
            document = super().openapi()
            openapi.complete(document, self._protocols, self._fast_path.declared.values())
            if self._access.takes_key:
                openapi.declare_keys(document, self._open, optional=not self._access.needs_key)
        return self.openapi_schema or {}

    @cached_property
    def document(self) -> Answer:
        """The OpenAPI document in JSON. It takes a tenth of a second, once."""
        return Answer(to_json(self.openapi()))

    def _find_documents(self) -> dict[bytes, AtOnce]:
        """Return the handlers of all documents, by target. If several have the same path, the first of them answers."""
        found = {page.OPENAPI: (Document(OTHER, lambda state: self.document), native.PROTOCOL)}
        for protocol in self._protocols:
            for path, document in protocol.documents.items():
                found.setdefault(path, (document, protocol))
        return {path.encode(): AtOnce(partial(self.reply, *document)) for path, document in found.items()}

    def _match(self, scope: Scope) -> Match | None:
        """Return the fast-path route of a request. FastAPI handles GET requests, such as the page at the root."""
        is_page = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
        return None if is_page else self._fast_path.find(scope["path"])

    def _begin(self, request: HttpRequest, route: str) -> RequestContext:
        identity = choose_id(request.headers.get(headers.REQUEST_ID))
        context = RequestContext(identity, "rest", route, request.headers)
        current.set(context)
        self._metrics.began("rest")
        return context

    def _end(self, route: str, status: int, started: float, request: HttpRequest, context: RequestContext) -> None:
        """Count a request, and write the access log. It has failures of the service even if it is off."""
        seconds = perf_counter() - started
        self._metrics.ended("rest", route, str(status), seconds, context)
        failed = status >= _SERVER_ERROR and not (status == HTTPStatus.GATEWAY_TIMEOUT and context.hurried)
        if self._access_log or failed:
            # The target is logged as it was sent: decoded, it could contain a line break and forge another line.
            line = f"{request.method} {request.target.decode()}"
            log_request(logger, line, status, seconds, request.client, failed=failed)

    async def _answer(self, match: Match, request: HttpRequest, context: RequestContext) -> tuple[Answer, int]:
        """Return the answer or the error, and its status. Raises `ClientDisconnected`."""
        task = asyncio.current_task()
        self._unanswered.add(task)
        try:
            if self._guarded and (refusal := self._denial(request, match.endpoint.path)):
                raise refusal
            if request.method != "POST":
                allowed = "GET, HEAD, POST" if match.endpoint.path == "/" else "POST"
                raise MethodNotAllowed(f"{request.target.decode()} takes {allowed}, not {request.method}", allowed)
            request.admitted = True
            if self._expired:
                raise _out_of_time()
            answer = await self._respond(match, request, context)
            request.charge.add(len(answer.body))
            return answer, 200
        except ClientDisconnected:
            raise
        except RequestError as error:
            return _refusal(match.protocol, error, context.id)
        except asyncio.CancelledError:
            if not self._expired:
                raise
            return _refusal(match.protocol, _out_of_time(), context.id)
        except Exception:
            logger.exception("%s failed", match.endpoint.path)
            return _refusal(match.protocol, RequestError("internal error"), context.id)
        finally:
            self._unanswered.discard(task)

    async def _respond(self, match: Match, request: HttpRequest, context: RequestContext) -> Answer:
        body = await request.body(self._max_body_bytes, self._body_timeout)
        context.received = perf_counter_ns()
        if (encoding := request.headers.get(b"content-encoding")) is not None:
            body = await decompress(body, encoding, self._max_body_bytes, request.charge, self.service_state.expanding)
        endpoint_request = EndpointRequest(body, request.headers, match.parameters)
        if len(body) > INLINE_CHARACTERS:
            self._dataplane.expect_large()
            await self._dataplane.parsing_turn(len(body))
        return await match.endpoint.respond(self.service_state, endpoint_request)

    def _denial(self, request: HttpRequest, path: str) -> RequestError | None:
        """Return the error of a request without access: its path is not open, and it lacks a certificate or a key."""
        if path in self._open and request.method in ("GET", "HEAD"):
            return None
        if self._needs_certificate and not request.certified:
            return Forbidden("a client certificate is needed")
        if self._access.admits(request.headers):
            return None
        return Unauthorized("an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")

    async def _handle(self, request: HttpRequest, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Let FastAPI answer a request, and return the status. A body that exceeds the memory limit is refused."""
        status = CLIENT_CLOSED_REQUEST
        task = asyncio.current_task()
        start: Message | None = None  # until the body is charged

        async def send_charged(message: Message) -> None:
            nonlocal start, status
            if message["type"] == "http.response.start":
                start = message
                return
            body = message.get("body", b"")
            if start is not None:
                self._unanswered.discard(task)
                try:
                    request.charge.add(len(body) if len(body) > PIECE_BYTES else 0)
                except Overloaded as error:
                    answer, status = _refusal(self.protocol_of(scope), error, request_id)
                    await request.send(status, answer, request_id)
                    return
                status = start["status"]
                start["headers"] = headers.of_page(start["headers"], request_id, scope["scheme"])
                await send(start)
                start = None
            await send_body(send, body, more=message.get("more_body", False))

        self._unanswered.add(task)
        try:
            await super().__call__(scope, receive, send_charged)
        except asyncio.CancelledError:
            if not self._expired or status != CLIENT_CLOSED_REQUEST:
                raise
            answer, status = _refusal(self.protocol_of(scope), _out_of_time(), request_id)
            await request.send(status, answer, request_id)
        except Exception:
            # FastAPI has sent the answer of `_on_error`, and raises the exception again so that the server logs it.
            logger.exception("%s failed", scope["raw_path"].decode())
        finally:
            self._unanswered.discard(task)
        return status


def routes(settings: Settings) -> dict[str, bool]:
    """Return the route labels of the metrics, and whether each route runs a model."""
    declared = protocols(settings)
    ordinary = [route.path for each in declared for route in each.routes if isinstance(route, APIRoute)]
    fast_path = [endpoint.path for each in declared for endpoint in each.endpoints]
    return dict.fromkeys([*ordinary, OTHER], False) | dict.fromkeys(fast_path, True)


def protocols(settings: Settings) -> tuple[RestProtocol, ...]:
    """Return all protocols. If several have a route that matches a path, the first of them answers."""
    own = (
        native.PROTOCOL,
        explain.PROTOCOL,
        *oip.PROTOCOLS,
        tfserving.PROTOCOL,
        huggingface.PROTOCOL,
        vllm.PROTOCOL,
        cloud.SAGEMAKER,
        operations.PROTOCOL,
        page.REFERENCE,
        page.PROTOCOL,
    )
    return (cloud.vertex_ai(settings, own), *own)


def _open_paths(settings: Settings, health: set[str]) -> frozenset[str]:
    """Return the paths that need no API key."""
    paths = set(health) if settings.open_health else set()
    if settings.open_metrics:
        paths.add("/metrics")
    if settings.open_page:
        paths |= {*page.PATHS}
    return frozenset(paths)


def _refusal(protocol: RestProtocol, error: RequestError, request_id: str) -> tuple[Answer, int]:
    """Return an error in a protocol's form, and its status."""
    answer = Answer(protocol.error_body(error, request_id), headers=headers.of_error(error))
    return answer, protocol.status(error).value


def _out_of_time() -> ShutDown:
    return ShutDown("the server is shutting down, and the request did not end in time")


async def _on_error(request: Request, error: Exception) -> Response:
    """Respond to an exception in a route that FastAPI handles, or in its router."""
    application: Application = request.app
    answer, status = _refusal(application.protocol_of(request.scope), _as_request_error(request, error), current_id())
    fields = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, status, fields, media_type="application/json")


def _as_request_error(request: Request, error: Exception) -> RequestError:
    path = request.url.path
    match error:
        case RequestError():
            return error
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return NotFound(f"there is no route {path}")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed}):
            return MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allowed)
    return RequestError("internal error")
