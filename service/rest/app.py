"""The REST application: routing, and what all requests have in common.

Every request gets an id, is counted and timed, and gets a response in the form of its protocol, even after an
unexpected error. The dispatcher answers endpoints, and FastAPI all other routes.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match as RouteMatch
from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.server.errors import (
    ClientDisconnected,
    MethodNotAllowed,
    Overloaded,
    RequestError,
)
from sentiment_conv1d.server.http.asgi import PIECE_BYTES, TASK, AsgiRequest, send_body
from sentiment_conv1d.server.http.headers import Headers
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.server.network.buffers import Charge
from sentiment_conv1d.server.request_ids import HEADER
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest import openapi, operations, page
from sentiment_conv1d.service.rest.dispatcher import Dispatcher, has_encoded_slash
from sentiment_conv1d.service.rest.lifecycle import (
    CLIENT_CLOSED_REQUEST,
    CONTEXT,
    Lifecycle,
    complete,
    out_of_time,
    refuse,
)
from sentiment_conv1d.service.rest.protocol import STRICT_TRANSPORT, Document, RestProtocol, to_response
from sentiment_conv1d.service.rest.routes import OTHER, labels
from sentiment_conv1d.service.telemetry.request_context import RequestContext

if TYPE_CHECKING:
    from sentiment_conv1d.service.telemetry.tracing import Tracer

logger = logging.getLogger(__name__)


class Application(FastAPI):
    """FastAPI with the dispatcher in front of it.

    If several protocols have a route that matches a path, the first of them answers.
    """

    def __init__(self, state: ServiceState, protocols: tuple[RestProtocol, ...], tracer: Tracer | None = None) -> None:
        super().__init__(
            exception_handlers=dict.fromkeys((RequestError, HTTPException, Exception), _on_error),
            openapi_url=None,  # see `openapi.write`
            docs_url=None,  # the page in page.py needs no network
            redoc_url=None,
            redirect_slashes=False,
        )
        self.service_state = state
        self._protocols = protocols
        health = {path for protocol in self._protocols for path in protocol.health}
        self._lifecycle = Lifecycle(state, health, tracer)
        for protocol in self._protocols:
            self.include_router(protocol)
        self.add_route(page.OPENAPI, self._send_document, include_in_schema=False)
        documents = {page.OPENAPI: (Document(OTHER, self._describe), operations.ROUTES)}
        for protocol in self._protocols:
            for path, other in protocol.documents.items():
                documents.setdefault(path, (other, protocol))  # of those with the same path, the first one answers
        self._dispatcher = Dispatcher(state, self._lifecycle, self._protocols, documents)
        self.find_handler, self.find_document = self._dispatcher.find_handler, self._dispatcher.find_document
        self.reject_unfinished = self._lifecycle.reject_unfinished
        self.admits = self._lifecycle.admits
        self._routes = frozenset(labels(protocols))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        cors = self._lifecycle.cors
        if cors is not None and (response := cors.preflight(scope)) is not None:
            await response(scope, receive, send)
            return
        request = AsgiRequest(scope, receive, send)
        match = self._dispatcher.match(scope)
        context = self._lifecycle.begin(request, "" if match is None else match.endpoint.path)
        scope[CONTEXT] = context
        if match is not None:
            scope[TASK] = asyncio.current_task()
            await self._dispatcher.serve(match, request, context)
            return
        status = CLIENT_CLOSED_REQUEST
        with context:
            try:
                self._lifecycle.check_access(request, scope["path"])
                if has_encoded_slash(scope):
                    raise NotFound("no route has an encoded slash in its path")
                status = await self._handle(request, scope, receive, send, context)
            except RequestError as error:
                answer, status = refuse(self.protocol_of(scope), error, context.id)
                await request.send(status, complete(answer, context), context.id)
            finally:
                context.route = self.route_of(scope)
                self._lifecycle.end(status, request, context)

    def route_of(self, scope: Scope) -> str:
        """Return the declared path of the route that answered a request, or `other` if there is none."""
        if (match := self._dispatcher.match(scope)) is not None:
            return match.endpoint.path
        route = getattr(scope.get("route"), "path", OTHER)
        return route if route in self._routes else OTHER

    def protocol_of(self, scope: Scope) -> RestProtocol:
        """Return the protocol of a request that FastAPI handles, by prefix or route.

        A route that also has the method of the request comes first. Without a route, errors have the native form.
        """
        for wanted in (RouteMatch.FULL, RouteMatch.PARTIAL):
            for protocol in self._protocols:
                prefixed = protocol.prefix and scope["path"].startswith(protocol.prefix)
                if prefixed or any(route.matches(scope)[0] is wanted for route in protocol.routes):
                    return protocol
        return operations.ROUTES

    def _describe(self, state: ServiceState) -> Answer:
        return openapi.write(self._protocols, state.settings, state.access)

    async def _send_document(self, request: Request) -> Response:
        return to_response(self._describe(self.service_state))

    async def _handle(
        self, request: AsgiRequest, scope: Scope, receive: Receive, send: Send, context: RequestContext
    ) -> int:
        """Let FastAPI answer a request, and return the status. Raises the `RequestError` with which to refuse it."""
        strict = (STRICT_TRANSPORT,) if scope["scheme"] == "https" else ()
        fields = ((HEADER, context.id.encode()), *strict, *context.fields)
        response = _Response(self._lifecycle, request.charge, send, fields)
        # No route has query parameters or cookies, and FastAPI would parse long ones for 9 ms.
        scope["query_string"] = b""
        scope["headers"] = [field for field in scope["headers"] if field[0] != b"cookie"]
        task = asyncio.current_task()
        self._lifecycle.unanswered.add(task)
        try:
            await super().__call__(scope, receive, response.send)
        except asyncio.CancelledError:
            if not self._lifecycle.expired or response.status is not None:
                raise
            raise out_of_time() from None
        except ClientDisconnected:  # the rest of the body, or the answer of `_on_error`, is not sent
            return CLIENT_CLOSED_REQUEST
        except Exception:
            # FastAPI has sent the answer of `_on_error`, and raises the exception again so that the server logs it.
            logger.exception("%s failed", scope["raw_path"].decode())
        finally:
            self._lifecycle.unanswered.discard(task)
        if response.refusal is not None:
            raise response.refusal
        return CLIENT_CLOSED_REQUEST if response.status is None else response.status


class _Response:
    """The response of FastAPI to a request, with additional header fields.

    It begins when its body is charged. Until then, `status` is None. If its body exceeds the memory limit, nothing is
    sent, and `refusal` is the error.
    """

    def __init__(self, lifecycle: Lifecycle, charge: Charge, send: Send, fields: Headers) -> None:
        self.status: int | None = None
        self.refusal: Overloaded | None = None
        self._lifecycle = lifecycle
        self._charge = charge
        self._send = send
        self._fields = fields
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        """Send a message of FastAPI. The first one waits for the body."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body = message.get("body", b"")
        if self.status is None and self.refusal is None:
            await self._begin(len(body))
        if self.refusal is None:
            await send_body(self._send, body, more=message.get("more_body", False))

    async def _begin(self, size: int) -> None:
        self._lifecycle.unanswered.discard(asyncio.current_task())
        try:
            self._charge.add(size if size > PIECE_BYTES else 0)
        except Overloaded as error:
            self.refusal = error.with_traceback(None)  # its frames refer to this object: a reference cycle
            return
        self.status = self._start["status"]
        self._start["headers"] = (*self._start["headers"], *self._fields)
        await self._send(self._start)


async def _on_error(request: Request, error: Exception) -> Response:
    """Respond to an exception in a route that FastAPI handles, or in its router."""
    application: Application = request.app
    context: RequestContext = request.scope[CONTEXT]
    answer, status = refuse(application.protocol_of(request.scope), _as_request_error(request, error), context.id)
    return to_response(answer, status)


def _as_request_error(request: Request, error: Exception) -> RequestError:
    path = request.url.path
    match error:
        case RequestError():
            return error
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return NotFound(f"there is no route {path}")
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed}):
            allowed = ", ".join(sorted(allowed.split(", ")))  # from a set
            return MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allowed)
    return RequestError("internal error")
