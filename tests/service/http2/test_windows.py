"""Flow control (RFC 9113, sections 5.2 and 6.9): how much either side may send, and who waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service.http2.connection import CONNECTION_WINDOW, STREAM_WINDOW

from tests.service.http2 import wire
from tests.service.http2.caller import LOW_WATER, Caller, Echo, Loop, Request, fate
from tests.service.http2.wire import PADDED, Frame, data, frame, request, window


class Hoarder(Request):
    """Makes no use of what it is sent, so that nothing more may come."""

    def received(self, data: bytes) -> None:
        """Keep it."""
        self.body += data


@pytest.fixture
def asker(loop: Loop) -> Iterator[Caller]:
    """A caller whose requests are answered when the test says so, and who opens no window but the connection's."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 0))
    yield caller
    caller.leave()


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """The stream and the length of every DATA."""
    return [(each.stream, len(each.payload)) for each in frames if each.kind == "DATA"]


def test_small_window(asker: Caller) -> None:
    """No more is sent than the window of the stream allows, and the head does not wait for it."""
    asker.say(request(1))
    asker.requests[1].answer(b"three")
    assert [each.kind for each in asker.hear()] == ["HEADERS"]
    assert sizes(asker.ask(window(1, 1))) == [(1, 1)]
    assert sizes(asker.ask(window(1, 3))) == [(1, 3)]
    assert [each.kind for each in asker.ask(window(1, 1))] == ["DATA", "HEADERS"]


def test_window_of_the_connection(asker: Caller) -> None:
    """No more is sent than the window of the connection allows, all streams together."""
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 10**6)) + request(1) + request(3))
    asker.requests[1].answer(bytes(65_000))
    asker.requests[3].answer(bytes(1000))
    assert sum(size for _, size in sizes(asker.hear())) == 65_535
    assert sizes(asker.ask(window(3, 10**6))) == []
    frames = asker.ask(window(0, 10**6))
    assert sizes(frames) == [(3, 465)]


def test_settings_open_the_window(asker: Caller) -> None:
    """Section 6.9.2: a new initial window is one for the streams that there are as well."""
    asker.say(request(1))
    asker.requests[1].answer(b"three")
    asker.hear()
    assert sizes(asker.ask(wire.settings((wire.INITIAL_WINDOW_SIZE, 2)))) == [(1, 2)]
    assert sizes(asker.ask(wire.settings((wire.INITIAL_WINDOW_SIZE, 3)))) == [(1, 1)]


def test_negative_window(asker: Caller) -> None:
    """Section 6.9.2: a smaller initial window may make one negative, which has to grow above 0 before more is sent."""
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 3)) + request(1))
    asker.requests[1].answer(b"fivex")
    assert sizes(asker.hear()) == [(1, 3)]
    assert sizes(asker.ask(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))) == []
    assert sizes(asker.ask(window(1, 3))) == []
    assert sizes(asker.ask(window(1, 1))) == [(1, 1)]


@pytest.mark.parametrize(("allowed", "size"), [(None, 16_384), (20_000, 20_000), (2**24 - 1, 50_000)])
def test_frame_size(loop: Loop, allowed: int | None, size: int) -> None:
    """Frames are as large as the caller takes them."""
    caller = Caller(loop)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 10**6), *([] if allowed is None else [(wire.MAX_FRAME_SIZE, allowed)]))
    caller.say(request(1, ended=False))
    for start in range(0, 50_000, 10_000):
        caller.say(data(1, bytes(10_000), ended=start == 40_000))
    frames = caller.hear()
    assert sizes(frames)[0] == (1, size)
    assert caller.answers(frames) == {1: bytes(50_000)}
    caller.leave()


def test_one_after_the_other(asker: Caller) -> None:
    """Streams that wait for the connection get their turns in the order in which they began to wait."""
    streams = range(1, 21, 2)
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 100_000)) + b"".join(map(request, streams)))
    for number in streams:
        asker.requests[number].answer(bytes(60_000 if number == 1 else 30_000))
    asker.hear()
    turns = [asker.ask(window(0, 10)) for _ in range(40)]
    order = [number for frames in turns for number, _ in sizes(frames)]
    assert sorted(order[:9]) == list(range(3, 21, 2)) and len(order) == 40
    assert order == (order[:9] * 5)[:40]


