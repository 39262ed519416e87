"""Browsers: cross-origin calls and security headers."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes import ServerProcess
from tests.service.rest.raw import Connection, request

PAGE, OTHER_PAGE, STRANGE_PAGE = "https://reviews.example", "http://localhost:3000", "https://elsewhere.example"
KEY = "a-key-of-some-length"
TEXT = {"text": "A great film."}


@pytest.fixture(scope="module")
def opened() -> Iterator[ServerProcess]:
    """Serve with two allowed origins and an API key."""
    flags = ("--workers", "1", "--cors-origins", f"{PAGE}, {OTHER_PAGE}")
    with ServerProcess(*flags, SENTIMENT_API_KEYS=KEY) as server:
        yield server


def preflight(server: ServerProcess, origin: str, path: str = "/v1/predict") -> httpx.Response:
    """Send the preflight that a browser sends before a request with JSON and a key."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
    }
    return server.client.options(path, headers=headers)


@pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE])
def test_preflight(opened: ServerProcess, origin: str) -> None:
    """The preflight of an allowed origin succeeds without a key, because browsers send none."""
    answer = preflight(opened, origin)
    assert answer.status_code == 200
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"content-type", "x-api-key", "authorization"} <= allowed
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"].split(", ")


@pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE])
def test_call(opened: ServerProcess, origin: str) -> None:
    """Requests of an allowed origin are answered, and errors are readable, on every route and for every size."""
    headers = {"origin": origin, "x-api-key": KEY}
    for answer, status in (
        (opened.client.post("/v1/predict", json=TEXT, headers=headers), 200),
        (opened.client.post("/v1/predict_batch", json={"texts": ["a"] * 1024}, headers=headers), 200),
        (opened.client.post("/v1/predict", json={}, headers=headers), 422),
        (opened.client.post("/v1/predict", json=TEXT, headers={"origin": origin}), 401),
        (opened.client.get("/v1/models", headers=headers), 200),
        (opened.client.get("/no/such", headers=headers), 404),
        (opened.client.get("/livez", headers=headers), 200),
        (opened.client.get("/v1/predict", headers=headers), 405),
        (opened.client.get("/a%2Fb", headers=headers), 404),
    ):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == origin
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"].split(", ")
        assert answer.headers["vary"] == "Origin"


def test_without_an_origin(opened: ServerProcess) -> None:
    """Caches learn that an answer depends on the origin from every answer, also from one to a request without it."""
    headers = {"x-api-key": KEY}
    for answer in (
        opened.client.post("/v1/predict", json=TEXT, headers=headers),
        opened.client.get("/livez"),
        opened.client.get("/v1/models", headers=headers),
        opened.client.get("/v1/models"),
    ):
        assert answer.headers.get_list("vary") == ["Origin"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "origin", [STRANGE_PAGE, "null", PAGE + ".evil.example", PAGE.upper(), PAGE + ":8443", "http://reviews.example"]
)
def test_preflight_of_another_origin(opened: ServerProcess, origin: str) -> None:
    """The preflight of another origin fails, even if the origin resembles an allowed one."""
    answer = preflight(opened, origin)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers
    answer = opened.client.post("/v1/predict", json=TEXT, headers={"origin": origin, "x-api-key": KEY})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


def test_any_origin() -> None:
    """With `*`, every origin is allowed."""
    with ServerProcess("--workers", "1", "--cors-origins", "*") as server:
        assert preflight(server, STRANGE_PAGE).headers["access-control-allow-origin"] == "*"
        answer = server.client.post("/v1/predict", json=TEXT, headers={"origin": STRANGE_PAGE})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")


def unload(server: ServerProcess, *headers: str, host: str = "test") -> int:
    """Return the status of a request to unload the default model, sent as a browser sends it for a page."""
    with Connection(server.port) as connection:
        head = ("POST /v2/repository/models/imdb-cnn/unload HTTP/1.1", f"Host: {host}", "Content-Length: 0", *headers)
        connection.send("\r\n".join((*head, "", "")).encode())
        return connection.answer().status


@pytest.mark.parametrize("origins", [(), ("--cors-origins", PAGE), ("--cors-origins", "*")])
def test_administration_from_pages(origins: tuple[str, ...]) -> None:
    """With --admin open, only pages of named origins can unload models, and `*` names none."""
    with ServerProcess("--workers", "1", "--admin", "open", *origins) as server:
        for host, headers in (
            ("test", ("Origin: https://evil.example", "Content-Type: text/plain")),
            ("test", ("Origin: null",)),
            ("test", ("Origin:",)),
            ("test", ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors")),
            ("test", ("Sec-Fetch-Site: same-site",)),
            # What a page sends whose own name has been rebound to the address of the service.
            ("evil.example:8000", ("Origin: http://evil.example:8000", "Sec-Fetch-Site: same-origin")),
        ):
            assert unload(server, *headers, host=host) == 403
        assert unload(server, f"Origin: {PAGE}", "Sec-Fetch-Site: cross-site") == (200 if PAGE in origins else 403)
        assert server.client.post("/v2/repository/models/imdb-cnn/load").status_code == 200
        assert server.client.get("/readyz").status_code == 200
        assert unload(server) == 200, "what is no page needs no origin"


@pytest.fixture(scope="module")
def administered() -> Iterator[ServerProcess]:
    """Serve with administration for the pages of one origin."""
    with ServerProcess("--workers", "1", "--admin", "open", "--cors-origins", PAGE) as server:
        yield server


@given(
    st.one_of(
        st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60),
        st.text("/:.*,?#x \t", max_size=3).flatmap(lambda more: st.sampled_from([PAGE + more, more + PAGE])),
        st.integers(0, len(PAGE)).map(lambda end: PAGE[:end]),
    ).filter(lambda origin: origin.strip() != PAGE)
)
def test_administration_from_any_page(administered: ServerProcess, origin: str) -> None:
    """An origin other than a named one cannot load or unload models, even if it resembles it."""
    with Connection(administered.port) as connection:
        connection.send(request("/v2/repository/models/other/load", "Content-Length: 0", f"Origin: {origin}"))
        assert connection.answer().status == 403
        connection.send(request("/v2/repository/models/other/load", "Content-Length: 0", f"Origin: {PAGE}"))
        assert connection.answer().status == 404


def test_off(server: ServerProcess) -> None:
    """By default no other origin is allowed, and answers have no CORS headers."""
    answer = preflight(server, PAGE)
    assert answer.status_code == 405
    answers = [answer, server.client.post("/v1/predict", json=TEXT, headers={"origin": PAGE})]
    assert not [name for each in answers for name in each.headers if name.startswith("access-control-")]


def test_content_types_are_not_guessed(server: ServerProcess) -> None:
    """Every answer forbids browsers to guess its type, on every path through the code."""
    for answer in (
        server.client.post("/v1/predict", json=TEXT),
        server.client.post("/v1/predict_batch", json={"texts": ["a"] * 1024}),
        server.client.post("/v1/predict", json={}),
        server.client.get("/livez"),
        server.client.get("/metrics"),
        server.client.get("/docs"),
        server.client.get("/no/such"),
    ):
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], answer.request.url
    with Connection(server.port) as connection:
        connection.send(b"nonsense\r\n\r\n")
        assert connection.answer().headers["x-content-type-options"] == "nosniff"


def test_page_headers(server: ServerProcess) -> None:
    """The API reference forbids frames, runs only the service's scripts and loads nothing from other hosts."""
    headers = server.client.get("/docs").headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    rules = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data:"
    assert len(rules) == 8
    assert "strict-transport-security" not in headers
    assert "content-security-policy" not in server.client.get("/livez").headers
