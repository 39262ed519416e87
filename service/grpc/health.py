"""gRPC's health service.

grpcio's own would keep the server from leaving while someone watches, and forgets the others when one of them goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from service.grpc.call import Context

SERVICE = "grpc.health.v1.Health"


class Health(HealthServicer):
    """SERVING for every one of the services, until the server drains."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._draining = asyncio.Event()
        self._leaving = asyncio.Event()

    def drain(self) -> None:
        """Say NOT_SERVING from now on, to those who ask and to those who watch."""
        self._draining.set()

    def leave(self) -> None:
        """Let go of those who watch."""
        self._draining.set()
        self._leaving.set()

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """The status now."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service!r}")
        return self._status()

    async def Watch(self, request: HealthCheckRequest, context: Context) -> AsyncIterator[HealthCheckResponse]:
        """The status now and after every change; a service that is not there may come, as the protocol has it."""
        if request.service not in self._services:
            yield HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        else:
            if not self._draining.is_set():
                yield self._status()
                await self._draining.wait()
            yield self._status()
        await self._leaving.wait()

    def _status(self) -> HealthCheckResponse:
        serving = not self._draining.is_set()
        return HealthCheckResponse(status=HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)
