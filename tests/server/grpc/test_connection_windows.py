"""Flow control: how much each side can send, and the order and the time limits of waiting streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment_conv1d.server.grpc.http2 import MAX_CONTENT
from sentiment_conv1d.server.grpc.stream import Stream
from tests.server.grpc.caller import LIMITS, Caller, Echo, Loop, Request, fate
from tests.service.grpc import wire
from tests.service.grpc.wire import PADDED, Frame, data, frame, request, window

MIB = 1024 * 1024

#: Bytes that a client may send on a stream, and on a connection, before the server has read some.
WINDOW = 65_535
CONNECTION_WINDOW = MIB


@pytest.fixture
def asker(loop: Loop) -> Iterator[Caller]:
    """Create a client whose requests are answered by the test, and that opens only the connection's window."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 0))
    yield caller
    caller.leave()


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    """Return the stream and the length of every DATA frame."""
    return [(each.stream, len(each.payload)) for each in frames if each.kind == "DATA"]


def initial(size: int) -> bytes:
    """Build SETTINGS with an initial window of streams."""
    return wire.settings((wire.INITIAL_WINDOW_SIZE, size))


def test_small_window(asker: Caller) -> None:
    """The server sends no more than the window of the stream allows, and sends the head without waiting."""
    asker.say(request(1))
    asker.requests[1].answer(b"three")
    assert [each.kind for each in asker.hear()] == ["HEADERS"]
    assert sizes(asker.ask(window(1, 1))) == [(1, 1)]
    assert sizes(asker.ask(window(1, 3))) == [(1, 3)]
    assert [each.kind for each in asker.ask(window(1, 1))] == ["DATA", "HEADERS"]


def test_window_of_the_connection(asker: Caller) -> None:
    """The server sends no more than the window of the connection allows, over all streams."""
    asker.say(initial(10**6) + request(1) + request(3))
    asker.requests[1].answer(bytes(65_000))
    asker.requests[3].answer(bytes(1000))
    assert sum(size for _, size in sizes(asker.hear())) == 65_535
    assert sizes(asker.ask(window(3, 10**6))) == []
    assert sizes(asker.ask(window(0, 10**6))) == [(3, 465)]


def test_settings_open_the_window(asker: Caller) -> None:
    """A new initial window also applies to open streams."""
    asker.say(request(1))
    asker.requests[1].answer(b"three")
    asker.hear()
    assert sizes(asker.ask(initial(2))) == [(1, 2)]
    assert sizes(asker.ask(initial(3))) == [(1, 1)]


def test_negative_window(asker: Caller) -> None:
    """A smaller initial window can make a stream's window negative, and sending continues when it is positive again."""
    asker.say(initial(3) + request(1))
    asker.requests[1].answer(b"fivex")
    assert sizes(asker.hear()) == [(1, 3)]
    assert sizes(asker.ask(initial(0))) == []
    assert sizes(asker.ask(window(1, 3))) == []
    assert sizes(asker.ask(window(1, 1))) == [(1, 1)]


@pytest.mark.parametrize("allowed", [None, 20_000, 2**24 - 1])
def test_frame_size(loop: Loop, allowed: int | None) -> None:
    """No DATA frame exceeds the default maximum frame size."""
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 10**6), *([] if allowed is None else [(wire.MAX_FRAME_SIZE, allowed)]))
    caller.say(window(0, 10**6) + request(1))
    caller.requests[1].answer(bytes(100_000))
    frames = caller.hear()
    assert {size for _, size in sizes(frames)} == {MAX_CONTENT, 100_000 % MAX_CONTENT}
    assert caller.answers(frames) == {1: bytes(100_000)}
    caller.leave()


def test_one_after_the_other(asker: Caller) -> None:
    """Streams that wait for the connection's window send in the order in which they began to wait."""
    streams = range(1, 21, 2)
    asker.say(initial(100_000) + b"".join(map(request, streams)))
    for number in streams:
        asker.requests[number].answer(bytes(60_000 if number == 1 else 30_000))
    asker.hear()
    turns = [asker.ask(window(0, 10)) for _ in range(40)]
    order = [number for frames in turns for number, _ in sizes(frames)]
    assert sorted(order[:9]) == list(range(3, 21, 2)) and len(order) == 40
    assert order == (order[:9] * 5)[:40]


def test_unused_window_goes_to_the_next_stream(asker: Caller) -> None:
    """The part of the window that a stream does not use goes to the next one, also if the stream was reset."""
    streams = range(1, 13, 2)
    asker.say(initial(70_000) + b"".join(map(request, streams)))
    asker.requests[1].answer(bytes(65_535))
    for number in streams[1:]:
        asker.requests[number].answer(bytes(10))
    assert sum(size for _, size in sizes(asker.hear())) == 65_535
    # The first of those that wait is reset as soon as it may send, and the window of the second one goes.
    asker.say(window(0, 30) + wire.reset(3) + initial(0))
    assert sizes(asker.ask(b"".join(window(number, 10) for number in streams[3:]))) == [(7, 10), (9, 10), (11, 10)]


