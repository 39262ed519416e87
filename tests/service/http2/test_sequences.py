"""Any bytes and any frames: cut anywhere, in any order, right or wrong."""

from __future__ import annotations

import random
from itertools import pairwise

import hpack
from hypothesis import given
from hypothesis import strategies as st

from tests.service.http2 import wire
from tests.service.http2.caller import Caller, Echo, Loop, Request, fate
from tests.service.http2.wire import ACK, END_HEADERS, END_STREAM, PREFACE, Frame, data, frame, ping, request, settings


def conversation(seed: int, count: int) -> tuple[bytes, dict[int, bytes]]:
    """What a caller sends who keeps every rule, with requests of all forms side by side; and what it should get."""
    choose = random.Random(seed)
    encoder = hpack.Encoder()
    said = [PREFACE, settings((wire.INITIAL_WINDOW_SIZE, 10**6)), frame("SETTINGS", ACK), wire.window(0, 10**6)]
    contents: dict[int, bytes] = {}
    unfinished: list[tuple[int, list[bytes]]] = []
    for number in range(1, 2 * count + 1, 2):
        pieces = [choose.randbytes(choose.choice((0, 1, 100, 3000))) for _ in range(choose.randrange(4))]
        contents[number] = b"".join(pieces)
        block = encoder.encode([*wire.POST, ("x-number", str(number % 5))], huffman=choose.random() < 0.5)
        cut = choose.randrange(len(block))
        if choose.random() < 0.3:
            said += [frame("HEADERS", not pieces, number, block[:cut])]
            said += [frame("CONTINUATION", END_HEADERS, number, block[cut:])]
        else:
            said += [frame("HEADERS", END_HEADERS | (not pieces), number, block)]
        if pieces:
            unfinished.append((number, pieces))
        while unfinished and choose.random() < 0.7:
            stream, left = choose.choice(unfinished)
            piece = left.pop(0)
            if choose.random() < 0.3:
                said += [frame("DATA", wire.PADDED | (not left), stream, b"\x03" + piece + bytes(3))]
            else:
                said += [data(stream, piece, ended=not left)]
            if not left:
                unfinished.remove((stream, left))
        said += [choose.choice((b"", frame(0x16, 0xFF, 3, b"?"), wire.window(0, 5), ping(flags=ACK)))]
    for stream, left in unfinished:
        said += [data(stream, b"".join(left), ended=True)]
    return b"".join(said), contents


@given(seed=st.integers(0, 2**32), count=st.integers(1, 12), cuts=st.lists(st.floats(0, 1), max_size=30))
def test_cut_anywhere(loop: Loop, seed: int, count: int, cuts: list[float]) -> None:
    """However a valid stream of bytes is cut, every request is answered, and each with the same frames."""
    said, contents = conversation(seed, count)
    whole = Caller(loop)
    expected = whole.ask(said)
    assert whole.answers(expected) == contents
    caller = Caller(loop)
    places = sorted({int(cut * len(said)) for cut in cuts} | {0, len(said)})
    frames: list[Frame] = []
    for start, end in pairwise(places):
        frames += caller.ask(said[start:end])
    assert caller.answers(frames) == contents
    assert fate(frames) == []

    def of_streams(frames: list[Frame]) -> dict[int, list[tuple[str, int, bytes]]]:
        """What each stream got; the end of the table is said in front of whichever answer is the first."""
        return {
            number: [
                (each.kind, each.flags, each.payload.removeprefix(b"\x20"))
                for each in frames
                if each.stream == number and each.kind != "WINDOW_UPDATE"
            ]
            for number in contents
        }

    assert of_streams(frames) == of_streams(expected)
    for each in (whole, caller):
        assert not each.transport.closing
        each.leave()


STREAMS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 9, 2**31 - 1])
FRAMES = st.one_of(
    st.builds(request, STREAMS, ended=st.booleans()),
    st.builds(data, STREAMS, st.binary(max_size=50), ended=st.booleans()),
    st.builds(data, STREAMS, st.just(bytes(16_384)), ended=st.booleans()),
    st.builds(wire.window, STREAMS, st.sampled_from([0, 1, 10, 100_000, 2**31 - 1])),
    st.builds(wire.reset, STREAMS),
    st.builds(ping, flags=st.sampled_from([0, ACK])),
    st.builds(
        settings,
        st.tuples(st.integers(0, 7), st.sampled_from([0, 1, 2, 100, 16_384, 70_000, 2**24 - 1, 2**31 - 1, 2**32 - 1])),
    ),
    st.builds(
        frame,
        st.integers(0, 11),
        st.sampled_from([0, 1, 4, 5, 8, 9, 13, 32, 37, 45, 255]),
        STREAMS,
        st.binary(max_size=40) | st.just(wire.block(*wire.POST)),
    ),
    st.just(frame("SETTINGS", ACK)),
    st.just(wire.go_away()),
)
#: What may happen beside frames, as an attack on the order of things.
EVENTS = st.sampled_from(["answer", "leave", "wait", "read"])


@given(
    moves=st.lists(FRAMES | EVENTS, max_size=40),
    flipped=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 10**5), st.integers(1, 255)), max_size=3),
    echo=st.booleans(),
)
def test_any_frames(loop: Loop, moves: list[bytes | str], flipped: list[tuple[int, int, int]], echo: bool) -> None:
    """Whatever frames come, whole or with bytes changed: nothing is raised, and nothing is kept beyond its bounds or
    after the end; windows are never overdrawn, and what is sent are frames that a caller may be sent."""
    for place, at, change in flipped:
        if place < len(moves) and isinstance(move := moves[place], bytes):
            changed = bytearray(move)
            changed[at % len(changed)] ^= change
            moves[place] = bytes(changed)
    caller = Caller(loop, Echo if echo else Request)
    caller.say(PREFACE + settings())
    frames: list[Frame] = []
    for move in moves:
        if caller.transport.closing:
            break
        if isinstance(move, bytes):
            if not caller.transport.reading:
                frames += caller.hear()
            caller.say(move)
        elif move == "answer":
            for each in caller.requests.values():
                if not each.gone and each.task is None:
                    each.answer(bytes(20_000))
        elif move == "leave":
            caller.connection.leave()
        elif move == "wait":
            caller.wait(7)
        else:
            frames += caller.hear()
        assert len(caller.connection._rest) < 16_384 + 9
        assert caller.connection._receive_window >= 0
        assert all(each.receive_window >= 0 for each in caller.connection._streams.values())
        assert len(caller.transport.unread) < 500_000
    frames += caller.hear()
    ended: set[int] = set()
    for said in frames:
        assert said.kind in ("SETTINGS", "WINDOW_UPDATE", "PING", "GOAWAY", "HEADERS", "DATA", "RST_STREAM")
        assert said.kind not in ("HEADERS", "DATA") or said.stream not in ended
        if said.kind == "RST_STREAM" or (said.kind == "HEADERS" and said.flags & END_STREAM):
            ended.add(said.stream)
    caller.leave()
    assert caller.connection._streams == {} and not caller.connection._queue
    for each in caller.requests.values():
        assert each.task is None or each.task.done()
        assert each.gone or each.cut or each.task is not None


@given(said=st.binary(max_size=200), greeted=st.booleans())
def test_any_bytes(loop: Loop, said: bytes, greeted: bool) -> None:
    """Whatever bytes come, nothing is raised."""
    caller = Caller(loop)
    if greeted:
        caller.greet()
    caller.say(said)
    caller.transport.take()
    caller.leave()
