"""The OpenAPI document describes the server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sentiment_conv1d.server.errors import Malformed
from sentiment_conv1d.service.errors import Invalid
from sentiment_conv1d.service.protocols import rest_protocols
from sentiment_conv1d.service.rest import openapi
from sentiment_conv1d.service.rest.endpoint import Endpoint
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.routes import OTHER, labels
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from tests.proc import children
from tests.processes import ServerProcess
from tests.service.security.test_api_keys import FIRST as KEY
from tests.service.security.test_api_keys import HEALTH

ENDPOINTS = [(protocol, endpoint) for protocol in rest_protocols(Settings()) for endpoint in protocol.endpoints]


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> dict[str, Any]:
    """Return the document of the server."""
    answer: dict[str, Any] = server.client.get("/openapi.json").json()
    return answer


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(inner)


def resolve(document: dict[str, Any], reference: str) -> dict[str, Any]:
    root, *path = reference.split("/")
    assert root == "#"
    target = document
    for name in path:
        target = target[name]
    return target


def schema(content: dict[str, Any]) -> str:
    reference: str = content["content"]["application/json"]["schema"]["$ref"]
    return reference


def test_frame(document: dict[str, Any]) -> None:
    """The document is OpenAPI 3.1 with a title and the package's version, and operation ids are unique."""
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "sentiment-conv1d" and document["info"]["version"]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] and operation["responses"] for operation in operations)
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("settings", "security"),
    [
        ({}, None),
        ({"api_keys": KEY}, [{"Bearer": []}, {"X-API-Key": []}]),
        ({"admin": "key", "admin_keys": KEY}, [{}, {"Bearer": []}, {"X-API-Key": []}]),
    ],
    ids=["no keys", "API keys", "administration keys"],
)
def test_security(settings: dict[str, str], security: list[Any] | None) -> None:
    """The document declares the headers for a key if keys are configured, and which routes need none."""
    configured = Settings.model_validate(settings)
    document = orjson.loads(openapi.write(rest_protocols(configured), configured, Access(configured)).body)
    assert document.get("security") == security
    schemes = document["components"].get("securitySchemes", {})
    in_a_header = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    both = {"Bearer": {"type": "http", "scheme": "bearer"}, "X-API-Key": in_a_header}
    assert schemes == ({} if security is None else both)
    without = {path for path, item in document["paths"].items() for each in item.values() if each.get("security") == []}
    assert without == (set() if security is None else HEALTH)


def test_references(document: dict[str, Any]) -> None:
    """Every reference leads to a schema."""
    references = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert len(references) > 10
    for reference in references:
        assert resolve(document, reference)["title"]


def test_routes(document: dict[str, Any]) -> None:
    """Every counted route is documented, except those of versions and those that only refuse."""
    declared = labels(rest_protocols(Settings()))
    hidden = {path for path in declared if "{version}" in path or path.endswith(":regress")} | {"/v2/"}
    assert document["paths"].keys() >= {*declared} - {OTHER} - hidden


@pytest.mark.parametrize(("protocol", "endpoint"), ENDPOINTS)
def test_example(server: ServerProcess, document: dict[str, Any], protocol: RestProtocol, endpoint: Endpoint) -> None:
    """The example of a route gets an answer that matches its schema."""
    operation = document["paths"][endpoint.path]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    response = server.client.post(endpoint.path.format(model="imdb-cnn", version="1"), json=content["example"])
    assert response.status_code == 200
    endpoint.response_model.model_validate_json(response.content, strict=True)
    assert resolve(document, schema(operation["responses"]["200"]))["title"] == endpoint.response_model.__name__
    request = resolve(document, schema(operation["requestBody"]))
    assert content["example"].keys() <= request["properties"].keys()


@pytest.mark.parametrize(("protocol", "endpoint"), [each for each in ENDPOINTS if each[0].tags == ["native"]])
def test_native_shapes(
    server: ServerProcess, document: dict[str, Any], protocol: RestProtocol, endpoint: Endpoint
) -> None:
    """A native answer has the required fields, and other fields only if a request asks for them or a model has them."""
    operation = document["paths"][endpoint.path]["post"]
    answer = server.client.post(endpoint.path, json=endpoint.example | {"model": "imdb-cnn"}).json()
    described = resolve(document, schema(operation["responses"]["200"]))
    assert answer.keys() == set(described["required"])
    optional = described["properties"].keys() - answer.keys()
    sentences = {"sentences", "decided_by"}
    assert optional == {
        "/v1/predict": {"labels", "logits", "logit", "bias", "padding", *sentences},
        "/v1/predict_batch": {"errors"},
        "/v1/explain": {"contrast", *sentences},
    }.get(endpoint.path, set())
    assert resolve(document, schema(operation["requestBody"]))["additionalProperties"] is False


@pytest.mark.parametrize(("protocol", "endpoint"), ENDPOINTS)
def test_refusals(server: ServerProcess, document: dict[str, Any], protocol: RestProtocol, endpoint: Endpoint) -> None:
    """The errors of an endpoint are documented, and an error matches its schema."""
    responses = document["paths"][endpoint.path]["post"]["responses"]
    assert responses.keys() > {"200", "400", "404", "413", "429", "503", "504"}
    for error, body in ((Malformed, b"{"), (Invalid, b"{}")):
        status = str(protocol.status(error).value)
        response = server.client.post(endpoint.path.format(model="imdb-cnn", version="1"), content=body)
        assert str(response.status_code) == status
        protocol.error_model.model_validate(response.json(), strict=True, extra="forbid")
        assert resolve(document, schema(responses[status]))["title"] == protocol.error_model.__name__


def test_models(server: ServerProcess, document: dict[str, Any]) -> None:
    """The list of models matches its schema."""
    described = resolve(document, schema(document["paths"]["/v1/models"]["get"]["responses"]["200"]))
    assert server.client.get("/v1/models").json().keys() == described["properties"].keys()


def test_documentation_page(server: ServerProcess) -> None:
    """/docs is a page whose links exist on this host."""
    response = server.client.get("/docs")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r"""(?:href|src)="([^"]+)""", response.text)
    assert len(links) == 7
    for link in links:
        assert not link.startswith(("/", "http")) and server.client.get(f"/{link}").status_code == 200
    assert server.client.head("/docs").headers["content-length"] == str(len(response.content))


def test_requests_for_the_document(server: ServerProcess) -> None:
    """The document is the same for each method and header, and needs no thread."""

    def threads() -> list[Path]:
        return [each for worker in children(server.process.pid) for each in Path(f"/proc/{worker}/task").iterdir()]

    before = threads()
    document = server.client.get("/openapi.json")
    assert server.client.get("/openapi.json", headers={"If-None-Match": '"other"'}).content == document.content
    assert server.client.head("/openapi.json").headers["content-length"] == document.headers["content-length"]
    assert threads() == before
