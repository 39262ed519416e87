"""Requests that RFC 9112 forbids and requests that it allows, byte by byte on real connections."""

import re

import pytest
from hyperframe.frame import PingFrame

from tests.attacks.wire import HELLO, PREFACE
from tests.processes import ServerProcess
from tests.service.rest.raw import Connection, chunked

GOOD = b'{"text": "A great film."}'
LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKED = b"".join(chunked([GOOD]))

GET = "GET /livez HTTP/1.1"
POST = "POST /v1/predict HTTP/1.1"
HOST = "Host: test"
TE = "Transfer-Encoding: "

#: Request line, headers, body, and the status.
CASES: dict[str, tuple[str, list[str], bytes, int]] = {
    "a host": (GET, [HOST], b"", 200),
    "a host and port": (GET, ["Host: [::1]:8000"], b"", 200),
    "an empty host": (GET, ["Host:"], b"", 200),
    "no host": (GET, [], b"", 400),
    "no host, with a body": (POST, [LENGTH], GOOD, 400),
    "two hosts": (GET, [HOST, "Host: other"], b"", 400),
    "the same host twice": (POST, [HOST, HOST, LENGTH], GOOD, 400),
    "a host that is none": (GET, ["Host: a b"], b"", 400),
    "a host with a path": (GET, ["Host: a/b"], b"", 400),
    "absolute form": ("GET http://test/livez HTTP/1.1", [HOST], b"", 200),
    "the longest target": (f"GET /livez?{8185 * 'x'} HTTP/1.1", [HOST], b"", 200),
    "a longer target": (f"GET /livez?{8186 * 'x'} HTTP/1.1", [HOST], b"", 431),
    "a fragment": ("GET /livez#a HTTP/1.1", [HOST], b"", 400),
    "no version": ("GET /livez", [HOST], b"", 400),
    "HTTP/0.9": ("GET /livez HTTP/0.9", [HOST], b"", 400),
    "HTTP/1.0 without a host": ("GET /livez HTTP/1.0", [], b"", 200),
    "HTTP/1.0 with two hosts": ("GET /livez HTTP/1.0", [HOST, HOST], b"", 400),
    "HTTP/1.2": ("GET /livez HTTP/1.2", [HOST], b"", 200),
    "HTTP/2.0": ("GET /livez HTTP/2.0", [HOST], b"", 505),
    "HTTP/2.0 with a body": ("POST /v1/predict HTTP/2.0", [HOST, LENGTH], GOOD, 505),
    "RTSP": ("GET /livez RTSP/1.0", [HOST], b"", 505),
    "RTSP with a version of HTTP": ("POST /v1/predict RTSP/1.1", [HOST, LENGTH], GOOD, 505),
    "another protocol": ("GET /livez HTCPCP/1.0", [HOST], b"", 505),
    "HTTP/3.0": ("GET /livez HTTP/3.0", [], b"", 505),
    "HTTP/11": ("GET /livez HTTP/11", [HOST], b"", 400),
    "http/1.1": ("GET /livez http/1.1", [HOST], b"", 400),
    "chunked": (POST, [HOST, f"{TE}chunked"], CHUNKED, 200),
    "Chunked": (POST, [HOST, f"{TE}Chunked"], CHUNKED, 200),
    "gzip, chunked": (POST, [HOST, f"{TE}gzip, chunked"], CHUNKED, 501),
    "gzip, chunked in two headers": (POST, [HOST, f"{TE}gzip", f"{TE}chunked"], CHUNKED, 501),
    "identity, chunked": (POST, [HOST, f"{TE}identity, chunked"], CHUNKED, 501),
    "gzip": (POST, [HOST, f"{TE}gzip"], GOOD, 400),
    "identity": (POST, [HOST, f"{TE}identity"], GOOD, 400),
    "chunked, gzip": (POST, [HOST, f"{TE}chunked, gzip"], CHUNKED, 400),
    "chunked, chunked": (POST, [HOST, f"{TE}chunked, chunked"], CHUNKED, 400),
    "xchunked": (POST, [HOST, f"{TE}xchunked"], CHUNKED, 400),
    "no coding": (POST, [HOST, TE], CHUNKED, 400),
    "chunked and a length": (POST, [HOST, f"{TE}chunked", LENGTH], CHUNKED, 400),
    "a length and chunked": (POST, [HOST, LENGTH, f"{TE}chunked"], CHUNKED, 400),
    "chunked in HTTP/1.0": ("POST /v1/predict HTTP/1.0", [HOST, f"{TE}chunked"], CHUNKED, 400),
    "two lengths": (POST, [HOST, LENGTH, "Content-Length: 5"], GOOD, 400),
    "a signed length": (POST, [HOST, f"Content-Length: +{len(GOOD)}"], GOOD, 400),
    "a space after a length": (POST, [HOST, f"{LENGTH} ", "Content-Encoding: identity"], GOOD, 200),
    "a list of lengths": (POST, [HOST, f"{LENGTH}, {len(GOOD)}"], GOOD, 400),
    "a space before the colon": (POST, [HOST, LENGTH.replace(":", " :")], GOOD, 400),
    "a folded header": (GET, [HOST, "X: a", " b"], b"", 400),
    "a header without a name": (GET, [HOST, ": a"], b"", 400),
    "a header without a colon": (GET, [HOST, "a"], b"", 400),
    "a chunk without a size": (POST, [HOST, f"{TE}chunked"], b"\r\n" + GOOD, 400),
    "a chunk of another size": (POST, [HOST, f"{TE}chunked"], b"1\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a chunk of a negative size": (POST, [HOST, f"{TE}chunked"], b"-1\r\n" + GOOD + b"\r\n0\r\n\r\n", 400),
    "a chunk extension": (POST, [HOST, f"{TE}chunked"], CHUNKED.replace(b"\r\n", b";a=b\r\n", 1), 200),
    "a trailer": (POST, [HOST, f"{TE}chunked"], CHUNKED[:-2] + b"Host: other\r\n\r\n", 200),
    "an unknown method": (GET.replace("GET", "FETCH"), [HOST], b"", 400),
    "a long header": (GET, [HOST, f"X: {'a' * 100_000}"], b"", 431),
    "many headers": (GET, [HOST, *["X: a"] * 1000], b"", 431),
}


@pytest.mark.parametrize("case", CASES)
def test_statuses(server: ServerProcess, case: str) -> None:
    """Every request gets its status, and the connection is closed after a framing error."""
    line, fields, body, status = CASES[case]
    with Connection(server.port) as connection:
        connection.send("\r\n".join([line, *fields, "", ""]).encode() + body)
        assert connection.status() == status
    with Connection(server.port) as connection:  # in pieces, and after another request
        get = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"
        raw = get + "\r\n".join([line, *fields, "", ""]).encode() + body
        connection.send(*(raw[start : start + 20] for start in range(0, min(len(raw), 1000), 20)), raw[1000:])
        assert connection.answer().status == 200
        answer = connection.answer()
        assert answer.status == status
        if status != 200:
            assert answer.headers["connection"] == "close"
            assert connection.is_closed()


@pytest.mark.parametrize("option", ["Upgrade, close", "close, Upgrade"])
def test_upgrade_that_closes(server: ServerProcess, option: str) -> None:
    """A client that offers an upgrade can also ask to close the connection."""
    with Connection(server.port) as connection:
        connection.send(f"{GET}\r\n{HOST}\r\nConnection: {option}\r\nUpgrade: h2c\r\n\r\n".encode())
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.is_closed()


def test_invalid_bytes_are_counted() -> None:
    """Connections that end because of what arrived are counted once each, by protocol and reason."""
    endless = f"{GET}\r\n{HOST}\r\nX: {'a' * 100_000}\r\n\r\n".encode()
    pings = HELLO + PingFrame().serialize() * 4
    expected = {"rest malformed": 2, "rest limit": 1, "grpc malformed": 2, "grpc limit": 1}
    with ServerProcess("--workers", "1") as server:
        for port, sent in (
            *((server.port, b"\x16\x03\x01\x02\x00\x01"), (server.port, f"{GET}\r\n\r\n".encode())),
            *((server.port, endless), (server.grpc_port, f"{GET}\r\n{HOST}\r\n\r\n".encode())),
            *((server.grpc_port, PREFACE + bytes(9)), (server.grpc_port, pings)),
        ):
            with Connection(port) as connection:
                connection.send(sent)
                while not connection.is_closed():
                    pass
        found = server.metrics()
        counted = re.findall(r'connections_failed_total\{protocol="(\w+)",reason="(\w+)"\} (\d+)', found)
        assert {f"{protocol} {reason}": int(number) for protocol, reason, number in counted} == expected


def test_invalid_bytes_after_requests(server: ServerProcess) -> None:
    """All requests before invalid bytes are answered in order, and the error comes last."""
    get = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"
    post = f"{POST}\r\n{HOST}\r\n{LENGTH}\r\n\r\n".encode() + GOOD
    broken = f"{POST}\r\n{HOST}\r\n{TE}chunked\r\n\r\n".encode() + b"5\r\nhello\r\nno size\r\n"
    for requests in ([get], [post], [post, get, post], [get, post, get, get]):
        for garbage in (b"no HTTP\r\n\r\n", broken, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"):
            with Connection(server.port) as connection:
                connection.send(b"".join(requests) + garbage)
                answers = [connection.answer() for _ in requests]
                assert [answer.status for answer in answers] == [200] * len(requests)
                assert [b"label" in answer.body for answer in answers] == [each is post for each in requests]
                assert connection.answer().status == 400
                assert connection.is_closed()


def test_body_that_does_not_match_its_head(server: ServerProcess) -> None:
    """A request whose body does not match its head is refused, whether it has started or not."""
    head = f"{POST}\r\n{HOST}\r\n{TE}chunked\r\n\r\n".encode()
    for pieces in ([head + b"5\r\nhello\r\n", b"no size\r\n"], [head, b"5\r\nhello", b"\r\nno size\r\n"]):
        with Connection(server.port) as connection:
            connection.send(pieces[0])
            with Connection(server.port) as other:  # after this the worker has read the first piece
                other.post("/v1/predict", GOOD)
                assert other.answer().status == 200
            connection.send(*pieces[1:])
            assert connection.answer().status == 400
            assert connection.is_closed()


def test_invalid_body_of_a_client_that_expects_to_continue() -> None:
    """A client that sends an invalid body without waiting for 100 (Continue) gets the error, and the log has none."""
    head = f"{POST}\r\n{HOST}\r\n{TE}chunked\r\nExpect: 100-continue\r\n\r\n".encode()
    with ServerProcess("--workers", "1", "--no-grpc") as server, Connection(server.port) as connection:
        connection.send(head + b"no size\r\n")
        assert connection.answer().status == 400
        assert connection.is_closed()
    assert not [line for line in server.log if " ERROR " in line or "Traceback" in line]
