"""gRPC's health service. Source: its document on health checking."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.grpc.descriptors import message_class
from sentiment_conv1d.service.grpc.methods import uncounted
from sentiment_conv1d.service.grpc.transport.call import Call, Method

SERVICE = "grpc.health.v1.Health"

HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")
HealthListRequest = message_class("grpc.health.v1.HealthListRequest")
HealthListResponse = message_class("grpc.health.v1.HealthListResponse")


class Health:
    """SERVING for every one of the services as long as the server says so."""

    def __init__(self, services: Collection[str]) -> None:
        self._services = services
        self._serving = True
        self._leaving = False
        self._changed = asyncio.Event()

    def methods(self) -> dict[str, Method]:
        """Every method by its path."""
        return {
            f"/{SERVICE}/Check": uncounted(HealthCheckRequest.FromString, self._check),
            f"/{SERVICE}/List": uncounted(HealthListRequest.FromString, self._list),
            f"/{SERVICE}/Watch": Method(self._watch, response_streaming=True, watching=True),
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

    async def _check(self, request: Any) -> Any:
        """The status now."""
        if request.service not in self._services:
            raise NotFound(f"there is no service {request.service!r}")
        return self._status()

    async def _list(self, _: Any) -> Any:
        """The status of every service now."""
        status = self._status()
        return HealthListResponse(statuses=dict.fromkeys(self._services, status))

    async def _watch(self, call: Call) -> None:
        """The status now and after every change; a service that is not there may come, as the protocol has it."""
        request = HealthCheckRequest.FromString(await call.message())
        known = request.service in self._services
        told = None
        while True:
            changed = self._changed  # also by what happens while the caller is told
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
