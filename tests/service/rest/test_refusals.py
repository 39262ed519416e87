"""Errors: every invalid request gets its status and a reason in JSON, and others are not affected."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from sentiment_conv1d.server.http.parser import MAX_HEAD_BYTES
from sentiment_conv1d.service.protocols.huggingface.rest import HuggingFaceError
from sentiment_conv1d.service.rest.protocol import ErrorResponse, PlainError
from sentiment_conv1d.service.settings import Settings
from tests.processes import ServerProcess, eventually
from tests.service.rest.raw import Answer, Connection, chunked, error, request
from tests.service.telemetry.test_metrics import metric

GOOD = b'{"text": "A great film."}'
MEGABYTE = 1024 * 1024
LIMITS = Settings()


@pytest.fixture(scope="module")
def impatient() -> Iterator[ServerProcess]:
    """Serve with a short timeout of bodies."""
    with ServerProcess("--body-timeout", "0.3") as process:
        yield process


def assert_works(server: ServerProcess) -> None:
    """Assert that a new connection gets an answer."""
    with Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD)
        assert connection.answer().status == 200


def assert_refused(server: ServerProcess, connection: Connection, answer: Answer, status: int, code: str) -> str:
    """Assert that an answer is this error, and that the next requests on this and on a new connection are answered."""
    assert answer.status == status, answer
    detail = error(answer)
    assert detail.code == code
    if answer.headers.get("connection") == "close":
        assert connection.is_closed()
    else:
        connection.post("/v1/predict", GOOD)
        assert connection.answer().status == 200
    assert_works(server)
    return detail.message


def refused(server: ServerProcess, path: str, body: bytes, status: int, code: str) -> str:
    """Return the message of the error for a body."""
    with Connection(server.port) as connection:
        connection.post(path, body)
        return assert_refused(server, connection, connection.answer(), status, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"text": "A great film."',
        b'{"text": "A great',
        b'{"text": "a",}',
        b"{'text': 'a'}",
        b'{"text": "a"} {}',
        b"text=a",
        b"<html>",
        b"\x00",
        b"\xef\xbb\xbf" + GOOD,
        b'{"text": "\xff"}',
        b'{"text": "\xc3"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "a\nb"}',
        rb'{"text": "\ud800"}',
        rb'{"text": "\udc00\ud800"}',
        rb'{"text": "\u12"}',
        rb'{"text": "\x41"}',
        b"[" * 10_000,
        b'{"text":' * 5_000,
        b'{"text": ' + b"9" * 100_000 + b"}",
        GOOD.decode().encode("utf-16"),
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict_batch"])
def test_malformed_json(server: ServerProcess, path: str, body: bytes) -> None:
    """A body that is not JSON in UTF-8 is malformed."""
    assert refused(server, path, body, 400, "malformed").startswith("the body is not valid JSON: ")


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("/v1/predict", b"null", "the body"),
        ("/v1/predict", b"NaN", "the body"),
        ("/v1/predict", b"1", "the body"),
        ("/v1/predict", b'"A great film."', "the body"),
        ("/v1/predict", b"[]", "the body"),
        ("/v1/predict", b"[" * 150 + b"]" * 150, "the body"),
        ("/v1/predict", b"{}", "text"),
        ("/v1/predict", b'{"text": null}', "text"),
        ("/v1/predict", b'{"text": 1}', "text"),
        ("/v1/predict", b'{"text": true}', "text"),
        ("/v1/predict", b'{"text": NaN}', "text"),
        ("/v1/predict", b'{"text": -Infinity}', "text"),
        ("/v1/predict", b'{"text": ["a"]}', "text"),
        ("/v1/predict", b'{"text": {"text": "a"}}', "text"),
        ("/v1/predict", b'{"Text": "a"}', "text"),
        ("/v1/predict", b'{"text": "a", "texts": ["a"]}', "texts"),
        ("/v1/predict", b'{"text": "a", "label": null}', "label"),
        ("/v1/predict", b'{"text": "a", "": null}', "the body"),
        ("/v1/predict_batch", b"{}", "texts"),
        ("/v1/predict_batch", b'["a"]', "the body"),
        ("/v1/predict_batch", b'{"texts": null}', "texts"),
        ("/v1/predict_batch", b'{"texts": "a"}', "texts"),
        ("/v1/predict_batch", b'{"texts": {"0": "a"}}', "texts"),
        ("/v1/predict_batch", b'{"texts": ["a", null]}', "texts.1"),
        ("/v1/predict_batch", b'{"texts": ["a", 1, 2]}', "texts.1"),
        ("/v1/predict_batch", b'{"texts": [["a"]]}', "texts.0"),
        ("/v1/predict_batch", b'{"texts": [{"text": "a"}]}', "texts.0"),
        ("/v1/predict_batch", b'{"text": "a"}', "text"),
        ("/v1/predict_batch", b'{"texts": []}', "texts"),
    ],
    ids=lambda value: repr(value[:24]),
)
def test_wrong_shape(server: ServerProcess, path: str, body: bytes, place: str) -> None:
    """JSON with the wrong shape is invalid, and the message begins with the field."""
    assert refused(server, path, body, 422, "invalid").startswith(f"{place}: ")


def test_very_many_faults(server: ServerProcess) -> None:
    """A body with a million errors gets a message as short as that for one error."""
    fields = ",".join(f'"{number}":1' for number in range(500_000))
    numbers = b"[" + b"1," * 3_000_000 + b"1]"
    for path, body in {
        "/v1/predict": f'{{"text": "a", {fields}}}'.encode(),
        "/v1/predict_batch": b'{"texts": ' + numbers + b"}",
    }.items():
        assert len(refused(server, path, body, 422, "invalid")) < 100
    assert len(refused(server, "/v1/predict", b'{"%s": "a"}' % (b"k" * 1_000_000), 422, "invalid")) < 300


@given(body=st.binary(max_size=200))
@example(b'{"text": "a"}')
@example(b'{"texts": ["a", "b"]}')
def test_any_body(server: ServerProcess, body: bytes) -> None:
    """Arbitrary bytes get an answer or an error, never a failure of the service."""
    for path in ("/v1/predict", "/v1/predict_batch"):
        response = server.client.post(path, content=body)
        assert response.status_code in {200, 400, 422}
        assert response.headers["content-type"] == "application/json"
        json.loads(response.content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["text", "texts", "x"]) | st.text(), inner),
    max_leaves=10,
)


@given(document=JSON)
def test_any_json(server: ServerProcess, document: object) -> None:
    """Arbitrary JSON, including lone surrogates and NaN, gets an answer or an error."""
    body = json.dumps(document).encode()
    for path in ("/v1/predict", "/v1/predict_batch"):
        response = server.client.post(path, content=body)
        assert response.status_code in {200, 400, 422}
        json.loads(response.content)


def test_over_long_text(server: ServerProcess) -> None:
    """A text over the limit on characters gets a 413, alone or in a batch."""
    limit = LIMITS.max_text_characters
    long = "x" * (limit + 1)
    message = refused(server, "/v1/predict", json.dumps({"text": long}).encode(), 413, "too_large")
    assert message == f"text 0: {limit + 1} characters; the limit is {limit}"
    message = refused(server, "/v1/predict_batch", json.dumps({"texts": ["", long]}).encode(), 413, "too_large")
    assert message.startswith("text 1: ")


def test_too_many_texts(server: ServerProcess) -> None:
    """A batch of one text more than the limit gets a 413."""
    body = json.dumps({"texts": [""] * (LIMITS.max_batch_texts + 1)}).encode()
    assert (
        refused(server, "/v1/predict_batch", body, 413, "too_large") == "1025 texts in one request; the limit is 1024"
    )


def test_body_at_the_limit(server: ServerProcess) -> None:
    """A body of exactly the limit is read."""
    padding = b" " * (LIMITS.max_body_bytes - len(GOOD))
    with Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD + padding)
        assert connection.answer().status == 200
    assert "the limit is 8388608" in refused(server, "/v1/predict", GOOD + padding + b" ", 413, "too_large")


@pytest.mark.parametrize("headers", [[], ["Connection: close"]])
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/predict", 413, "too_large"),
        ("/v1/predict_batch", 413, "too_large"),
        ("/v1/models", 405, "method_not_allowed"),
        ("/no/such", 404, "not_found"),
    ],
)
def test_large_body(server: ServerProcess, path: str, status: int, code: str, headers: list[str]) -> None:
    """A body of 50 MB is refused, and a sender that writes before it reads can read the error."""
    with Connection(server.port) as connection:
        connection.post(path, b"x" * (50 * MEGABYTE), *headers)
        assert_refused(server, connection, connection.answer(), status, code)


def test_large_body_that_waits_for_a_go_ahead(server: ServerProcess) -> None:
    """With `Expect: 100-continue`, a body of 50 MB is refused before it is sent."""
    with Connection(server.port) as connection:
        connection.send(request("/v1/predict", "Expect: 100-continue", f"Content-Length: {50 * MEGABYTE}"))
        assert_refused(server, connection, connection.answer(), 413, "too_large")


@pytest.mark.parametrize("headers", [[], ["Expect: 100-continue"]])
def test_large_body_without_a_length(server: ServerProcess, headers: list[str]) -> None:
    """A body that grows to 50 MB without an announced length is refused."""
    with Connection(server.port) as connection:
        connection.send(request("/v1/predict", "Transfer-Encoding: chunked", *headers))
        if headers:
            assert connection.answer().status == 100
        connection.send(*chunked([b" " * MEGABYTE] * 50))
        assert_refused(server, connection, connection.answer(), 413, "too_large")


def test_go_ahead(server: ServerProcess) -> None:
    """With `Expect: 100-continue`, an ordinary body is requested."""
    with Connection(server.port) as connection:
        connection.send(request("/v1/predict", "Expect: 100-continue", f"Content-Length: {len(GOOD)}"))
        assert connection.answer().status == 100
        connection.send(GOOD)
        assert connection.answer().status == 200


def test_body_byte_by_byte(server: ServerProcess) -> None:
    """A body that arrives byte by byte is read."""
    with Connection(server.port) as connection:
        connection.send(request("/v1/predict", f"Content-Length: {len(GOOD)}"))
        connection.send(*(bytes([byte]) for byte in GOOD))
        assert connection.answer().status == 200
        connection.send(request("/v1/predict", "Transfer-Encoding: chunked"))
        connection.send(*chunked(bytes([byte]) for byte in GOOD))
        assert connection.answer().status == 200


def test_whole_request_byte_by_byte(server: ServerProcess) -> None:
    """A request that arrives byte by byte is read."""
    with Connection(server.port) as connection:
        connection.send(*(bytes([byte]) for byte in request("/v1/predict", f"Content-Length: {len(GOOD)}") + GOOD))
        assert connection.answer().status == 200


def test_pipelined_requests(server: ServerProcess) -> None:
    """Pipelined requests are answered in order."""
    bodies = [json.dumps({"text": "word " * number}).encode() for number in range(20)]
    with Connection(server.port) as connection:
        connection.send(
            b"".join(request("/v1/predict", f"Content-Length: {len(body)}") + body for body in bodies),
        )
        assert [json.loads(connection.answer().body)["tokens"] for _ in bodies] == list(range(1, 21))


@pytest.mark.parametrize("body", [b"", GOOD[:-1]])
def test_body_that_never_completes(impatient: ServerProcess, body: bytes) -> None:
    """A body that is incomplete after the body timeout gets a 408, even if it has not begun."""
    with Connection(impatient.port) as connection:
        connection.post("/v1/predict", body, length=len(GOOD))
        message = assert_refused(impatient, connection, connection.answer(), 408, "request_timeout")
        assert message == "the body was not complete after 0.3 s"
    with Connection(impatient.port) as connection:
        connection.send(request("/v1/predict", "Transfer-Encoding: chunked"), b'5\r\n{"te')
        assert_refused(impatient, connection, connection.answer(), 408, "request_timeout")


def test_head_that_never_completes() -> None:
    """A connection without a request, or with an incomplete head, is closed after its timeout."""
    with ServerProcess("--keep-alive-timeout", "1", "--header-timeout", "1") as process:
        for beginning in (b"", b"POST /v1/pre", request("/v1/predict")[:-2]):
            with Connection(process.port) as connection:
                connection.send(beginning)
                assert connection.is_closed()


def test_disconnected_callers(server: ServerProcess) -> None:
    """Callers that disconnect in the middle of their body affect nobody."""
    for _ in range(20):
        with Connection(server.port) as connection:
            connection.post("/v1/predict", GOOD[:5], length=len(GOOD))
    assert_works(server)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        request("/v1/predict", "Content-Length: five"),
        request("/v1/predict", "Content-Length: -5"),
        request("/v1/predict", "Content-Length: 99999999999999999999999"),
        request("/v1/predict", "Content-Length: 5", "Content-Length: 6") + GOOD,
        request("/v1/predict", "Content-Length: 25", "Transfer-Encoding: chunked") + GOOD,
        request("/v1/predict", "a header without a colon"),
        request("/v1/predict", "Transfer-Encoding: chunked") + b"many\r\n",
        "GET /é HTTP/1.1\r\n\r\n".encode(),
    ],
)
def test_bytes_that_are_not_http(server: ServerProcess, sent: bytes) -> None:
    """Bytes that are not HTTP get a JSON error, and the connection is closed."""
    with Connection(server.port) as connection:
        connection.send(sent)
        answer = connection.answer()
        assert answer.headers["connection"] == "close"
        assert_refused(server, connection, answer, 400, "malformed")


def test_flood_of_other_bytes(server: ServerProcess) -> None:
    """A flood of bytes that are not HTTP causes few lines in the log, which say how many others there would be."""

    def flooded() -> bool:
        with Connection(server.port) as connection:
            connection.send(b"not HTTP\r\n\r\n")
            connection.answer()
        return any("left_out=" in line for line in server.log)

    eventually(flooded)


def test_length_shorter_than_the_body(server: ServerProcess) -> None:
    """Bytes after a body that is longer than announced are refused and not read as a request."""
    with Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD + b"GET /livez HTTP/1.1\r\n\r\n", length=len(GOOD) - 1)
        for reason in ("the body is not valid JSON", "the request is not valid HTTP/1.1"):
            answer = connection.answer()
            assert (answer.status, error(answer).code) == (400, "malformed")
            assert error(answer).message.startswith(reason)
        assert connection.is_closed()
    assert_works(server)


@pytest.mark.parametrize(
    "headers", [[f"X: {'x' * 200_000}"], ["X: x"] * 60_000, [f"X-Request-ID: {'x' * 200_000}"]], ids=["1", "many", "id"]
)
def test_too_many_headers(server: ServerProcess, headers: list[str]) -> None:
    """Endless headers are refused before they are read completely."""
    head = request("/v1/predict", *headers)
    with Connection(server.port) as connection:
        connection.send(head[: MAX_HEAD_BYTES + 1])
        answer = connection.answer()
        assert answer.headers["connection"] == "close"
        assert_refused(server, connection, answer, 431, "head_too_large")


def test_path_without_end(server: ServerProcess) -> None:
    """An endless path is refused before it is read completely."""
    with Connection(server.port) as connection:
        connection.send((b"GET /" + b"a" * MAX_HEAD_BYTES)[: MAX_HEAD_BYTES + 1])
        assert_refused(server, connection, connection.answer(), 431, "head_too_large")


@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
@pytest.mark.parametrize("apart", [True, False])
def test_offered_upgrade(server: ServerProcess, upgrade: str, apart: bool) -> None:
    """An offered protocol upgrade is declined by answering the request, and the next request is answered."""
    offer = [f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABkAAQAAP__", "Connection: Upgrade, HTTP2-Settings"]
    head = request("/v1/predict", *offer, f"Content-Length: {len(GOOD)}")
    with Connection(server.port) as connection:
        for _ in range(2):
            connection.send(*([head[:30], head[30:], GOOD[:5], GOOD[5:]] if apart else [head + GOOD]))
            answer = connection.answer()
            assert (answer.status, json.loads(answer.body)["tokens"]) == (200, 4)
        connection.send(request("/livez", *offer, method="GET"))
        assert connection.answer().status == 200
        connection.post("/v1/predict", b"{", *offer)
        assert_refused(server, connection, connection.answer(), 400, "malformed")


ROUTES = {
    "/v1/predict": "POST",
    "/v1/predict_batch": "POST",
    "/v1/models": "GET, HEAD",
    "/v1/models/imdb-cnn": "GET, HEAD",
    "/livez": "GET, HEAD",
    "/readyz": "GET, HEAD",
    "/metrics": "GET, HEAD",
}


METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


@pytest.mark.parametrize(
    ("path", "method"), [pair for pair in itertools.product(ROUTES, METHODS) if pair[1] not in ROUTES[pair[0]]]
)
def test_wrong_method(server: ServerProcess, path: str, method: str) -> None:
    """A wrong method gets a 405 that names the right one, also with a body."""
    with Connection(server.port) as connection:
        connection.send(request(path, f"Content-Length: {len(GOOD)}", method=method) + GOOD)
        answer = connection.answer()
        assert answer.headers["allow"] == ROUTES[path]
        message = assert_refused(server, connection, answer, 405, "method_not_allowed")
        assert message == f"{path} takes {ROUTES[path]}, not {method}"


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v1/predict/",
        "/v1/predictions",
        "//v1/predict",
        "/V1/PREDICT",
        "/livez/",
        "/v1/models/",
        "/v1/models/a/b",
        "/no/such",
        "/favicon.ico",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/%00",
        "/%ff",
        "/redoc",
        "*",
        "/v1/predict;x",
    ],
)
def test_unknown_path(server: ServerProcess, path: str) -> None:
    """An unknown path gets a 404 for any method."""
    for method in ("GET", "POST", "DELETE"):
        with Connection(server.port) as connection:
            connection.send(request(path, method=method))
            assert_refused(server, connection, connection.answer(), 404, "not_found")


@pytest.mark.parametrize("path", [*ROUTES, "/no/such/route"])
def test_head(server: ServerProcess, path: str) -> None:
    """HEAD, with which monitors check health, gets the head of the answer to GET, and the connection stays open."""
    with Connection(server.port) as connection:
        connection.send(request(path, method="HEAD"))
        answer = connection.answer(head_only=True)
        assert answer.status == {None: 404, "POST": 405}.get(ROUTES.get(path), 200)
        connection.post("/v1/predict", GOOD)
        assert connection.answer().status == 200


#: As much work as a body can hold.
FULL = json.dumps({"texts": ["a " * 400] * 10_000}).encode()

#: One of them can wait at a time.
ONE_FULL_BODY = ("--workers", "1", "--max-batch-texts", "10000", "--max-pending-texts", "10000")


def test_overload() -> None:
    """A request over the limit on waiting texts gets a 429 with Retry-After, and the one before it is answered."""
    with ServerProcess(*ONE_FULL_BODY) as process, ExitStack() as stack:
        connections = [stack.enter_context(Connection(process.port)) for _ in range(2)]
        answers: list[Answer] = []
        while {answer.status for answer in answers} != {200, 429}:  # one can be complete before the other arrives
            for connection in connections:
                connection.post("/v1/predict_batch", FULL)
            answers = [connection.answer() for connection in connections]
            assert 200 in {answer.status for answer in answers} <= {200, 429}
        [refusal] = [answer for answer in answers if answer.status == 429]
        assert error(refusal).code == "overloaded"
        assert int(refusal.headers["retry-after"]) > 0
        eventually(lambda: metric(process, "sentiment_texts_waiting") == 0)
        assert_works(process)


def test_deadline() -> None:
    """A request gets a 504 after its deadline, and no text of it waits any longer."""
    with ServerProcess(*ONE_FULL_BODY, "--request-timeout", "0.01") as process:
        with Connection(process.port) as connection:
            connection.post("/v1/predict_batch", FULL)
            refusal = connection.answer()
        assert (refusal.status, error(refusal).code) == (504, "deadline_exceeded")
        eventually(lambda: metric(process, "sentiment_texts_waiting") == 0)
        # On a busy machine, 10 ms can be too short for any request.
        eventually(lambda: process.client.post("/v1/predict", content=GOOD).status_code == 200)


@pytest.mark.parametrize(("route", "texts", "batching"), [("/v1/predict", 1, "on"), ("/v1/predict_batch", 40, "off")])
def test_callers_that_disconnect_while_they_wait(route: str, texts: int, batching: str) -> None:
    """Requests whose callers disconnect while they wait for the thread are counted as 499 and do not run.

    Requests that the thread has started before it notices the disconnection run, and are counted as 499 too.
    """
    large = json.dumps({"texts": ["a " * 2_000] * 1000}).encode()
    body = GOOD if texts == 1 else json.dumps({"texts": ["word " * 100] * texts}).encode()
    flags = ("--workers", "1", "--batching", batching, "--max-pending-texts", "20000")
    with ServerProcess(*flags) as process, ExitStack() as stack:

        def counted(status: str) -> float:
            labels = {"protocol": "rest", "route": route, "status": status}
            return sum(metric(process, "sentiment_requests_total", model=model, **labels) for model in ("", "imdb-cnn"))

        busy = [stack.enter_context(Connection(process.port)) for _ in range(4)]
        for connection in busy:
            connection.post("/v1/predict_batch", large)
        for _ in range(200):
            with Connection(process.port) as leaving:
                leaving.post(route, body)
        for connection in busy:
            assert connection.answer().status == 200
        stayed = 4 if route == "/v1/predict_batch" else 0
        eventually(lambda: counted("499") + counted("200") - stayed == 200)
        left, answered = counted("499"), counted("200") - stayed
        ran = metric(process, "sentiment_texts_total", model="imdb-cnn") - 4000
        assert answered * texts <= ran < (answered + left) * texts


def test_callers_that_disconnect_before_their_body(server: ServerProcess) -> None:
    """A request whose caller disconnects while FastAPI reads its body is counted as 499 and is no error in the log."""

    def counted() -> float:  # this route has a series of the status after the first such request
        pattern = r'^sentiment_requests_total\{(?=.*"/v2/repository/index").*status="499".*\} (\S+)$'
        series = re.findall(pattern, server.metrics(), re.MULTILINE)
        return sum(map(float, series))

    before = counted()
    with Connection(server.port) as leaving:
        leaving.send(request("/v2/repository/index", "Content-Length: 9"))
    eventually(lambda: counted() == before + 1)
    assert not [line for line in server.log if " ERROR " in line and "/v2/repository/index" in line]


@pytest.mark.parametrize("identity", ["a", "0af7651916cd43dd8448eb211c80319c", "A.b_c~d+e/f=g:h-i", "x" * 128])
def test_sane_request_id(server: ServerProcess, identity: str) -> None:
    """A caller's request id is in the header of the answer, and in the body of an error."""
    for path, body in {"/v1/predict": b"{", "/no/such/route": b"", "/livez": b""}.items():
        with Connection(server.port) as connection:
            connection.post(path, body, f"X-Request-ID: {identity}")
            answer = connection.answer()
            assert answer.headers["x-request-id"] == identity
            assert error(answer).request_id == identity