def test_room_is_passed_on(asker: Caller) -> None:
    """What a stream leaves of the window goes to the next one: also where it was cut, or has a window of its own."""
    streams = range(1, 13, 2)
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 70_000)) + b"".join(map(request, streams)))
    asker.requests[1].answer(bytes(65_535))
    for number in streams[1:]:
        asker.requests[number].answer(bytes(10))
    assert sum(size for _, size in sizes(asker.hear())) == 65_535
    # The first of those who wait gives up as soon as it may send, and the window of the second one goes.
    asker.say(window(0, 30) + wire.reset(3) + wire.settings((wire.INITIAL_WINDOW_SIZE, 0)))
    assert sizes(asker.ask(b"".join(window(number, 10) for number in streams[3:]))) == [(7, 10), (9, 10), (11, 10)]


def test_rest_of_the_room(asker: Caller) -> None:
    """A stream whose own window ends leaves the rest of the connection's to the next one."""
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 65_540)) + request(1) + request(3))
    asker.requests[1].answer(bytes(70_000))
    asker.hear()
    asker.requests[3].answer(bytes(10))
    asker.hear()
    assert sizes(asker.ask(window(0, 100))) == [(1, 5), (3, 10)]


def test_window_by_the_byte_wakes_one(loop: Loop) -> None:
    """A window that grows by a byte makes work for one of those who wait, not for all."""
    looks = 0

    class Counting(Request):
        """Counts how often it looks whether it may send."""

        def wake(self) -> bool:
            """Count."""
            nonlocal looks
            woken = super().wake()
            looks += woken
            return woken

    caller = Caller(loop, Counting)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 100_000))
    caller.say(b"".join(request(number) for number in range(1, 201, 2)))
    for each in caller.requests.values():
        each.answer(bytes(70_000))
    caller.hear()
    looks = 0
    for _ in range(20):
        caller.ask(window(0, 1))
    assert looks == 20
    caller.leave()


def test_caller_who_never_opens_the_window(asker: Caller) -> None:
    """An answer that nobody takes is given up after `write_seconds`."""
    asker.say(request(1))
    asker.requests[1].answer(b"x")
    asker.hear()
    asker.loop.now += 29.9
    assert asker.hear() == []
    asker.loop.now += 0.2
    assert fate(asker.hear()) == ["RST_STREAM 1 CANCEL"]
    assert asker.requests[1].gone
    assert fate(asker.ask(window(1, 10))) == []


def test_caller_who_opens_the_window_in_time(asker: Caller) -> None:
    """Whoever takes a little of an answer has that long again."""
    asker.say(request(1))
    asker.requests[1].answer(b"four")
    asker.hear()
    for _ in range(4):
        asker.loop.now += 29
        assert "DATA" in {each.kind for each in asker.ask(window(1, 1))}
    assert not asker.requests[1].gone


def test_caller_who_does_not_read(asker: Caller) -> None:
    """No more waits for a caller than its transport holds and one piece of every stream; nothing is read meanwhile."""
    asker.say(wire.settings((wire.INITIAL_WINDOW_SIZE, 10**8)) + window(0, 10**8) + request(1) + request(3))
    for number in (1, 3):
        asker.requests[number].answer(bytes(10**6))
    asker.settle()
    assert len(asker.transport.unread) < 120_000
    assert not asker.transport.reading
    most = 0
    frames: list[Frame] = []
    while asker.transport.unread:
        frames += asker.hear(10_000)
        most = max(most, len(asker.transport.unread))
    assert most < LOW_WATER + 120_000
    assert asker.transport.reading
    assert asker.answers(frames) == {1: bytes(10**6), 3: bytes(10**6)}


