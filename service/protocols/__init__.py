"""The protocols that clients speak, each in a folder of its own.

A folder contains the module `rest`, `grpc` or both, and the code that they share. The service imports only its
`PROTOCOL`.
"""

from __future__ import annotations

from functools import lru_cache

from sentiment_conv1d.service.protocols import clouds, huggingface, native, oip, tfserving, vllm
from sentiment_conv1d.service.protocols.clouds.rest import vertex_ai
from sentiment_conv1d.service.rest import operations, page
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.routes import labels
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.telemetry.metrics import RouteKind

#: If several have a REST route that matches a path, the first of them answers.
PROTOCOLS = (native.PROTOCOL, oip.PROTOCOL, tfserving.PROTOCOL, huggingface.PROTOCOL, vllm.PROTOCOL, clouds.PROTOCOL)

GRPC_SERVICES = tuple(service for protocol in PROTOCOLS for service in protocol.grpc)


@lru_cache(maxsize=1)
def rest_protocols(settings: Settings) -> tuple[RestProtocol, ...]:
    """Return the REST routes of all protocols, those for operators, and the page.

    The routes that settings name come first. Raises `StartupError` if one of them is another route of the service.
    """
    declared = [each for protocol in PROTOCOLS for each in protocol.rest]
    own = (*declared, operations.ROUTES, page.REFERENCE, page.ROUTES)
    return (vertex_ai(settings, own), *own)


def routes(settings: Settings) -> dict[str, dict[str, RouteKind]]:
    """Return the route labels of the metrics over REST and gRPC, and the kind of each route."""
    methods = {path: kind for service in GRPC_SERVICES for path, kind in service.routes.items()}
    return {"rest": labels(rest_protocols(settings)), "grpc": methods}