@pytest.mark.parametrize(
    "identity", ["", "x" * 129, "x" * 10_000, "a b", "a\tb", 'a"b', "<script>", "é", "a%0ab", "{}", "a;b", "a,b"]
)
def test_other_request_id(server: ServerProcess, identity: str) -> None:
    """A request id that is not safe to log is replaced."""
    with Connection(server.port) as connection:
        connection.post("/v1/predict", b"{", f"X-Request-ID: {identity}")
        replaced = error(connection.answer()).request_id
        assert len(replaced) == 16 and int(replaced, 16) >= 0


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f"])
def test_control_characters_in_request_id(server: ServerProcess, character: str) -> None:
    """Answers never contain control characters of a request header."""
    with Connection(server.port) as connection:
        connection.post("/v1/predict", GOOD, f"X-Request-ID: a{character}b")
        answer = connection.answer()
        assert answer.status in {200, 400}
        assert len(answer.headers["x-request-id"]) == 16


def test_forms_of_refusals_without_a_key() -> None:
    """A request without an API key is refused in the form of its route's protocol, on all routes."""
    forms: dict[str, type[BaseModel]] = {
        "/v1/models": ErrorResponse,
        "/info": HuggingFaceError,
        "/predict": HuggingFaceError,
        "/v1/models/imdb-cnn/metadata": PlainError,
        "/v2/models/imdb-cnn": PlainError,
        "/v2/none": PlainError,
        "/none": ErrorResponse,
    }
    with ServerProcess("--workers", "1", SENTIMENT_API_KEYS="a-key-of-some-length") as server:
        for path, form in forms.items():
            response = server.client.get(path)
            assert response.status_code == 401
            form.model_validate(response.json(), strict=True, extra="forbid")
