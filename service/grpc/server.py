"""The gRPC server of one process, on the event loop of REST."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from service.api_keys import ApiKeys
from service.dataplane import DataPlane
from service.errors import GRPC_STATUS, StartupError, Unauthorized
from service.grpc import health, oip, sentiment
from service.grpc.call import Caller, Handler
from service.keeper import Keeper
from service.settings import Settings
from service.tls import Certificates, Pem

#: Names under which health is asked for; the empty one is the whole server.
HEALTH_NAMES = ("", oip.SERVICE, sentiment.SERVICE)

#: The methods that are counted one by one, and whether they ask a model.
ROUTES = dict.fromkeys(oip.ROUTES, False) | dict.fromkeys((*sentiment.ROUTES, *oip.MODEL_ROUTES), True)


#: Where clients and platforms ask whether the service is well.
HEALTH_METHODS = frozenset(
    {
        *(f"/{health.SERVICE}/{method}" for method in ("Check", "Watch", "List")),
        oip.SERVER_LIVE,
        oip.SERVER_READY,
    }
)

#: Seconds that have to be between two pings of a caller without a call.
_PING_SECONDS = 10.0

#: gRPC's options are of 32 bits.
_MAX_INT = 2**31 - 1


class _Methods(grpc.GenericRpcHandler):
    """All methods in one table.

    Their calls wait in one line until the event loop lets them in. Those of health, registered by themselves, have a
    line of their own, so that a platform's question does not wait behind the calls of others.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a method, None if there is no such method."""
        return self._handlers.get(handler_call_details.method)


class _Doorkeeper(grpc.aio.ServerInterceptor):
    """Lets nobody in without an API key, but to health where that is open."""

    def __init__(self, api_keys: ApiKeys, open_methods: frozenset[str]) -> None:
        self._api_keys = api_keys
        self._open = open_methods

        async def refuse(request: Any, context: Any) -> Any:
            error = Unauthorized("an API key is needed: authorization: Bearer KEY, or x-api-key: KEY")
            await context.abort(grpc.StatusCode[GRPC_STATUS[error.code]], error.message)

        # Whatever a method takes and gives, a refusal is the same.
        self._refusal: Handler = grpc.stream_stream_rpc_method_handler(refuse)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]], details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, or the refusal."""
        if details.method in self._open:
            return await continuation(details)
        metadata = dict(details.invocation_metadata or ())
        if self._api_keys.admit(_text(metadata.get("authorization")), _text(metadata.get("x-api-key"))):
            return await continuation(details)
        return self._refusal


class Server:
    """Started once, stopped once."""

    def __init__(
        self,
        dataplane: DataPlane,
        keeper: Keeper,
        certificates: Certificates | None = None,
        tracing: grpc.aio.ServerInterceptor | None = None,
    ) -> None:
        self._certificates = certificates
        settings = dataplane.settings
        interceptors = [] if tracing is None else [tracing]
        if dataplane.api_keys is not None:
            interceptors.insert(
                0, _Doorkeeper(dataplane.api_keys, HEALTH_METHODS if settings.open_health else frozenset())
            )
        self._server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                *_limits(settings).items(),
                # The workers share the port, which the supervisor keeps from anyone else.
                ("grpc.so_reuseport", 1),
                # Calls that wait until the event loop lets them in, one a turn; beyond these gRPC itself ends calls.
                ("grpc.server.max_pending_requests", settings.max_concurrent_requests),
                ("grpc.server.max_pending_requests_hard_limit", 2 * settings.max_concurrent_requests),
            ],
        )
        self._health = health.Health(HEALTH_NAMES)
        self._server.add_registered_method_handlers(health.SERVICE, self._health.handlers())
        self._caller = Caller(dataplane)
        handlers = {
            **oip.OpenInference(dataplane, keeper).handlers(self._caller),
            **sentiment.Sentiment(dataplane).handlers(self._caller),
        }
        self._server.add_generic_rpc_handlers((_Methods(handlers),))
        names = (health.SERVICE, oip.SERVICE, sentiment.SERVICE, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, which is a free one where 0 was asked for. Raises `StartupError`."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._certificates is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, _credentials(self._certificates))
        except RuntimeError as error:
            raise StartupError(f"cannot listen on {address} for gRPC: the port is taken or not ours") from error
        await self._server.start()
        return bound

    def tell(self, serving: bool) -> None:
        """Whether health says SERVING, to those who ask and to those who watch."""
        self._health.tell(serving)

    async def stop(self, grace: float) -> None:
        """Take no new calls, end the streams that only wait, and give the running calls `grace` seconds."""
        self._health.leave()
        self._caller.leave()
        await self._server.stop(grace)


def _limits(settings: Settings) -> dict[str, int]:
    """The limits in gRPC's own terms."""
    milliseconds = {
        "grpc.server_handshake_timeout_ms": settings.handshake_timeout,
        "grpc.http2.settings_timeout": settings.handshake_timeout,
        "grpc.max_connection_idle_ms": settings.grpc_idle_timeout,
        "grpc.max_connection_age_ms": settings.grpc_max_age,
        "grpc.max_connection_age_grace_ms": settings.grpc_max_age,
        # A caller who does not answer a ping for so long is gone, or reads nothing any more.
        "grpc.keepalive_time_ms": settings.write_timeout,
        "grpc.keepalive_timeout_ms": settings.write_timeout,
        "grpc.http2.ping_timeout_ms": settings.write_timeout,
        # Pings of callers that keep their own connections alive are welcome, but not many.
        "grpc.http2.min_ping_interval_without_data_ms": _PING_SECONDS,
    }
    return {
        "grpc.max_receive_message_length": settings.max_body_bytes,
        "grpc.max_send_message_length": -1,
        "grpc.max_allowed_incoming_connections": settings.grpc_max_connections,
        "grpc.max_concurrent_streams": settings.grpc_max_streams,
        "grpc.keepalive_permit_without_calls": 1,
        **{name: min(math.ceil(seconds * 1000), _MAX_INT) for name, seconds in milliseconds.items()},
    }


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """What is in the files, asked for again at every handshake, so that new files need no new server."""
    told = certificates.pem

    def configuration(pem: Pem) -> Any:
        return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.client_ca)

    def fetch() -> Any:
        nonlocal told
        if certificates.pem is told:
            return None
        told = certificates.pem
        return configuration(told)

    return grpc.dynamic_ssl_server_credentials(
        configuration(told), fetch, require_client_authentication=told.client_ca is not None
    )


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value
