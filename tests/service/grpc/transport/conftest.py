"""An event loop whose clocks stand still, and a client that has said hello."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentiment_conv1d.service.grpc.transport import http2
from sentiment_conv1d.service.network import turns
from tests.service.grpc.transport.caller import Caller, Loop


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The event loop, which tests share: none leaves anything on it."""
    loop = Loop()
    with pytest.MonkeyPatch.context() as patch:
        for module in (http2, turns):
            patch.setattr(module, "perf_counter", loop.perf_counter)
        yield loop
    loop.close()


@pytest.fixture
def caller(loop: Loop) -> Iterator[Caller]:
    """A client whose requests are answered with what they say."""
    caller = Caller(loop)
    caller.greet()
    yield caller
    caller.leave()
    assert caller.closed == 1
