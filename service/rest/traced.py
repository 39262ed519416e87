"""The REST application with a span around every request."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

from sentiment_conv1d.service.rest.app import Application
from sentiment_conv1d.service.rest.lifecycle import CLIENT_CLOSED_REQUEST, CONTEXT
from sentiment_conv1d.service.telemetry.tracing import Trace, Tracer


class Traced:
    """ASGI middleware. Health checks and metrics are not traced."""

    def __init__(self, application: Application, tracer: Tracer) -> None:
        self._application = application
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] in self._application.operational_paths:
            await self._application(scope, receive, send)
            return
        trace = self._begin(scope)
        status = CLIENT_CLOSED_REQUEST

        async def send_with_fields(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *trace.fields]
            await send(message)

        try:
            await self._application(scope, receive, send_with_fields)
        finally:
            self._end(trace, scope, status)

    def _begin(self, scope: Scope) -> Trace:
        attributes = {
            "http.request.method": scope["method"],
            "url.scheme": scope["scheme"],
            "url.path": scope["path"],
            "network.protocol.version": scope["http_version"],
        }
        if client := scope.get("client"):
            attributes["client.address"] = client[0]
        return self._tracer.begin(scope["method"], dict(scope["headers"]), attributes)

    def _end(self, trace: Trace, scope: Scope, status: int) -> None:
        route = self._application.route_of(scope)
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        attributes: dict[str, str | int] = {"http.route": route, "http.response.status_code": status}
        if failed:
            attributes["error.type"] = str(status)
        trace.end(f"{scope['method']} {route}", attributes, scope.get(CONTEXT), failed=failed)
