"""The routes of all protocols: their labels in the metrics, and the endpoint for the path of a request."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

from fastapi.routing import APIRoute
from starlette.routing import compile_path

from sentiment_conv1d.service.rest.endpoint import Endpoint
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.telemetry.metrics import RouteKind

#: The metrics label of paths without a route.
OTHER = "other"


def labels(protocols: Collection[RestProtocol]) -> dict[str, RouteKind]:
    """Return the route labels of the metrics, and the kind of each route."""
    ordinary = [route.path for each in protocols for route in each.routes if isinstance(route, APIRoute)]
    probes = [*(path for each in protocols for path in each.health), "/metrics"]
    endpoints = [endpoint.path for each in protocols for endpoint in each.endpoints]
    return (
        dict.fromkeys([*ordinary, OTHER], RouteKind.OTHER)
        | dict.fromkeys(probes, RouteKind.PROBE)
        | dict.fromkeys(endpoints, RouteKind.MODEL)
    )


class Match(NamedTuple):
    """An endpoint, its protocol, and the parameters of the path."""

    endpoint: Endpoint
    protocol: RestProtocol
    parameters: Mapping[str, str]


class Routes:
    """The endpoints of all protocols. If several match a path, the first of them answers.

    Results are cached, because clients request the same few paths repeatedly. The caches are small, because anybody can
    fill them with long paths, of 8 kB, or 32 kB when they are decoded.
    """

    def __init__(self, protocols: Iterable[RestProtocol]) -> None:
        self.declared: dict[str, Match] = {}
        for protocol in protocols:
            for endpoint in protocol.endpoints:
                self.declared.setdefault(endpoint.path, Match(endpoint, protocol, {}))
        self._patterns = [(compile_path(path)[0], match) for path, match in self.declared.items()]
        self.find = lru_cache(maxsize=256)(self._find)
        self.find_target = lru_cache(maxsize=256)(self._find_target)

    def _find_target(self, target: bytes) -> Match | None:
        """Like `find`, for a request target that consists of a path only."""
        plain = target.startswith(b"/") and target.isascii() and not any(mark in target for mark in b"%?#")
        return self._find(target.decode()) if plain else None

    def _find(self, path: str) -> Match | None:
        for pattern, match in self._patterns:
            if found := pattern.fullmatch(path):
                return match._replace(parameters=found.groupdict())
        return None
