"""Arbitrary bytes and frames, divided at any place, in any order, valid or invalid."""

from __future__ import annotations

import random
from itertools import pairwise

import hpack
from hypothesis import given
from hypothesis import strategies as st

from tests.server.grpc.caller import UNSUPPORTED, Caller, Echo, Loop, Request, fate
from tests.service.grpc import wire
from tests.service.grpc.wire import ACK, END_HEADERS, END_STREAM, PREFACE, Frame, data, frame, ping, request, settings


def conversation(seed: int, count: int) -> tuple[bytes, dict[int, bytes]]:
    """Build a valid conversation with concurrent requests of all forms, and the expected answers."""
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
    """Every request of a valid byte stream gets the same frames, wherever the stream is divided."""
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
    for each in (whole, caller):
        assert not each.transport.closing
        each.leave()


STREAMS = st.sampled_from([0, 1, 2, 3, 4, 5, 7, 9, 2**31 - 1])
FRAMES = st.one_of(
    st.builds(request, STREAMS, ended=st.booleans()),
    st.builds(request, STREAMS, ended=st.booleans(), head=st.just(UNSUPPORTED)),
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
        st.binary(max_size=40) | st.sampled_from([wire.block(*wire.POST), b"\x83\x86\x84\x01\x01h", b"\x90", b"\x86"]),
    ),
    st.just(frame("SETTINGS", ACK)),
    st.builds(frame, st.just("GOAWAY"), st.just(0), st.sampled_from([0, 1 << 31]), st.just(bytes(8))),
)
#: Events between frames, in an arbitrary order.
EVENTS = st.sampled_from(["answer", "shut down", "wait", "read"])


@given(
    moves=st.lists(st.lists(FRAMES, min_size=1, max_size=5).map(b"".join) | EVENTS, max_size=40),
    flipped=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 10**5), st.integers(1, 255)), max_size=3),
    echo=st.booleans(),
    tick=st.sampled_from([0.0, 0.0005]),
)
def test_any_frames(
    loop: Loop, moves: list[bytes | str], flipped: list[tuple[int, int, int]], echo: bool, tick: float
) -> None:
    """For any frames, valid or not, nothing is raised, memory stays within its limits, and the output is valid."""
    for place, at, change in flipped:
        if place < len(moves) and isinstance(move := moves[place], bytes):
            changed = bytearray(move)
            changed[at % len(changed)] ^= change
            moves[place] = bytes(changed)
    caller = Caller(loop, Echo if echo else Request)
    caller.say(PREFACE + settings())
    frames: list[Frame] = []
    loop.tick = tick
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
        elif move == "shut down":
            caller.connection.shutdown()
        elif move == "wait":
            caller.wait(7)
        else:
            frames += caller.hear()
        assert caller.held < 200_000
        assert len(caller.transport.unread) < 500_000
    frames += caller.hear()
    loop.tick = 0.0
    assert caller.unread < 200_000 or caller.transport.closing
    ended: set[int] = set()
    for said in frames:
        assert said.kind in ("SETTINGS", "WINDOW_UPDATE", "PING", "GOAWAY", "HEADERS", "DATA", "RST_STREAM")
        assert said.kind not in ("HEADERS", "DATA") or said.stream not in ended
        if said.kind == "RST_STREAM" or (said.kind in ("HEADERS", "DATA") and said.flags & END_STREAM):
            ended.add(said.stream)
    turns = caller.connection.turns
    caller.leave()
    assert not any(map(any, turns._waiting)) and not turns._begun and not caller.connection.sender._blocked
    for each in caller.requests.values():
        assert each.task is None or each.task.done()
        assert each.gone or each.cut or each.task is not None


@given(said=st.binary(max_size=200), greeted=st.booleans())
def test_any_bytes(loop: Loop, said: bytes, greeted: bool) -> None:
    """Arbitrary bytes raise no exception."""
    caller = Caller(loop)
    if greeted:
        caller.greet()
    caller.say(said)
    caller.transport.take()
    caller.leave()
