"""A generator reports the requests that it could not send."""

from __future__ import annotations

from time import perf_counter

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
