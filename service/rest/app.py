"""The REST application: what surrounds every request, and where it goes.

Every request gets an id, is counted and timed, and ends in an answer of its protocol's form, whatever happens. The
busy routes (`endpoint.Endpoint`) are answered right here; everything else is ordinary FastAPI.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Iterator, Mapping
from http import HTTPStatus
from time import perf_counter, perf_counter_ns
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import Match as RouteMatch
from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.service.errors import (
    HTTP_STATUS,
    Forbidden,
    Malformed,
    MethodNotAllowed,
    NotFound,
    RequestError,
    Unauthorized,
)
from sentiment_conv1d.service.inference.dataplane import INLINE_CHARACTERS, STEPPED_CHARACTERS, DataPlane
from sentiment_conv1d.service.models.loaded import LoadedModels
from sentiment_conv1d.service.models.readiness import Readiness
from sentiment_conv1d.service.rest import (
    cloud,
    documentation,
    explain,
    huggingface,
    native,
    oip,
    operations,
    page,
    tfserving,
)
from sentiment_conv1d.service.rest.endpoint import SCHEMAS, Answer, Call, Endpoint, RestProtocol
from sentiment_conv1d.service.rest.routing import Match, Routes
from sentiment_conv1d.service.rest.server import headers
from sentiment_conv1d.service.rest.server.body import (
    CERTIFIED,
    CHARGE,
    CONTEXT,
    ClientDisconnected,
    read_body,
    while_connected,
)
from sentiment_conv1d.service.rest.server.compression import decompress
from sentiment_conv1d.service.rest.server.exchange import Exchange
from sentiment_conv1d.service.rest.server.fast_path import PIECE_BYTES
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import Metrics
from sentiment_conv1d.service.telemetry.request_context import RequestContext, current, current_id
from sentiment_conv1d.service.telemetry.request_ids import RequestIds
from sentiment_conv1d.service.version import package_version

logger = logging.getLogger(__name__)

_ENDPOINTS = (
    native.Predict,
    native.PredictBatch,
    explain.Explain,
    explain.Inspect,
    oip.Infer,
    tfserving.Predict,
    huggingface.TextClassification,
    huggingface.TeiPredict,
    cloud.Invocations,
)
_ROUTERS = (
    native.router,
    oip.router,
    oip.administration,
    tfserving.router,
    huggingface.router,
    cloud.router,
    operations.router,
    documentation.router,
    page.router,
)

Result = TypeVar("Result")

_PROTOCOLS = {kind.protocol.tag: kind.protocol for kind in _ENDPOINTS}

_SERVER_ERROR = HTTPStatus.INTERNAL_SERVER_ERROR.value

#: Metrics label of every path that is no route.
OTHER = "other"

#: Where clients and platforms ask whether the service is well.
_HEALTH_PATHS = ("/livez", "/readyz", "/health", "/ping", "/v2/health/live", "/v2/health/ready")

#: Counted for a caller who left before the answer; the number is nginx's, nobody receives it.
CLIENT_CLOSED_REQUEST = 499


class Application(FastAPI):
    """FastAPI with the busy routes in front of it."""

    def __init__(
        self,
        settings: Settings,
        *,
        dataplane: DataPlane,
        models: LoadedModels,
        readiness: Readiness,
        access: Access,
        metrics: Metrics,
    ) -> None:
        super().__init__(
            title="sentiment-conv1d",
            version=package_version(),
            description="The classic Conv1D text classifier: reviews in, labels and probabilities out.",
            exception_handlers={
                RequestError: _on_request_error,
                HTTPException: _on_http_exception,
                Exception: _on_exception,
            },
            docs_url=None,  # documentation.py's is there without a network
            redoc_url=None,
            redirect_slashes=False,
        )
        # For the routes.
        self.state.settings = settings
        self.state.dataplane = dataplane
        self.state.models = models
        self.state.readiness = readiness
        self.state.access = access
        self.state.metrics = metrics
        self._settings = settings
        self._dataplane = dataplane
        self._metrics = metrics
        self._request_ids = RequestIds()
        self._access = access
        self._needs_certificate = settings.tls_client_ca is not None
        self._guarded = self._access.needs_key or self._needs_certificate
        self._open = frozenset(_open_paths(settings))
        self.operational_paths = frozenset({*_health_paths(settings), "/metrics"})
        self._access_log = settings.access_log
        self._direct_bytes = min(STEPPED_CHARACTERS, settings.max_body_bytes)
        self._busy = Routes(_endpoints(dataplane, models, settings.predict_route))
        if settings.health_route:  # before the others: it may look like one of theirs
            self.add_api_route(
                settings.health_route,
                operations.readyz,
                tags=[cloud.PROTOCOL.tag],
                summary="Vertex AI: may traffic come here?",
                responses={503: {"model": tfserving.TfServingError}},
            )
        for router in _ROUTERS:
            self.include_router(router)
        self._routes = frozenset(routes(settings))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request from its first byte to its last."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        match = self._busy.find(scope["path"])
        # GET is not refused at the root: it belongs to browsers there.
        if match is not None and (match.path != "/" or scope["method"] not in ("GET", "HEAD")):
            await self.serve(match, _Asgi(scope, receive, send))
            return
        started = perf_counter()
        given = dict(scope["headers"])
        context = scope[CONTEXT] = self._begin(given)
        if self._guarded and (refusal := self._objection(scope["method"], scope["path"], given, _certified(scope))):
            status = await self._turn_away(refusal, scope, send, context.id)
            route = OTHER
        else:
            status = await self._pass_on(scope, receive, send, context.id)
            route = self.route_of(scope)
        self._end(route, status, started, context, scope["method"], scope["raw_path"], _client(scope))
        scope[CONTEXT] = None

    def direct(self, target: bytes, headers: Mapping[bytes, bytes]) -> Match | None:
        """The busy route of a POST request with that target and head, if the body is not large and not packed."""
        match = self._busy.find_target(target)
        if match is None or b"content-encoding" in headers:
            return None
        length = headers.get(b"content-length")
        return match if length is not None and int(length) <= self._direct_bytes else None

    async def serve(self, match: Match, exchange: Exchange) -> None:
        """A request of a busy route from its head to the last byte of its answer."""
        started = perf_counter()
        context = exchange.context = self._begin(exchange.headers)
        status = CLIENT_CLOSED_REQUEST
        try:
            status = await self._answer(match, exchange, context)
        finally:
            self._end(match.path, status, started, context, exchange.method, exchange.target, exchange.client)
        exchange.context = None  # the connection keeps the exchange, but a model that was unloaded must not stay for it

    def route_of(self, scope: Scope) -> str:
        """The declared path of the route that answered a request, `other` where there was none."""
        match = self._busy.find(scope["path"])
        if match is not None and (match.path != "/" or scope["method"] not in ("GET", "HEAD")):
            return match.path
        route = getattr(scope.get("route"), "path", OTHER)
        return route if route in self._routes else OTHER

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document and the busy routes."""
        if self.openapi_schema is None:
            document = super().openapi()
            models = {
                model
                for endpoint in self._busy.declared.values()
                for model in (endpoint.request_model, endpoint.response_model, endpoint.protocol.error_model)
            }
            _, schemas = models_json_schema(
                [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
                ref_template=SCHEMAS + "{model}",
            )
            document["components"]["schemas"] |= schemas["$defs"]
            ordinary = document["paths"]
            busy = {
                path: ordinary.pop(path, {}) | {"post": endpoint.describe(path)}
                for path, endpoint in self._busy.declared.items()
            }
            document["paths"] = busy | ordinary
            # FastAPI adds one to every route with parameters, but any string will do for ours.
            for operation in (each for path in ordinary.values() for each in path.values()):
                operation["responses"].pop("422", None)
            for name in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(name, None)
        return self.openapi_schema or {}

    def _begin(self, given: Mapping[bytes, bytes]) -> RequestContext:
        identity = given.get(headers.REQUEST_ID)
        context = RequestContext(self._request_ids.choose(None if identity is None else identity.decode("latin-1")))
        current.set(context)
        self._metrics.began("rest")
        return context

    def _end(
        self,
        route: str,
        status: int,
        started: float,
        context: RequestContext,
        method: str,
        target: bytes,
        client: str | None,
    ) -> None:
        seconds = perf_counter() - started
        self._metrics.ended("rest", route, str(status), seconds, context)
        if self._access_log or status >= _SERVER_ERROR:
            _log(method, target, client, status, seconds)

    async def _answer(self, match: Match, exchange: Exchange, context: RequestContext) -> int:
        protocol = match.endpoint.protocol
        try:
            if self._guarded and (
                refusal := self._objection(exchange.method, match.path, exchange.headers, exchange.certified)
            ):
                raise refusal
            if exchange.method != "POST":
                allowed = "GET, HEAD, POST" if match.path == "/" else "POST"
                raise MethodNotAllowed(f"{exchange.target.decode()} takes {allowed}, not {exchange.method}", allowed)
            answer = await self._respond(match, exchange, context)
            exchange.charge.add(len(answer.body))
            status = 200
        except ClientDisconnected:
            return CLIENT_CLOSED_REQUEST
        except RequestError as error:
            answer = Answer(protocol.error_body(error, context.id), headers=headers.of_error(error))
            status = protocol.statuses.get(error.code, HTTP_STATUS[error.code]).value
        except Exception:
            logger.exception("%s failed", match.path)
            answer = Answer(protocol.error_body(RequestError("internal error"), context.id))
            status = _SERVER_ERROR
        try:
            await exchange.send(status, answer, context.id)
        except ClientDisconnected:
            return CLIENT_CLOSED_REQUEST
        return status

    async def _respond(self, match: Match, exchange: Exchange, context: RequestContext) -> Answer:
        settings = self._settings
        body = await exchange.body(settings.max_body_bytes, settings.body_timeout)
        context.received = perf_counter_ns()
        if (encoding := exchange.headers.get(b"content-encoding")) is not None:
            body = await decompress(body, encoding, settings.max_body_bytes, exchange.charge)
        call = Call(body, exchange.headers, match.parameters)
        if len(body) <= INLINE_CHARACTERS:
            return await match.endpoint.respond(call)
        self._dataplane.expect_large()
        # Large enough to wait for its turn, before which the caller may have left.
        return await exchange.while_connected(self._respond_in_turn(match, call))

    async def _respond_in_turn(self, match: Match, call: Call) -> Answer:
        await self._dataplane.parsing_turn(len(call.body))
        return await match.endpoint.respond(call)

    def _objection(
        self, method: str, path: str, headers: Mapping[bytes, bytes], certified: bool
    ) -> RequestError | None:
        """Why a request may not come in, if it may not: to a path that is not open, without certificate or key."""
        if path in self._open and method in ("GET", "HEAD"):
            return None
        if self._needs_certificate and not certified:
            return Forbidden("a client certificate is needed")
        authorization, key = (headers.get(name) for name in (b"authorization", b"x-api-key"))
        presented = (None if each is None else each.decode("latin-1") for each in (authorization, key))
        if self._access.admits(*presented):
            return None
        return Unauthorized("an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")

    async def _turn_away(self, error: RequestError, scope: Scope, send: Send, request_id: str) -> int:
        """Refuse a request before it gets anywhere, in the form of its route's protocol all the same."""
        found = (route for route in self.router.routes if route.matches(scope)[0] is not RouteMatch.NONE)
        protocol = _protocol(next(found, None), scope["path"])
        status = protocol.statuses[error.code].value
        answer = Answer(protocol.error_body(error, request_id), headers=headers.of_error(error))
        await _send(status, answer, request_id, send)
        return status

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        status = CLIENT_CLOSED_REQUEST

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = headers.of_page(message["headers"], request_id, scope["scheme"])
            await send(message)

        try:
            await super().__call__(scope, receive, send_with_id)
        except Exception:
            # FastAPI has answered through `_on_exception` by now and hands the exception on to be logged.
            logger.exception("%s failed", scope["raw_path"].decode())
        return status


def routes(settings: Settings) -> dict[str, bool]:
    """The labels under which requests are counted: the routes there are, and one for every other path.

    The busy ones ask a model.
    """
    ordinary = [route.path for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    busy = [path for kind in _ENDPOINTS for path in kind.paths]
    given = [route for route in (settings.predict_route, settings.health_route) if route]
    return dict.fromkeys([*ordinary, *given, OTHER], False) | dict.fromkeys(busy, True)


def _endpoints(dataplane: DataPlane, models: LoadedModels, route: str | None) -> list[Endpoint]:
    endpoints: list[Endpoint] = [kind(dataplane, models) for kind in _ENDPOINTS]
    if route:  # first: it may look like one of the others
        endpoints.insert(0, cloud.VertexPredict(dataplane, models, route))
    return endpoints


class _Asgi(Exchange):
    """A request that came over ASGI."""

    __slots__ = ("_receive", "_scope", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self.method = scope["method"]
        self.target = scope["raw_path"]
        self.headers = dict(scope["headers"])
        self.client = _client(scope)
        self.certified = _certified(scope)
        self.charge = scope[CHARGE]

    @property
    def context(self) -> RequestContext | None:
        return self._scope.get(CONTEXT)

    @context.setter
    def context(self, context: RequestContext | None) -> None:
        self._scope[CONTEXT] = context

    async def body(self, limit: int, seconds: float) -> bytes:
        return await read_body(self.headers, self._receive, limit, seconds, self.charge)

    async def while_connected(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await while_connected(self._receive, work)

    async def send(self, status: int, answer: Answer, request_id: str) -> None:
        await _send(status, answer, request_id, self._send)


def _certified(scope: Scope) -> bool:
    return bool(scope["state"].get(CERTIFIED))


def _client(scope: Scope) -> str | None:
    client = scope.get("client")
    return client[0] if client else None


async def _send(status: int, answer: Answer, request_id: str, send: Send) -> None:
    body = answer.body
    fields = headers.of_answer(answer, request_id)
    await send({"type": "http.response.start", "status": status, "headers": fields})
    # The next piece waits until the caller has read most of the one before it.
    for start in range(0, len(body) or 1, PIECE_BYTES):
        end = start + PIECE_BYTES
        await send({"type": "http.response.body", "body": body[start:end], "more_body": end < len(body)})


def _open_paths(settings: Settings) -> Iterator[str]:
    """The paths that answer without an API key."""
    if settings.open_health:
        yield from _health_paths(settings)
    if settings.open_metrics:
        yield "/metrics"
    if settings.open_page:
        yield from page.PATHS


def _health_paths(settings: Settings) -> Iterator[str]:
    yield from _HEALTH_PATHS
    if settings.health_route:
        yield settings.health_route


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    protocol = _protocol(request.scope.get("route"), request.url.path)
    return Response(
        protocol.error_body(error, current_id()),
        status_code=protocol.statuses[error.code],
        headers={name.decode(): value.decode() for name, value in headers.of_error(error)},
        media_type="application/json",
    )


def _protocol(route: object, path: str) -> RestProtocol:
    """The protocol of a route; without one it is the native one, but under /v2."""
    fallback = oip.PROTOCOL if path.startswith("/v2") else native.PROTOCOL
    return next((_PROTOCOLS[tag] for tag in getattr(route, "tags", ()) if tag in _PROTOCOLS), fallback)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown path or a wrong method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        refusal: RequestError = MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allowed)
    elif error.status_code == HTTPStatus.NOT_FOUND:
        refusal = NotFound(f"there is no route {path}")
    else:
        refusal = Malformed(str(error.detail))
    return await _on_request_error(request, refusal)


async def _on_exception(request: Request, error: Exception) -> Response:
    return await _on_request_error(request, RequestError("internal error"))


def _log(method: str, target: bytes, client: str | None, status: int, seconds: float) -> None:
    level = logging.ERROR if status >= _SERVER_ERROR else logging.INFO
    logger.log(
        level,
        "%s %s",
        method,
        target.decode(),  # as it was sent: unquoted, it could hold the end of this line and a forged one
        extra={"status": status, "milliseconds": round(seconds * 1000, 3), "client": client},
    )
