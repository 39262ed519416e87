"""Fuzzes the body and head of every route in the OpenAPI document."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.documents import JSON, spoilt
from tests.processes import ServerProcess
from tests.service.rest.raw import Connection

#: The status of a `Transfer-Encoding` that is not chunked.
NOT_IMPLEMENTED = 501

#: Routes that change the answers to all other requests.
_LEFT_OUT = "/v2/repository/models/"

#: Valid bodies: examples of the OpenAPI document, and those of protocols with several forms.
MORE_BODIES: dict[str, list[Any]] = {
    "/v2/models/{model}/infer": [
        {"inputs": [{"name": "tokens", "shape": [1, 3], "datatype": "INT32", "data": [[1, 7, 9]]}], "id": "a"},
    ],
    "/v1/models/{model}:predict": [{"inputs": {"text": ["good"]}}, {"instances": [{"text": {"b64": "Z29vZA=="}}]}],
    "/": [{"inputs": ["good", "bad"], "parameters": {"top_k": 1, "function_to_apply": "none"}}],
    "/predict": [{"inputs": [["good"], ["bad"]], "raw_scores": True, "truncate": True}],
    "/invocations": [{"instances": ["good"]}, {"inputs": "good"}, {"inputs": ["good", "bad"]}],
}


@pytest.fixture(scope="module")
def service() -> Iterator[ServerProcess]:
    """Run a server whose log must not contain errors."""
    with ServerProcess("--workers", "1") as process:
        yield process
        assert not [line for line in process.log if " ERROR " in line or "Traceback" in line]


@pytest.fixture(scope="module")
def bodies(service: ServerProcess) -> list[tuple[str, Any]]:
    """Return every path that accepts a body, with a valid body."""
    found: list[tuple[str, Any]] = []
    for path, operations in service.client.get("/openapi.json").json()["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content and not path.startswith(_LEFT_OUT):
            examples = [content["example"], *MORE_BODIES.get(path, ())]
            place = path.replace("{model}", "imdb-cnn").replace("{version}", "1")
            found += [(place, example) for example in examples]
    assert len({path for path, _ in found}) >= 8
    return found


def check(answer: httpx.Response) -> None:
    """Assert that the answer is JSON and not a server error."""
    assert answer.status_code < 500, (answer.status_code, answer.text)
    answer.json()


@given(data=st.data())
def test_any_body(service: ServerProcess, bodies: list[tuple[str, Any]], data: st.DataObject) -> None:
    """A nearly valid body, or any JSON, in any encoding gets an answer or an error."""
    path, example = data.draw(st.sampled_from(bodies))
    document = data.draw(st.one_of(st.just(example), spoilt(example), spoilt(example), JSON))
    content = json.dumps(document).encode()
    coding = data.draw(st.sampled_from(["", "", "gzip", "deflate", "identity", "br"]))
    if coding in ("gzip", "deflate"):
        content = (gzip.compress if coding == "gzip" else zlib.compress)(content)
        cut = data.draw(st.sampled_from([None, None, -1, 3]))
        content = content[:cut]
    check(service.client.post(path, content=content, headers={"content-encoding": coding} if coding else {}))


@given(data=st.data())
def test_any_bytes(service: ServerProcess, bodies: list[tuple[str, Any]], data: st.DataObject) -> None:
    """Any bytes, or a valid body with inserted bytes, get an answer or an error."""
    path, example = data.draw(st.sampled_from(bodies))
    good = json.dumps(example).encode()
    at = data.draw(st.integers(0, len(good)))
    content = data.draw(
        st.one_of(st.binary(max_size=100), st.binary(max_size=4).map(lambda b: good[:at] + b + good[at:]))
    )
    check(service.client.post(path, content=content))


_VALUE = st.one_of(
    st.sampled_from(["0", "1", "-1", "+5", "5, 5", "0x5", "1e1", "9" * 25, "chunked", "gzip, chunked", "identity"]),
    st.sampled_from(["gzip", "deflate", "x", "100-continue", "close", "keep-alive", "upgrade", "h2c", "Bearer x", ""]),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40),
)
_NAME = st.sampled_from(
    [
        *("Content-Length", "Transfer-Encoding", "Content-Encoding", "Content-Type", "Expect", "Connection", "Upgrade"),
        *("TE", "X-Request-ID", "Authorization", "X-API-Key", "Inference-Header-Content-Length", "Host", "Accept"),
    ]
)
_PATH = st.one_of(
    st.sampled_from(
        ["/v1/predict", "/v2/models/imdb-cnn/infer", "/", "/metrics", "/v1/models/%2e%2e/x", "*", "//", "/%"]
    ),
    st.text(st.characters(codec="ascii", exclude_characters="\r\n\0 "), max_size=20).map(lambda rest: f"/{rest}"),
)
_METHOD = st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PRI", "FOO", ""])


@given(method=_METHOD, path=_PATH, headers=st.lists(st.tuples(_NAME, _VALUE), max_size=4), body=st.binary(max_size=40))
def test_any_head(service: ServerProcess, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
    """Any head gets a status below 500, 501 or a closed connection, and the service continues."""
    with Connection(service.port) as connection:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers), "", ""]
        connection.send("\r\n".join(lines).encode("latin-1") + body)
        connection.end()
        status = connection.status()
        assert status is None or status < 500 or status == NOT_IMPLEMENTED, status
    assert service.client.post("/v1/predict", json={"text": "good"}).status_code == 200


@given(content=st.binary(max_size=200))
def test_any_connection(service: ServerProcess, content: bytes) -> None:
    """Any bytes on a connection get a status below 500, 501 or a closed connection."""
    with Connection(service.port) as connection:
        connection.send(content)
        connection.end()
        status = connection.status()
        assert status is None or status < 500 or status == NOT_IMPLEMENTED, status
