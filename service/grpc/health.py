"""The gRPC health service. Source: "GRPC Health Checking Protocol" in the gRPC documentation."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from sentiment_conv1d.protos.descriptors import POOL, message_class
from sentiment_conv1d.server.grpc.call import Call
from sentiment_conv1d.server.grpc.method import Method
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.grpc.methods import uncounted
from sentiment_conv1d.service.grpc.service import paths
from sentiment_conv1d.service.scheduling.dataplane import INLINE_CHARACTERS

SERVICE = POOL.FindServiceByName("grpc.health.v1.Health")
CHECK, LIST, WATCH = paths(SERVICE, "Check", "List", "Watch")

HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")
HealthListRequest = message_class("grpc.health.v1.HealthListRequest")
HealthListResponse = message_class("grpc.health.v1.HealthListResponse")


class Health:
    """Reports one status for all services: SERVING until `tell` or `leave` changes it."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._serving = True
        self._leaving = False
        self._changed = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        """Return the methods by path."""
        return {
            CHECK: uncounted(HealthCheckRequest, self._check),
            LIST: uncounted(HealthListRequest, self._list),
            WATCH: Method(self._watch, watching=True, message_bytes=INLINE_CHARACTERS),
        }

    def tell(self, serving: bool) -> None:
        """Set the status, and send it to the clients that watch."""
        if serving != self._serving:
            self._serving = serving
            self._wake()

    def leave(self) -> None:
        """Set the status to NOT_SERVING, and end the calls of clients that watch."""
        self._serving, self._leaving = False, True
        self._wake()

    async def _check(self, request: Any) -> Any:
        """Return the current status of one service."""
        if request.service not in self._services:
            raise NotFound(f"there is no service {request.service!r}")
        return self._status()

    async def _list(self, request: Any) -> Any:
        """Return the current status of every service."""
        status = self._status()
        return HealthListResponse(statuses=dict.fromkeys(self._services, status))

    async def _watch(self, call: Call) -> None:
        """Send the current status and every change.

        The protocol requires SERVICE_UNKNOWN for an unknown service, because it may be added later.
        """
        request = HealthCheckRequest.FromString(await call.message())
        known = request.service in self._services
        told = None
        while True:
            changed = self._changed  # read before the write, during which the status can change
            status = self._status() if known else HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await call.write(status.SerializeToString())
                told = status
            if self._leaving:
                call.end()
                return
            await changed.wait()

    def _status(self) -> Any:
        status = HealthCheckResponse.SERVING if self._serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
