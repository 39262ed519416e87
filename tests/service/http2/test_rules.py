"""What becomes of callers who break a rule of RFC 9113, rule by rule. Where it leaves a choice, this is ours."""

from __future__ import annotations

import pytest

from tests.service.http2 import wire
from tests.service.http2.caller import HEAD, Caller, Loop, Request, fate
from tests.service.http2.wire import END_HEADERS, END_STREAM, PADDED, POST, PRIORITY, data, frame, request, window

#: Every case has the streams 1, closed, and 3, whose request is not complete; those above 3 were never opened.
CLOSED, OPEN, IDLE = 1, 3, 5

#: Case: what is sent, and what comes of it.
CONNECTION = {
    # 4.1 and 4.2: frames
    "a frame of an unknown kind": (frame(0x16, 0xFF, OPEN, b"x" * 100), []),
    "an unknown flag": (frame("PING", 0x16, 0, bytes(8)), []),
    "the reserved bit of a stream's number": (data(OPEN | 1 << 31, b"x", ended=True), []),
    "DATA of the largest size": (data(OPEN, bytes(16_384)), []),
    "DATA larger than allowed": (data(OPEN, bytes(16_385)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "HEADERS larger than allowed": (frame("HEADERS", 5, IDLE, bytes(16_385)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "an unknown frame larger than allowed": (frame(0x16, 0, 0, bytes(16_385)), ["GOAWAY FRAME_SIZE_ERROR"]),
    # 4.3: blocks of fields
    "a block that cannot be decompressed": (frame("HEADERS", 5, IDLE, b"\xff"), ["GOAWAY COMPRESSION_ERROR"]),
    "PRIORITY within a block": (
        frame("HEADERS", END_STREAM, IDLE, wire.block(*POST)) + frame("PRIORITY", 0, IDLE, bytes(5)),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "HEADERS of another stream within a block": (
        frame("HEADERS", END_STREAM, IDLE, wire.block(*POST)) + request(IDLE + 2),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "an unknown frame within a block": (
        frame("HEADERS", END_STREAM, IDLE, wire.block(*POST)) + frame(0x16, 0, 0),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    # 5.1: idle streams
    "DATA on an idle stream": (data(IDLE, b"x"), ["GOAWAY PROTOCOL_ERROR"]),
    "RST_STREAM on an idle stream": (wire.reset(IDLE), ["GOAWAY PROTOCOL_ERROR"]),
    "WINDOW_UPDATE on an idle stream": (window(IDLE, 1), ["GOAWAY PROTOCOL_ERROR"]),
    "CONTINUATION on an idle stream": (frame("CONTINUATION", END_HEADERS, IDLE), ["GOAWAY PROTOCOL_ERROR"]),
    "PRIORITY on an idle stream": (frame("PRIORITY", 0, IDLE, bytes(5)), []),
    # 5.1: streams whose request is complete; after it they are closed
    "DATA on a closed stream": (data(CLOSED, b"x"), []),
    "HEADERS on a closed stream": (request(CLOSED), []),
    "CONTINUATION on a closed stream": (frame("CONTINUATION", END_HEADERS, CLOSED), ["GOAWAY PROTOCOL_ERROR"]),
    "RST_STREAM on a closed stream": (wire.reset(CLOSED), []),
    "WINDOW_UPDATE on a closed stream": (window(CLOSED, 1), []),
    "PRIORITY on a closed stream": (frame("PRIORITY", 0, CLOSED, bytes(5)), []),
    # 5.1.1: numbers of streams
    "a stream with an even number": (request(IDLE + 1), ["GOAWAY PROTOCOL_ERROR"]),
    "a stream with a smaller even number": (request(2), ["GOAWAY PROTOCOL_ERROR"]),
    "a stream with a smaller number, which is closed by that": (request(9) + request(7), []),
    "a stream with the largest number": (request(2**31 - 1), []),
    # 5.3: priorities mean nothing
    "PRIORITY that depends on itself": (frame("PRIORITY", 0, OPEN, OPEN.to_bytes(4, "big") + b"\0"), []),
    "HEADERS that depend on themselves": (
        frame("HEADERS", 5 | PRIORITY, IDLE, IDLE.to_bytes(4, "big") + b"\0" + wire.block(*POST)),
        [],
    ),
    # 6.1: DATA
    "DATA on no stream": (data(0, b"x"), ["GOAWAY PROTOCOL_ERROR"]),
    "DATA with padding alone": (frame("DATA", PADDED, OPEN, b"\x03\0\0\0"), []),
    "DATA with more padding than there is": (
        frame("DATA", PADDED, OPEN, b"\x04\0\0\0"),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "padded DATA of no bytes": (frame("DATA", PADDED, OPEN), ["GOAWAY PROTOCOL_ERROR"]),
    # 6.2: HEADERS
    "HEADERS on no stream": (request(0), ["GOAWAY PROTOCOL_ERROR"]),
    "HEADERS with more padding than there is": (
        frame("HEADERS", 5 | PADDED, IDLE, b"\xff" + wire.block(*POST)),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "HEADERS too short for a priority": (frame("HEADERS", 5 | PRIORITY, IDLE, bytes(4)), ["GOAWAY FRAME_SIZE_ERROR"]),
    # 6.3: PRIORITY
    "PRIORITY on no stream": (frame("PRIORITY", 0, 0, bytes(5)), ["GOAWAY PROTOCOL_ERROR"]),
    "PRIORITY of four bytes": (frame("PRIORITY", 0, OPEN, bytes(4)), ["RST_STREAM 3 FRAME_SIZE_ERROR"]),
    # 6.4: RST_STREAM
    "RST_STREAM on no stream": (wire.reset(0), ["GOAWAY PROTOCOL_ERROR"]),
    "RST_STREAM of three bytes": (frame("RST_STREAM", 0, OPEN, bytes(3)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "RST_STREAM": (wire.reset(OPEN), []),
    # 6.5: SETTINGS
    "SETTINGS on a stream": (frame("SETTINGS", 0, OPEN), ["GOAWAY PROTOCOL_ERROR"]),
    "SETTINGS of five bytes": (frame("SETTINGS", 0, 0, bytes(5)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "an acknowledgement with content": (frame("SETTINGS", wire.ACK, 0, bytes(6)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "an unknown setting": (wire.settings((0xF0F0, 7)), []),
    "ENABLE_PUSH of 2": (wire.settings((wire.ENABLE_PUSH, 2)), ["GOAWAY PROTOCOL_ERROR"]),
    "INITIAL_WINDOW_SIZE of the most there is": (wire.settings((wire.INITIAL_WINDOW_SIZE, 2**31 - 1)), []),
    "INITIAL_WINDOW_SIZE of more": (wire.settings((wire.INITIAL_WINDOW_SIZE, 2**31)), ["GOAWAY FLOW_CONTROL_ERROR"]),
    "a wrong value before a right one": (
        wire.settings((wire.INITIAL_WINDOW_SIZE, 2**31), (wire.INITIAL_WINDOW_SIZE, 1)),
        ["GOAWAY FLOW_CONTROL_ERROR"],
    ),
    "MAX_FRAME_SIZE of the least there is": (wire.settings((wire.MAX_FRAME_SIZE, 16_384)), []),
    "MAX_FRAME_SIZE of less": (wire.settings((wire.MAX_FRAME_SIZE, 16_383)), ["GOAWAY PROTOCOL_ERROR"]),
    "MAX_FRAME_SIZE of the most there is": (wire.settings((wire.MAX_FRAME_SIZE, 2**24 - 1)), []),
    "MAX_FRAME_SIZE of more": (wire.settings((wire.MAX_FRAME_SIZE, 2**24)), ["GOAWAY PROTOCOL_ERROR"]),
    # 6.6: PUSH_PROMISE
    "PUSH_PROMISE": (frame("PUSH_PROMISE", END_HEADERS, OPEN, bytes(4)), ["GOAWAY PROTOCOL_ERROR"]),
    # 6.7: PING
    "PING on a stream": (frame("PING", 0, OPEN, bytes(8)), ["GOAWAY PROTOCOL_ERROR"]),
    "PING of six bytes": (frame("PING", 0, 0, bytes(6)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "an answer to no PING": (wire.ping(flags=wire.ACK), []),
    # 6.8: GOAWAY
    "GOAWAY on a stream": (frame("GOAWAY", 0, OPEN, bytes(8)), ["GOAWAY PROTOCOL_ERROR"]),
    "GOAWAY of seven bytes": (frame("GOAWAY", 0, 0, bytes(7)), ["GOAWAY FRAME_SIZE_ERROR"]),
    # 6.9: WINDOW_UPDATE
    "WINDOW_UPDATE of three bytes": (frame("WINDOW_UPDATE", 0, 0, bytes(3)), ["GOAWAY FRAME_SIZE_ERROR"]),
    "a window of the connection that grows by nothing": (window(0, 0), ["GOAWAY PROTOCOL_ERROR"]),
    "a window of a stream that grows by nothing": (window(OPEN, 0), ["RST_STREAM 3 PROTOCOL_ERROR"]),
    "a window of a closed stream that grows by nothing": (window(CLOSED, 0), []),
    "a window of the connection that grows too large": (
        window(0, 2**30) + window(0, 2**30),
        ["GOAWAY FLOW_CONTROL_ERROR"],
    ),
    "a window of a stream that grows too large": (
        window(OPEN, 2**30) + window(OPEN, 2**30),
        ["RST_STREAM 3 FLOW_CONTROL_ERROR"],
    ),
    "a window of a stream that settings make too large": (
        window(OPEN, 2**31 - 1 - 65_535) + wire.settings((wire.INITIAL_WINDOW_SIZE, 65_536)),
        ["GOAWAY FLOW_CONTROL_ERROR"],
    ),
    # 6.10: CONTINUATION
    "CONTINUATION on no stream": (frame("CONTINUATION", END_HEADERS, 0), ["GOAWAY PROTOCOL_ERROR"]),
    "CONTINUATION on another stream": (
        frame("HEADERS", END_STREAM, IDLE, wire.block(*POST)) + frame("CONTINUATION", END_HEADERS, IDLE + 2),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "CONTINUATION after the end of a block": (
        request(IDLE) + frame("CONTINUATION", END_HEADERS, IDLE),
        ["GOAWAY PROTOCOL_ERROR"],
    ),
    "CONTINUATION after DATA": (data(OPEN, b"x") + frame("CONTINUATION", END_HEADERS, OPEN), ["GOAWAY PROTOCOL_ERROR"]),
    # 8.1: messages
    "a second HEADERS that does not end the request": (request(OPEN, ended=False), ["RST_STREAM 3 PROTOCOL_ERROR"]),
    "pseudo-header fields after the data": (request(OPEN), ["RST_STREAM 3 PROTOCOL_ERROR"]),
    "capitals in the fields after the data": (
        request(OPEN, head=[("X-a", "b")]),
        ["RST_STREAM 3 PROTOCOL_ERROR"],
    ),
    "fields after the data": (request(OPEN, head=[("x-a", "b")]), []),
    # RFC 7541
    "an index that is not in the table (2.3.3)": (frame("HEADERS", 5, IDLE, b"\xbe"), ["GOAWAY COMPRESSION_ERROR"]),
    "an index of 0 (6.1)": (frame("HEADERS", 5, IDLE, b"\x80"), ["GOAWAY COMPRESSION_ERROR"]),
    "a change of the table's size after a field (4.2)": (
        frame("HEADERS", 5, IDLE, wire.block(*POST) + b"\x20"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "two changes of the table's size (4.2)": (frame("HEADERS", 5, IDLE, b"\x20\x3f\x01" + wire.block(*POST)), []),
    "three changes of the table's size (4.2)": (
        frame("HEADERS", 5, IDLE, b"\x20\x3f\x01\x20" + wire.block(*POST)),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "a table larger than allowed (6.3)": (
        frame("HEADERS", 5, IDLE, b"\x3f\xe2\x1f" + wire.block(*POST)),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "a number without an end (5.1)": (
        frame("HEADERS", 5, IDLE, b"\x7f" + b"\xff" * 5000),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "a string longer than its block (5.2)": (
        frame("HEADERS", 5, IDLE, b"\0\x01a\x05bcde"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "Huffman's padding of more than seven bits (5.2)": (
        frame("HEADERS", 5, IDLE, wire.block(*POST) + b"\0\x01a\x82\x1f\xff"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "Huffman's padding of zeros (5.2)": (
        frame("HEADERS", 5, IDLE, wire.block(*POST) + b"\0\x01a\x81\x18"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
    "Huffman's end of a string (5.2)": (
        frame("HEADERS", 5, IDLE, wire.block(*POST) + b"\0\x01a\x84\xff\xff\xff\xff"),
        ["GOAWAY COMPRESSION_ERROR"],
    ),
}


@pytest.mark.parametrize("case", CONNECTION)
def test_rule(caller: Caller, case: str) -> None:
    """What breaks a rule ends the stream or the connection, with the code that fits; what does not is borne."""
    sent, expected = CONNECTION[case]
    caller.ask(request(CLOSED) + request(OPEN, ended=False))
    assert fate(caller.ask(sent)) == expected
    ended = any(each.startswith("GOAWAY") for each in expected)
    assert caller.transport.closing == ended
    if not ended and "largest number" not in case:
        assert caller.answers(caller.ask(request(101))) == {101: b""}
    if expected == ["RST_STREAM 3 PROTOCOL_ERROR"]:
        assert caller.requests[OPEN].gone


COMPLETE = {
    "DATA": (data(1, b"x"), ["RST_STREAM 1 STREAM_CLOSED"]),
    "HEADERS": (request(1, head=[("x-a", "b")]), ["RST_STREAM 1 STREAM_CLOSED"]),
    "CONTINUATION": (frame("CONTINUATION", END_HEADERS, 1), ["GOAWAY PROTOCOL_ERROR"]),
    "WINDOW_UPDATE": (window(1, 1), []),
    "PRIORITY": (frame("PRIORITY", 0, 1, bytes(5)), []),
    "RST_STREAM": (wire.reset(1), []),
}


@pytest.mark.parametrize("kind", COMPLETE)
def test_complete_request(loop: Loop, kind: str) -> None:
    """Section 5.1, half-closed (remote): after the end of the request there are no more parts of it."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.ask(request(1))
    sent, expected = COMPLETE[kind]
    assert fate(caller.ask(sent)) == expected
    assert caller.requests[1].cut == (kind in ("DATA", "HEADERS", "RST_STREAM"))
    caller.leave()


MALFORMED = {
    "capitals (8.2.1)": [*POST, ("X-a", "b")],
    "a space in a name (8.2.1)": [*POST, ("x a", "b")],
    "an empty name (8.2.1)": [*POST, ("", "b")],
    "a colon in a name (8.2.1)": [*POST, ("x:a", "b")],
    "a line feed in a value (8.2.1)": [*POST, ("x-a", "b\nc: d")],
    "a carriage return in a value (8.2.1)": [*POST, ("x-a", "b\r")],
    "a zero in a value (8.2.1)": [*POST, ("x-a", "\0")],
    "a zero in the path (8.2.1)": [(":method", "POST"), (":scheme", "http"), (":path", "/\0")],
    "a field of the connection (8.2.2)": [*POST, ("connection", "keep-alive")],
    "a field of the proxy's connection (8.2.2)": [*POST, ("proxy-connection", "keep-alive")],
    "keep-alive (8.2.2)": [*POST, ("keep-alive", "5")],
    "transfer-encoding (8.2.2)": [*POST, ("transfer-encoding", "chunked")],
    "upgrade (8.2.2)": [*POST, ("upgrade", "h2c")],
    "te without trailers (8.2.2)": [*POST, ("te", "gzip")],
    "an unknown pseudo-header field (8.3)": [*POST, (":x", "y")],
    "a pseudo-header field of answers (8.3)": [*POST, (":status", "200")],
    "a pseudo-header field behind others (8.3)": [*POST[:2], ("x-a", "b"), *POST[2:]],
    "a pseudo-header field twice (8.3)": [*POST, POST[0]],
    "no method (8.3.1)": POST[1:],
    "no scheme (8.3.1)": [POST[0], *POST[2:]],
    "no path (8.3.1)": [*POST[:2], POST[3]],
    "an empty path (8.3.1)": [(":method", "POST"), (":scheme", "http"), (":path", "")],
    "CONNECT, which is for proxies (8.5)": [(":method", "CONNECT"), (":authority", "here:1")],
    "no fields": [],
    "a length that is no number (8.1.1)": [*POST, ("content-length", "x")],
    "two lengths (8.1.1)": [*POST, ("content-length", "0"), ("content-length", "1")],
    "a length with no data (8.1.1)": [*POST, ("content-length", "1")],
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_head(caller: Caller, case: str) -> None:
    """A head that is none ends its stream, before the application hears of it, and no other."""
    assert fate(caller.ask(request(1, head=MALFORMED[case]))) == ["RST_STREAM 1 PROTOCOL_ERROR"]
    assert caller.requests == {}
    assert caller.answers(caller.ask(data(1, b"x") + request(3))) == {3: b""}


BORNE = {
    "no authority": POST[:3],
    "te: trailers": [*POST, ("te", "trailers")],
    "spaces around a value": [*POST, ("x-a", " b ")],
    "bytes beyond ASCII": [*POST, ("x-a", "é")],
    "an unknown method": [(":method", "BREW"), *POST[1:]],
    "an asterisk as path": [*POST[:2], (":path", "*")],
    "a length that is right": [*POST, ("content-length", "0")],
}


@pytest.mark.parametrize("case", BORNE)
def test_borne_head(caller: Caller, case: str) -> None:
    """What a head may say, and what does no harm though it should not."""
    assert caller.answers(caller.ask(request(1, head=BORNE[case]))) == {1: b""}


LENGTHS = {
    "less": data(1, b"four", ended=True),
    "none": data(1, ended=True),
    "more": data(1, b"sixsix"),
    "more in two frames": data(1, b"six") + data(1, b"six", ended=True),
    "less and fields after it": data(1, b"four") + request(1, head=[("x-a", "b")]),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_wrong_length(caller: Caller, case: str) -> None:
    """Section 8.1.1: data that is less or more than `content-length` says ends the stream."""
    caller.say(request(1, ("content-length", "5"), ended=False))
    assert fate(caller.ask(LENGTHS[case])) == ["RST_STREAM 1 PROTOCOL_ERROR"]
    assert caller.requests[1].gone and not caller.requests[1].complete


def test_right_length(caller: Caller) -> None:
    """Section 8.1.1: padding does not count."""
    caller.say(request(1, ("content-length", "5"), ended=False))
    assert caller.answers(caller.ask(frame("DATA", PADDED | END_STREAM, 1, b"\x02fifty\0\0"))) == {1: b"fifty"}


def test_streams_at_once(loop: Loop) -> None:
    """Section 5.1.2: streams beyond the limit are refused, so that the caller may try again; an end makes room."""
    caller = Caller(loop, Request)
    caller.greet()
    for number in range(100):
        caller.say(request(2 * number + 1))
    assert fate(caller.ask(request(201))) == ["RST_STREAM 201 REFUSED_STREAM"]
    assert fate(caller.ask(wire.reset(1) + request(203))) == []
    caller.requests[3].answer(b"x")
    assert caller.answers(caller.hear()) == {3: b"x"}
    assert fate(caller.ask(request(205) + request(207))) == ["RST_STREAM 207 REFUSED_STREAM"]
    caller.leave()


def test_refused_block_is_read(loop: Loop) -> None:
    """Section 4.3: the fields of a refused request are in the table for the next ones all the same."""
    caller = Caller(loop, Request)
    caller.greet()
    indexed = b"\x40\x03x-a\x01b"  # the first that comes into the table, as 62
    head = wire.block(*POST)
    for number in range(100):
        caller.say(request(2 * number + 1))
    assert fate(caller.ask(frame("HEADERS", 5, 201, head + indexed))) == ["RST_STREAM 201 REFUSED_STREAM"]
    caller.ask(wire.reset(1) + frame("HEADERS", 5, 203, head + b"\xbe"))
    assert caller.requests[203].head.fields == {b"x-a": b"b"}
    caller.leave()


def test_block_in_pieces(caller: Caller) -> None:
    """Sections 6.2 and 6.10: a block may come in several frames, with padding and a priority in the first one."""
    block = wire.block(*POST, ("x-a", "b"))
    first = b"\x03" + bytes(5) + block[:1] + bytes(3)
    caller.say(frame("HEADERS", END_STREAM | PADDED | PRIORITY, 1, first))
    caller.say(frame("CONTINUATION", 0, 1, block[1:5]) + frame("CONTINUATION", 0, 1))
    assert caller.requests == {}
    assert caller.answers(caller.ask(frame("CONTINUATION", END_HEADERS, 1, block[5:]))) == {1: b""}
    assert caller.requests[1].head.fields == {b"x-a": b"b"}


def test_answer_before_the_end(loop: Loop) -> None:
    """Section 8.1: who answers before the request is complete asks the caller to stop, and ignores what still comes."""
    caller = Caller(loop, Request)
    caller.greet()
    caller.say(request(1, ended=False) + data(1, b"x"))
    caller.requests[1].answer(b"enough")
    frames = caller.hear()
    assert caller.answers(frames) == {1: b"enough"}
    assert fate(frames) == ["RST_STREAM 1 NO_ERROR"]
    assert caller.ask(data(1, b"y") + request(1, head=[("x-a", "b")])) == []
    assert caller.requests[1].body == b"x" and not caller.requests[1].gone
    caller.leave()


def test_first_block_of_answers(caller: Caller) -> None:
    """RFC 7541, section 4.2: the first block says that the table is empty, and no later one depends on a table."""
    frames = [each for each in caller.ask(request(1) + request(3)) if each.kind == "HEADERS"]
    assert frames[0].payload == b"\x20" + HEAD and frames[2].payload == HEAD


def test_caller_without_a_table(loop: Loop) -> None:
    """Section 6.5.2: a caller may allow no table for answers."""
    caller = Caller(loop)
    caller.greet((wire.HEADER_TABLE_SIZE, 0))
    caller.decoder.max_allowed_table_size = 0
    caller.decoder.header_table_size = 0
    assert caller.answers(caller.ask(request(1))) == {1: b""}
    caller.leave()
