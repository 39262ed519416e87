"""Connections share the time of the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar, copy_context

import pytest

from sentiment_conv1d.server.network.turns import _SHARES, _TURN_SECONDS, Turns
from tests.server.grpc.caller import Loop


class Reader:
    """A reader with a number of frames that take some time each."""

    def __init__(
        self,
        loop: Loop,
        frames: int,
        seconds: float = 0.0001,
        log: list[Reader] | None = None,
        *,
        admitted: bool = False,
    ) -> None:
        self.frames = frames
        self.admitted = admitted
        self.reads = 0
        self._loop = loop
        self._seconds = seconds
        self._log = log if log is not None else []

    def read(self, until: float) -> bool:
        """Read frames until a time."""
        self.reads += 1
        self._log.append(self)
        while self.frames:
            self.frames -= 1
            self._loop.counter += self._seconds
            if self._loop.perf_counter() >= until:
                break
        return self.frames > 0


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """Return an event loop with a clock that advances when frames are read."""
    loop = Loop()
    monkeypatch.setattr("sentiment_conv1d.server.network.turns.perf_counter", loop.perf_counter)
    yield loop
    assert loop.failures == []
    loop.close()


@pytest.fixture
def turns(loop: Loop) -> Turns:
    """Return turns on this event loop."""
    return Turns(loop)


def test_little_to_read(loop: Loop, turns: Turns) -> None:
    """A connection with few frames is read at once, and nothing is left on the event loop."""
    for _ in range(5):
        assert not turns.read_or_wait(Reader(loop, 1), 100)
    loop.turn()
    loop.turn()
    assert not turns._begun and not loop._ready  # type: ignore[attr-defined]


def test_much_to_read(loop: Loop, turns: Turns) -> None:
    """A connection with many frames reads its share, waits for another one, and finishes."""
    reader, log = Reader(loop, 1000), []
    assert turns.read_or_wait(reader, 100)
    assert 1000 - reader.frames <= 1 + _SHARES[0] / 0.0001
    while reader.frames:
        before, left = loop.counter, reader.frames
        loop.turn()
        assert reader.frames < left
        assert loop.counter - before <= _TURN_SECONDS + 0.001
        log.append(loop.counter - before)
    assert len(log) >= 20
    loop.turn()
    loop.turn()
    assert not turns._begun


def test_time_of_a_turn(loop: Loop, turns: Turns) -> None:
    """A turn of the event loop takes no longer with more connections."""
    readers = [Reader(loop, 30) for _ in range(100)]
    before = loop.counter
    waiting = [turns.read_or_wait(reader, 100) for reader in readers]
    assert loop.counter - before <= _TURN_SECONDS + 0.001
    assert waiting[0] and all(waiting[10:])
    while any(reader.frames for reader in readers):
        before = loop.counter
        loop.turn()
        assert loop.counter - before <= _TURN_SECONDS + 0.001


def test_pause(loop: Loop, turns: Turns) -> None:
    """During a pause, no connection is read, and afterwards each one gets its turn."""
    pauses = [0.5, 0.25, 0.0]
    turns.pause = lambda: pauses.pop(0) if pauses else 0.0
    readers = [Reader(loop, 1) for _ in range(3)]
    assert [turns.read_or_wait(reader, 100) for reader in readers] == [True] * 3
    loop.turn()
    assert pauses == [0.25, 0.0] and not any(reader.reads for reader in readers)
    loop.now += 0.5
    loop.turn()
    assert pauses == [0.0] and not any(reader.reads for reader in readers)
    loop.now += 0.25
    loop.turn()
    assert [reader.reads for reader in readers] == [1] * 3
    assert not turns.read_or_wait(Reader(loop, 1), 100)


@pytest.mark.parametrize("pauses", [[], [0.5]], ids=["at once", "after a pause"])
def test_context(loop: Loop, turns: Turns, pauses: list[float]) -> None:
    """A connection that has waited is not read in the context of the call whose bytes began the turn."""
    call = ContextVar("call", default="none")
    seen: list[str] = []

    class Noting(Reader):
        def read(self, until: float) -> bool:
            seen.append(call.get())
            return super().read(until)

    def receive() -> None:
        call.set("another")
        turns.wait(Noting(loop, 1))

    turns.pause = lambda: pauses.pop(0) if pauses else 0.0
    copy_context().run(receive)
    loop.now += 1
    loop.turn()
    assert seen == ["none"]


def test_time_between_two_reads(loop: Loop, turns: Turns) -> None:
    """Connections are read at once, although a model has run since the turn began."""
    assert turns.read_or_wait(Reader(loop, 2, seconds=_SHARES[0]), 100)
    loop.turn()
    assert turns._begun
    loop.counter += 10 * _TURN_SECONDS
    assert not turns.read_or_wait(Reader(loop, 1), 100)


def test_work_after_a_turn(loop: Loop, turns: Turns) -> None:
    """A turn ends early if the work that it starts, and that runs after it, takes its time."""

    class Starter(Reader):
        def read(self, until: float) -> bool:
            turns.spend(_TURN_SECONDS / 4)
            return super().read(until)

    readers = [Starter(loop, 1, seconds=0) for _ in range(20)]
    assert [turns.read_or_wait(reader, 100) for reader in readers] == [False] * 4 + [True] * 16
    loop.turn()
    assert [reader.frames for reader in readers] == [0] * 8 + [1] * 12


def test_time_of_tasks(loop: Loop, turns: Turns) -> None:
    """A turn starts the tasks of some dozen requests."""

    class Starter(Reader):
        def read(self, until: float) -> bool:
            turns.spend()
            return super().read(until)

    started = [turns.read_or_wait(Starter(loop, 1, seconds=0), 100) for _ in range(200)].count(False)
    assert 30 <= started <= 100


@pytest.mark.parametrize("admitted", [True, False])
def test_shares(loop: Loop, turns: Turns, admitted: bool) -> None:
    """A connection with many frames reads for 0.1 ms at first, and for 1 ms later."""
    readers = [Reader(loop, 100, seconds=0.00003, admitted=admitted) for _ in range(2)]
    assert all(turns.read_or_wait(reader, 100) for reader in readers)
    assert [reader.frames for reader in readers] == [96, 96]
    loop.turn()
    assert [reader.frames for reader in readers] == [62, 63]


def test_end_of_a_turn(loop: Loop, turns: Turns) -> None:
    """After the first one, no connection is read that would have no time."""

    class Punctual(Reader):
        def read(self, until: float) -> bool:
            assert not self.reads or until > loop.counter
            self.reads += 1
            loop.counter = until
            return True

    reader = Punctual(loop, 1)
    assert turns.read_or_wait(reader, 4097)
    for _ in range(5):
        loop.turn()
    assert reader.reads >= 10


def test_fairness(loop: Loop, turns: Turns) -> None:
    """Connections with many frames take turns, and new connections are read before them."""
    log: list[Reader] = []
    readers = [Reader(loop, 40, log=log) for _ in range(22)]
    for reader in readers:
        assert turns.read_or_wait(reader, 100)
    at_once = log.copy()
    late = Reader(loop, 1, log=log)
    assert turns.read_or_wait(late, 100)
    while any(reader.frames for reader in (*readers, late)):
        loop.turn()
    unread = readers[len(at_once) :]
    assert at_once == readers[: len(at_once)] and at_once and unread
    assert log[len(at_once) :][: 2 + len(unread)] == [*unread, late, readers[0]]
    rounds = log[len(at_once) + 2 + len(unread) :]
    assert sorted(map(readers.index, rounds[:22])) == list(range(22))


def test_newcomers_do_not_stop_the_others(loop: Loop, turns: Turns) -> None:
    """A connection with many frames finishes even if many bytes arrive in every turn."""
    reader = Reader(loop, 100)
    assert turns.read_or_wait(reader, 100)
    for _ in range(100):
        for _ in range(30):
            turns.read_or_wait(Reader(loop, 1), 100)
        loop.turn()
    assert not reader.frames


def test_one_frame_that_takes_long(loop: Loop, turns: Turns) -> None:
    """After a frame that takes longer than a turn, other connections are read in the next turn."""
    assert not turns.read_or_wait(Reader(loop, 1, seconds=0.05), 100)
    other = Reader(loop, 1)
    assert turns.read_or_wait(other, 100)
    assert other.reads == 0
    loop.turn()
    assert other.reads == 1


def test_small_requests_are_read_first(loop: Loop, turns: Turns) -> None:
    """A caller with a small request is read before all connections that received much in the same turn."""
    log: list[Reader] = []
    assert not turns.read_or_wait(Reader(loop, 1, seconds=0.05), 100)
    for _ in range(200):
        assert turns.read_or_wait(Reader(loop, 40, log=log), 4097)
    small = Reader(loop, 3, log=log)
    assert turns.read_or_wait(small, 4096)
    loop.turn()
    assert log.index(small) <= 1


def test_callers_with_access_alternate_with_strangers(loop: Loop, turns: Turns) -> None:
    """Thousands of strangers delay a caller with access by one read, and are read even if many callers have access."""
    log: list[Reader] = []
    assert not turns.read_or_wait(Reader(loop, 1, seconds=0.05), 100)
    for _ in range(2000):
        assert turns.read_or_wait(Reader(loop, 1, log=log), 100)
    known = [Reader(loop, 1, log=log, admitted=True) for _ in range(100)]
    for each in known:
        assert turns.read_or_wait(each, 100)
    while known[-1].frames:
        loop.turn()
    assert [each.admitted for each in log[:200]] == [True, False] * 100


def test_large_requests_of_callers_with_access(loop: Loop, turns: Turns) -> None:
    """A caller with access that sends much does not wait for all strangers that send much either."""
    strangers = [Reader(loop, 1000) for _ in range(200)]
    known = Reader(loop, 200, admitted=True)
    for each in (*strangers, known):
        turns.read_or_wait(each, 16_384)
    for _ in range(40):
        loop.turn()
    assert not known.frames
    assert sum(each.reads > 0 for each in strangers) >= 40


def test_long_frames_do_not_stop_small_requests(loop: Loop, turns: Turns) -> None:
    """A small request is read in the next turn even if other connections have frames that take longer than a turn."""
    for _ in range(4):
        assert turns.read_or_wait(Reader(loop, 1000, seconds=0.004), 4097)
    for _ in range(20):
        small = Reader(loop, 1)
        assert turns.read_or_wait(small, 100)
        loop.turn()
        assert not small.frames
