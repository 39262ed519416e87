"""An event loop whose clock stands still, and a caller that has said hello."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service.http2.caller import Caller, Loop


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """The event loop, which tests share: none leaves anything on it."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def caller(loop: Loop) -> Iterator[Caller]:
    """A caller whose requests are answered with what they say."""
    caller = Caller(loop)
    caller.greet()
    yield caller
    caller.leave()
    assert caller.closed == 1
