"""gRPC's health service.

grpcio's own would keep the server from leaving while someone watches, and forgets the others when one of them goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.grpc.call import Context, Handler, uncounted

SERVICE = "grpc.health.v1.Health"


class Health:
    """SERVING for every one of the services as long as the server says so."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._serving = True
        self._leaving = False
        self._changed = asyncio.Event()

    def handlers(self) -> dict[str, Handler]:
        """Every method by its name."""
        return {
            "Check": uncounted(HealthCheckRequest.FromString, self._check),
            "Watch": grpc.unary_stream_rpc_method_handler(
                self._watch, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
            ),
        }

    def tell(self, serving: bool) -> None:
        """What is so from now on, for those who ask and for those who watch."""
        if serving != self._serving:
            self._serving = serving
            self._wake()

    def leave(self) -> None:
        """Say NOT_SERVING, and let go of those who watch."""
        self._serving, self._leaving = False, True
        self._wake()

    async def _check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """The status now."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r}")
        return self._status()

    async def _watch(self, request: HealthCheckRequest, context: Context) -> AsyncIterator[HealthCheckResponse]:
        """The status now and after every change; a service that is not there may come, as the protocol has it."""
        known = request.service in self._services
        told: HealthCheckResponse | None = None
        while True:
            status = self._status() if known else HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                yield status
                told = status
            if self._leaving:
                return
            await self._changed.wait()

    def _status(self) -> HealthCheckResponse:
        status = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
