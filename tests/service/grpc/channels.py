"""Makes calls to a server and describes refused ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import pytest

from tests.processes import ServerProcess


class Refusal(NamedTuple):
    """The end of a call that was not answered."""

    code: grpc.StatusCode
    message: str
    metadata: dict[str, Any]


def connect(server: ServerProcess, **options: int) -> grpc.Channel:
    """Open a separate channel with gRPC's options `grpc.NAME`."""
    given = [(f"grpc.{name}", value) for name, value in options.items()]
    return grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=[*given, ("grpc.enable_http_proxy", 0)])


def refused(call: Callable[[], object]) -> Refusal:
    """Make a call that must be refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error: Any = caught.value
    return Refusal(error.code(), error.details(), dict(error.trailing_metadata() or ()))
