"""Fixtures: an event loop with a manual clock, and a client that has completed the handshake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentiment_conv1d.server.grpc import connection, http2
from sentiment_conv1d.server.network import turns
from tests.server.grpc.caller import Caller, Loop


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """Create an event loop for all tests. No test leaves callbacks on it."""
    loop = Loop()
    with pytest.MonkeyPatch.context() as patch:
        for module in (connection, http2, turns):
            patch.setattr(module, "perf_counter", loop.perf_counter)
        yield loop
    loop.close()


@pytest.fixture
def caller(loop: Loop) -> Iterator[Caller]:
    """Create a client whose requests are answered with their content."""
    caller = Caller(loop)
    caller.greet()
    yield caller
    caller.leave()
    assert caller.closed == 1
