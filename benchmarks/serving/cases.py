"""The cases of `benchmarks.serving`: servers, forms of requests, and their order in a round."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import rest

#: Servers.
SERVICE, QUANTIZED, ALONE = "this service", "this service, 8 bits", "this service, one worker"
GENERAL = "this service, no native operator"
CPP, NODE, FASTAPI = "C++", "Node", "FastAPI"
HOSTED = "this service in uvicorn"

#: Kinds of texts.
WHOLE, SHORT = "whole", "20 words"

#: Forms of requests.
FORMS = {
    "REST": rest.PREDICT,
    "REST batches of 32": rest.batch(32),
    "REST batches of 256": rest.batch(256),
    "REST OIP": rest.INFER,
}

#: Methods of gRPC, and the calls at once on each connection.
METHODS = {
    "gRPC": ("predict", 1),
    "gRPC, 4 calls at once": ("predict", 4),
    "gRPC OIP": ("infer", 1),
    "gRPC batches of 32": ("batch", 1),
    "gRPC stream": ("stream", 1),
}

#: Short requests while another client sends `DISTURBANCE` in a closed loop.
DISTURBANCE = "REST batches of 256"
DISTURBED = "REST beside batches of 256"


class Case(NamedTuple):
    """One measurement of a round."""

    server: str
    protocol: str
    kind: str  # of the texts
    connections: int


#: Servers that get the same requests over the same number of connections.
_COMPARED = (SERVICE, QUANTIZED, GENERAL, HOSTED, CPP, NODE, FASTAPI)

#: The cases of a round, in order. A round is short, so that all cases run under the same conditions. Between the two
#: groups, the cost of a text in process is measured, which both are compared with.
ONE_BY_ONE = (
    Case(ALONE, "REST", WHOLE, 16),  # as many as each of two workers has of 32
    *(Case(server, "REST", kind, 32) for kind in (WHOLE, SHORT) for server in _COMPARED),
    *(Case(server, "REST", WHOLE, 64) for server in (SERVICE, FASTAPI)),
    *(Case(SERVICE, "REST", kind, 1) for kind in (WHOLE, SHORT)),
    *(Case(SERVICE, protocol, SHORT, 4) for protocol in ("REST", DISTURBED)),
    Case(SERVICE, "REST OIP", WHOLE, 8),
)
MANY_AND_GRPC = (
    *(Case(server, "REST batches of 32", WHOLE, 8) for server in (SERVICE, QUANTIZED)),
    Case(SERVICE, "gRPC batches of 32", WHOLE, 8),
    Case(SERVICE, "gRPC stream", WHOLE, 8),
    *(Case(SERVICE, "gRPC", kind, connections) for kind in (WHOLE, SHORT) for connections in (8, 32)),
    *(Case(SERVICE, "gRPC, 4 calls at once", kind, 8) for kind in (WHOLE, SHORT)),
    Case(SERVICE, "gRPC OIP", WHOLE, 8),
)
