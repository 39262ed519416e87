"""The parser finds the protocol of every request line, and limits heads and trailers."""

from collections.abc import Iterator

import pytest

from sentiment_conv1d.server.errors import HeadTooLarge, UnsupportedVersion
from sentiment_conv1d.server.http.parser import MAX_HEADERS, Fields, RequestParser


class Targets:
    """A receiver that keeps the targets of heads."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.complete = 0

    def request_began(self) -> None: ...

    def head_began(self) -> None: ...

    def hold(self, count: int) -> None: ...

    def body_received(self, data: bytes) -> None: ...

    def head_received(self, method: bytes, target: bytes, version: str, fields: Fields, keep_alive: bool) -> None:
        self.seen.append(target)

    def request_received(self) -> None:
        self.complete += 1


def line(target: str, protocol: str = "HTTP/1.1", *, method: str = "GET", body: str = "") -> bytes:
    """Return a request."""
    return f"{method} {target} {protocol}\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def cuts(content: bytes) -> Iterator[list[bytes]]:
    """Yield the content as a whole, byte by byte, and in two pieces that part at any place."""
    yield [content]
    yield [content[at : at + 1] for at in range(len(content))]
    yield from ([content[:at], content[at:]] for at in range(1, len(content)))


LONG = f"/{'a' * 100}"
GOOD = line("/x")
#: Requests before one of another protocol. Some name other protocols in their body, or the same target.
BEFORE = [
    b"",
    GOOD,
    line("/x", method="POST", body="/y RTSP/1.0 /z HTTP/1.1"),
    b"\r\n" + line(LONG) + GOOD,
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
]
OTHERS = ["RTSP/1.0", "RTSP/1.1", " RTSP/1.0", "ICE/1.0"]


@pytest.mark.parametrize("target", ["/x", LONG, "/"])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("before", BEFORE)
def test_other_protocols(before: bytes, other: str, target: str) -> None:
    """A request line that does not name HTTP is refused wherever pieces part, also if a request with HTTP follows."""
    method = "SOURCE" if other.startswith("ICE") else "GET"
    for pieces in cuts(before + line(target, other, method=method) + line(target)):
        targets = Targets()
        parser = RequestParser(targets)
        with pytest.raises(UnsupportedVersion):
            for piece in pieces:
                parser.feed(piece)
        assert target.encode() not in targets.seen[before.count(b" HTTP/1.1\r\n") :]


@pytest.mark.parametrize("spaces", [1, 2])
def test_http(spaces: int) -> None:
    """Requests with HTTP are accepted wherever pieces part, whatever their bodies say."""
    again = line("/x", " " * (spaces - 1) + "HTTP/1.1")
    content = b"".join(BEFORE) + line(LONG, method="POST", body="GET /y RTSP/1.0\r\n") + again + again
    for pieces in cuts(content):
        targets = Targets()
        parser = RequestParser(targets)
        for piece in pieces:
            parser.feed(piece)
        assert targets.complete == content.count(b"Host:")


@pytest.mark.parametrize("trailers", [False, True])
def test_too_many_fields(trailers: bool) -> None:
    """More than 128 headers or trailers are refused before the last one has arrived."""
    parser = RequestParser(Targets())
    parser.feed(b"POST / HTTP/1.1\r\nHost: a\r\n")
    if trailers:
        parser.feed(b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    for _ in range(MAX_HEADERS - 2):
        parser.feed(b"a: b\r\n")
    with pytest.raises(HeadTooLarge):
        for _ in range(5):
            parser.feed(b"a: b\r\n")
