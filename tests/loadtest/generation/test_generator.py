"""A generator reports the requests that it could not send, and nothing if others send them all."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
import uvloop

from loadtest.generation.generator import Generator, Share
from loadtest.generation.load import Found, Load
from loadtest.traffic.requests import Request, Transport
from loadtest.traffic.target import Endpoint, Target


def test_requests_that_were_not_sent() -> None:
    """Requests that were due too long ago to be sent are reported as late, each by the time that has passed."""

    async def run() -> Found:
        load = Load(rate=1000, seconds=1, connections=0, max_connections=1)
        request = Request("rest", Transport.HTTP, "", b"", 1)
        generator = Generator(load, Share(0, 1), [request], Target(Endpoint("127.0.0.1", 1)))
        return await generator.run(perf_counter() - 1000)

    found = uvloop.run(run())
    assert len(found.lag) == 1000
    assert min(found.lag) > 999


@pytest.mark.parametrize("step", [{"callers": 1}, {"rate": 1.0, "max_requests": 1}])
def test_more_generators_than_requests(step: dict[str, Any]) -> None:
    """A generator without a request does not shorten the step, and does not count as busy."""

    async def run() -> Found:
        load = Load(seconds=4, warmup=0, connections=0, **step)
        request = Request("rest", Transport.HTTP, "", b"", 1)
        generator = Generator(load, Share(1, 2), [request], Target(Endpoint("127.0.0.1", 1)))
        return await generator.run(perf_counter())

    found = uvloop.run(run())
    assert (found.seconds, found.cpu, len(found.due)) == (4, [0.0], 0)