def test_window_of_requests(loop: Loop) -> None:
    """Data beyond a stream's window ends it; what has come by then counts for the connection."""
    caller = Caller(loop, Hoarder)
    caller.greet()
    caller.say(request(1, ended=False))
    for _ in range(STREAM_WINDOW // 16_384):
        assert fate(caller.ask(data(1, bytes(16_384)))) == []
    assert fate(caller.ask(data(1, b"x"))) == ["RST_STREAM 1 FLOW_CONTROL_ERROR"]
    caller.leave()


@pytest.mark.parametrize("size", [300, 16_384])
def test_window_grows_as_data_is_used(caller: Caller, size: int) -> None:
    """As long as the application takes the data, the caller may send more, for padding too: on the stream and on the
    connection."""
    caller.say(request(1, ended=False))
    left = {0: CONNECTION_WINDOW, 1: STREAM_WINDOW}
    for _ in range(3 * CONNECTION_WINDOW // size):
        frames = caller.ask(frame("DATA", PADDED, 1, b"\xff" + bytes(size - 1)))
        for number in left:
            left[number] += sum(each.number for each in frames if each.stream == number) - size
            assert left[number] > 0
    assert caller.connection._receive_window == left[0]
    assert caller.requests[1].receive_window == left[1]


def test_data_of_closed_streams_counts(caller: Caller) -> None:
    """The connection's window grows by what was sent on streams that are gone, and on those that wait."""
    caller.say(request(1))
    caller.hear()
    frames = caller.ask(data(1, bytes(16_384)) * 40)
    assert [(each.kind, each.stream, each.number) for each in frames] == [("WINDOW_UPDATE", 0, 16_384 * 33)]


def test_window_of_the_connection_of_requests(loop: Loop) -> None:
    """More data than the connection's window cannot be: it grows while streams keep theirs, which are bounded."""
    caller = Caller(loop, Hoarder)
    caller.greet()
    for number in range(1, 21, 2):
        caller.say(request(number, ended=False))
        for _ in range(STREAM_WINDOW // 16_384):
            caller.say(data(number, bytes(16_384)))
    frames = caller.hear()
    assert {each.kind for each in frames} == {"WINDOW_UPDATE"} and {each.stream for each in frames} == {0}
    caller.leave()


MOVES = st.one_of(
    st.tuples(st.just("read"), st.integers(1, 100_000)),
    st.tuples(st.just("stream"), st.integers(0, 3), st.integers(1, 40_000)),
    st.tuples(st.just("connection"), st.integers(1, 100_000)),
    st.tuples(st.just("initial"), st.integers(0, 100_000)),
    st.tuples(st.just("frame"), st.integers(16_384, 70_000)),
)


@given(
    initial=st.integers(0, 70_000),
    lengths=st.lists(st.integers(0, 120_000), min_size=1, max_size=4),
    moves=st.lists(MOVES, max_size=30),
)
def test_any_windows(loop: Loop, initial: int, lengths: list[int], moves: list[tuple[str, ...]]) -> None:
    """Whatever the windows, the frames and the pauses: never more is sent than they allow, and in the end all, in
    order, whichever stream waited for which."""
    caller = Caller(loop, Echo)
    caller.greet((wire.INITIAL_WINDOW_SIZE, initial))
    contents = {2 * at + 1: bytes(index % 251 for index in range(size)) for at, size in enumerate(lengths)}
    windows = dict.fromkeys(contents, initial) | {0: 65_535}
    largest = 16_384
    frames: list[Frame] = []

    def hear(size: int | None = None) -> None:
        heard = caller.hear(size)
        for number, length in sizes(heard):
            assert length <= largest
            windows[0] -= length
            windows[number] -= length
            assert windows[0] >= 0 and (length == 0 or windows[number] >= min(0, lowest))
        frames.extend(heard)

    lowest = 0
    for number, content in contents.items():
        caller.say(request(number, ended=False))
        for start in range(0, len(content), 16_384):
            caller.say(data(number, content[start : start + 16_384]))
        caller.say(data(number, ended=True))
    hear()
    for kind, *values in moves:
        first, last = int(values[0]), int(values[-1])
        if not caller.transport.reading or kind == "read":
            hear(last)
            continue
        match kind:
            case "stream":
                number = 2 * (first % len(lengths)) + 1
                windows[number] += last
                caller.say(window(number, last))
            case "connection":
                windows[0] += last
                caller.say(window(0, last))
            case "initial":
                for number in contents:
                    windows[number] += last - initial
                lowest = min(lowest, *windows.values())
                initial = last
                caller.say(wire.settings((wire.INITIAL_WINDOW_SIZE, last)))
            case "frame":
                largest = max(largest, last)
                caller.say(wire.settings((wire.MAX_FRAME_SIZE, last)))
        hear()
    hear()
    for number in (0, *contents):
        caller.say(window(number, 2 * 10**6))
        windows[number] += 2 * 10**6
        hear()
    assert caller.answers(frames) == contents
    assert fate(frames) == []
    caller.leave()
