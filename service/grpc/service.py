"""A gRPC service: what answers its methods, and what the server has to know about them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from google.protobuf.descriptor import ServiceDescriptor

from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.telemetry.metrics import RouteKind


def paths(service: ServiceDescriptor, *names: str) -> tuple[str, ...]:
    """Return the paths of some methods of a service. Without names, returns those of all methods."""
    return tuple(f"/{service.full_name}/{name}" for name in names or service.methods_by_name)


class Service(NamedTuple):
    """A service of a protocol, and those of its methods, by path, that the server treats specially.

    `servicer` makes the object that answers the calls of a worker. It has a function `Respond` for every method, with
    the method's name in the .proto file.
    """

    descriptor: ServiceDescriptor
    servicer: Callable[[ServiceState], object]
    models: Collection[str] = ()  # methods that run a model
    polled: Collection[str] = ()  # methods that platforms poll, which are not counted
    health: Collection[str] = ()  # methods that need no API key with `--open-health`
    administration: Collection[str] = ()  # methods that change which models are served

    @property
    def routes(self) -> dict[str, RouteKind]:
        """The methods with metrics of their own, and the kind of each."""
        counted = [path for path in paths(self.descriptor) if path not in self.polled]
        return {path: RouteKind.MODEL if path in self.models else RouteKind.OTHER for path in counted}
