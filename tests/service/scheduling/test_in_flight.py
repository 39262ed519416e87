"""The requests that are in flight in a worker."""

import asyncio

from sentiment_conv1d.service.scheduling.in_flight import InFlight


def test_all_transports_count() -> None:
    """Requests of all transports count, from when their task is added until it is removed."""

    async def story() -> None:
        in_flight = InFlight()
        assert len(in_flight) == 0
        rest, grpc = in_flight.new_set(), in_flight.new_set()
        first, second = (asyncio.create_task(asyncio.sleep(0)) for _ in range(2))
        rest.add(first)
        grpc.add(second)
        assert len(in_flight) == 2
        rest.discard(first)
        assert len(in_flight) == 1

    asyncio.run(story())
