"""When requests may be parsed."""

import asyncio
from collections.abc import Iterator

import pytest

from sentiment_conv1d.server.errors import Overloaded
from sentiment_conv1d.service.scheduling import parsing
from sentiment_conv1d.service.scheduling.parsing import Parsing

#: More than any number of turns that a request waits here.
_TURNS = 60


class Story:
    """Parses requests of one size that arrive together, and notes the turn of the event loop of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.parsed: list[tuple[int, int]] = []  # numbers of requests and turns
        self._now, self._turn, self._seconds = 0.0, 0, seconds
        monkeypatch.setattr(parsing, "perf_counter", lambda: self._now)

    def tell(self, *sizes: int) -> list[int]:
        """Return the turn of every request, in the order in which they are parsed."""
        queue = Parsing(10, large=100)

        async def parse(number: int, size: int) -> None:
            await queue.turn(size)
            self.parsed.append((number, self._turn))
            self._now += self._seconds

        async def tell() -> None:
            tasks = [asyncio.create_task(parse(*each)) for each in enumerate(sizes)]
            for self._turn in range(_TURNS):
                await asyncio.sleep(0)
            assert all(task.done() for task in tasks)

        asyncio.run(tell())
        return [turn for _, turn in self.parsed]


@pytest.fixture(params=[0.0005, 0.01], ids=["fast", "slow"])
def seconds(request: pytest.FixtureRequest) -> Iterator[float]:
    """The time that it takes to parse one request."""
    yield request.param


def test_medium_requests(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """In a turn of the event loop, requests are parsed for two milliseconds, in the order of their arrival."""
    story = Story(monkeypatch, seconds)
    turns = story.tell(*[100] * 10)
    assert [number for number, _ in story.parsed] == list(range(10))
    most = max(turns.count(turn) for turn in turns)
    assert most == (4 if seconds < 0.001 else 1)
    assert len(set(turns)) == -(-10 // most)


def test_large_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the parsing of two large requests there are turns for smaller ones, which need not wait for them."""
    story = Story(monkeypatch, 0.0)
    turns = story.tell(101, 101, 101, 100)
    assert [number for number, _ in story.parsed] == [3, 0, 1, 2]
    assert turns[0] <= 1
    assert turns[2] - turns[1] >= 8 and turns[3] - turns[2] >= 8


def test_limit() -> None:
    """A request is rejected if too many wait, and a request that was parsed or cancelled waits no more."""

    async def story() -> None:
        queue = Parsing(2, large=100)
        tasks = [asyncio.create_task(queue.turn(101)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 requests wait"):
            await queue.turn(1)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        await asyncio.gather(queue.turn(101), queue.turn(101))  # which wait for each other

    asyncio.run(story())