def test_window_of_other_streams(asker: Caller) -> None:
    """A stream whose own window is used up leaves the connection's window to the next one."""
    asker.say(initial(65_540) + request(1) + request(3))
    asker.requests[1].answer(bytes(70_000))
    asker.hear()
    asker.requests[3].answer(bytes(10))
    asker.hear()
    assert sizes(asker.ask(window(0, 100))) == [(1, 5), (3, 10)]


def test_small_window_update_wakes_one_stream(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that grows by one byte wakes one waiting stream, not all."""
    woken = 0
    wake = Stream.wake

    def counting(stream: Stream) -> None:
        nonlocal woken
        woken += stream.blocked is not None and not stream.blocked.done()
        wake(stream)

    monkeypatch.setattr(Stream, "wake", counting)
    caller = Caller(loop, Request)
    caller.greet((wire.INITIAL_WINDOW_SIZE, 100_000))
    caller.say(b"".join(request(number) for number in range(1, 201, 2)))
    for each in caller.requests.values():
        each.answer(bytes(70_000))
    caller.hear()
    woken = 0
    for _ in range(20):
        caller.ask(window(0, 1))
    assert woken == 20
    caller.leave()


# Time.


def test_window_that_never_opens(asker: Caller) -> None:
    """An answer that the client does not take is cancelled after `write_seconds`."""
    asker.say(request(1))
    asker.requests[1].answer(b"x")
    asker.hear()
    asker.loop.now += LIMITS.write_seconds - 0.1
    assert asker.hear() == []
    asker.loop.now += 0.2
    assert fate(asker.hear()) == ["RST_STREAM 1 CANCEL"]
    assert asker.requests[1].gone
    assert fate(asker.ask(window(1, 10))) == []


def test_window_that_opens_byte_by_byte(asker: Caller) -> None:
    """The time limit applies to the whole answer, even if the client takes a byte now and then."""
    asker.say(request(1))
    asker.requests[1].answer(b"a long answer")
    asker.hear()
    for _ in range(5):
        assert sizes(asker.ask(window(1, 1))) == [(1, 1)]
        asker.loop.now += LIMITS.write_seconds / 5
    asker.loop.now += 0.1
    assert fate(asker.hear()) == ["RST_STREAM 1 CANCEL"]


@pytest.mark.parametrize("size", [MIB - 1, MIB, 3 * MIB])
def test_time_for_large_answers(asker: Caller, size: int) -> None:
    """A large answer has the time limit for each MiB."""
    asker.say(request(1))
    asker.requests[1].answer(bytes(size))
    asker.hear()
    asker.loop.now += LIMITS.write_seconds * (1 + size // MIB) - 0.1
    assert fate(asker.ask(window(1, 1))) == []
    asker.loop.now += 0.2
    assert fate(asker.hear()) == ["RST_STREAM 1 CANCEL"]


def test_answer_that_is_given_up_for_the_client_that_does_not_read(asker: Caller) -> None:
    """The time limit also applies while the client slowly reads bytes that were written."""
    asker.say(initial(10**6) + window(0, 10**6) + request(1))
    asker.requests[1].answer(bytes(500_000))
    frames: list[Frame] = []
    for _ in range(40):
        asker.loop.now += 1
        frames += asker.hear(2000)
    assert fate(frames + asker.hear()) == ["RST_STREAM 1 CANCEL"]
    assert asker.requests[1].gone


def test_client_that_does_not_read(asker: Caller) -> None:
    """A client that does not read keeps only its transport's buffer and one piece per stream in memory."""
    asker.say(initial(10**8) + window(0, 10**8) + request(1) + request(3))
    for number in (1, 3):
        asker.requests[number].answer(bytes(10**6))
    asker.settle()
    assert len(asker.transport.unread) < 70_000
    assert not asker.transport.reading
    most = 0
    frames: list[Frame] = []
    while asker.transport.unread:
        frames += asker.hear(10_000)
        most = max(most, len(asker.transport.unread))
    assert most < 80_000
    frames += asker.hear()
    assert asker.transport.reading
    assert asker.answers(frames) == {1: bytes(10**6), 3: bytes(10**6)}


# What the client sends.


def updates(frames: list[Frame], stream: int) -> int:
    """Return the bytes that the client can send again on a stream or on the connection."""
    return sum(each.number for each in frames if each.kind == "WINDOW_UPDATE" and each.stream == stream)


def test_announced_windows(loop: Loop) -> None:
    """The server announces the windows that these tests start from."""
    caller = Caller(loop)
    frames = caller.ask(wire.PREFACE + wire.settings())
    assert frames[0].settings.get(wire.INITIAL_WINDOW_SIZE, 65_535) == WINDOW
    assert 65_535 + updates(frames, 0) == CONNECTION_WINDOW
    caller.leave()


@pytest.mark.parametrize("size", [300, 16_384])
def test_window_grows_as_data_is_read(caller: Caller, size: int) -> None:
    """A client can send without a limit, including padding, as long as the stream reads fast enough."""
    caller.say(request(1, ended=False))
    left = {0: CONNECTION_WINDOW, 1: WINDOW}
    for _ in range(3 * CONNECTION_WINDOW // size):
        frames = caller.ask(frame("DATA", PADDED, 1, b"\xff" + bytes(size - 1)))
        for number in left:
            left[number] += updates(frames, number) - size
            assert left[number] > 0


def test_stream_that_falls_behind(asker: Caller) -> None:
    """A client has to wait if its stream falls behind, while other streams continue; later it can send all at once."""
    asker.say(request(1, ended=False) + request(3, ended=False))
    behind, other = asker.requests[1], asker.requests[3]
    asker.connection.fall_behind(behind, behind=True)
    sent, connection = 0, CONNECTION_WINDOW
    for _ in range(3):
        frames = asker.ask(data(1, bytes(16_384)))
        sent += 16_384
        connection += updates(frames, 0) - 16_384
        assert updates(frames, 1) == 0
    for _ in range(20):
        frames = asker.ask(data(3, bytes(16_384)))
        connection += updates(frames, 0) - 16_384
        assert connection > 16_384 and updates(frames, 1) == 0
    assert len(other.body) == 20 * 16_384
    asker.connection.fall_behind(behind, behind=False)
    assert WINDOW - sent + updates(asker.hear(), 1) > 16_384
    for _ in range(20):
        frames = asker.ask(data(1, bytes(16_384)))
    assert len(behind.body) == 23 * 16_384


def test_client_that_ignores_its_window(asker: Caller) -> None:
    """A client that ignores the closed window of a stream is disconnected."""
    asker.say(request(1, ended=False))
    asker.connection.fall_behind(asker.requests[1], behind=True)
    for _ in range(40):
        asker.ask(data(1, bytes(16_384)))
    assert asker.transport.closing
    assert len(asker.requests[1].body) <= 2 * WINDOW and asker.failures == ["malformed"]


@pytest.mark.parametrize("end", ["answered", "reset", "answered early"])
def test_window_of_the_connection_never_ends(asker: Caller, end: str) -> None:
    """The connection's window is returned for every kind of end of a stream."""
    left = CONNECTION_WINDOW
    asker.say(initial(1000))
    for number in range(1, 401, 2):
        frames = asker.ask(request(number, ended=False) + data(number, bytes(9000)))
        asker.connection.fall_behind(asker.requests[number], behind=True)
        if end == "reset":
            asker.say(data(number, bytes(9000)) + wire.reset(number))
        elif end == "answered early":
            asker.requests[number].answer(b"")
            frames += asker.hear()
            asker.say(data(number, bytes(9000)))
        else:
            asker.say(data(number, bytes(9000), ended=True))
            asker.requests[number].answer(b"")
        frames += asker.hear()
        left += updates(frames, 0) - 18_000
        assert left > 18_000


MOVES = st.one_of(
    st.tuples(st.just("read"), st.integers(1, 100_000)),
    st.tuples(st.just("stream"), st.integers(0, 3), st.integers(1, 40_000)),
    st.tuples(st.just("connection"), st.integers(1, 100_000)),
    st.tuples(st.just("initial"), st.integers(0, 100_000)),
    st.tuples(st.just("frame"), st.integers(16_384, 70_000)),
)


@given(
    size=st.integers(0, 70_000),
    lengths=st.lists(st.integers(0, 120_000), min_size=1, max_size=4),
    moves=st.lists(MOVES, max_size=30),
)
def test_any_windows(loop: Loop, size: int, lengths: list[int], moves: list[tuple[str, ...]]) -> None:
    """For any windows, frames and pauses, the server respects the windows and delivers everything in order."""
    caller = Caller(loop, Echo)
    caller.greet((wire.INITIAL_WINDOW_SIZE, size))
    contents = {2 * at + 1: bytes(index % 251 for index in range(length)) for at, length in enumerate(lengths)}
    windows = dict.fromkeys(contents, size) | {0: 65_535}
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
                    windows[number] += last - size
                lowest = min(lowest, *windows.values())
                size = last
                caller.say(initial(last))
            case "frame":
                largest = max(largest, last)
                caller.say(wire.settings((wire.MAX_FRAME_SIZE, last)))
        caller.connection._frame_limits._without_effect = 0  # SETTINGS in any number
        hear()
    hear()
    for number in (0, *contents):
        caller.say(window(number, 2 * 10**6))
        windows[number] += 2 * 10**6
        hear()
    assert caller.answers(frames) == contents
    assert fate(frames) == []
    caller.leave()
