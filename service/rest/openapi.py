"""The OpenAPI document: that of FastAPI, and the endpoints, which FastAPI does not know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from inspect import getdoc
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sentiment_conv1d.server.errors import (
    DeadlineExceeded,
    Malformed,
    Overloaded,
    RequestError,
    RequestTimeout,
    TooLarge,
    Unavailable,
    UnsupportedEncoding,
)
from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import Invalid, NotFound
from sentiment_conv1d.service.rest.endpoint import Endpoint, to_json
from sentiment_conv1d.service.rest.lifecycle import open_paths
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.routes import Routes
from sentiment_conv1d.service.security.api_keys import Access
from sentiment_conv1d.service.settings import Settings
from sentiment_conv1d.service.version import package_version

#: The location of the models in the document, by class name.
_SCHEMAS = "#/components/schemas/"

_REFUSALS: tuple[type[RequestError], ...] = (
    *(Malformed, NotFound, RequestTimeout, TooLarge, UnsupportedEncoding),
    *(Invalid, Overloaded, Unavailable, DeadlineExceeded),
)


@lru_cache(maxsize=1)
def write(protocols: tuple[RestProtocol, ...], settings: Settings, access: Access) -> Answer:
    """Return the document in JSON. It takes a twentieth of a second, so workers share it."""
    return Answer(to_json(describe(protocols, settings, access)))


def describe(protocols: Sequence[RestProtocol], settings: Settings, access: Access) -> dict[str, Any]:
    """Return FastAPI's document with the endpoints, the errors of routes with parameters, and the API keys."""
    application = FastAPI(
        title="sentiment-conv1d",
        version=package_version(),
        description="The classic Conv1D text classifier: reviews in, labels and probabilities out.",
    )
    for protocol in protocols:
        application.include_router(protocol)
    document = application.openapi()
    # The folder of the document: another application or a proxy can serve all routes below a path of its own.
    document["servers"] = [{"url": "."}]
    schemas, ordinary, fast = document["components"]["schemas"], document["paths"], {}
    by_tag = {protocol.tags[0]: protocol for protocol in protocols}
    models = [protocol.error_model for protocol in protocols]
    for operation in (each for path in ordinary.values() for each in path.values()):
        # FastAPI describes a 422 for every route with parameters, but ours are names: any string is valid.
        if operation["responses"].pop("422", None) is not None:
            operation["responses"]["404"] = _error(NotFound, by_tag[operation["tags"][0]])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for endpoint, protocol, _ in Routes(protocols).declared.values():
        models += [endpoint.request_model, endpoint.response_model]
        fast[endpoint.path] = ordinary.pop(endpoint.path, {}) | {"post": _describe(endpoint, protocol)}
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_SCHEMAS + "{model}")
    schemas |= definitions["$defs"]
    document["paths"] = fast | ordinary
    if access.takes_key:
        health = {path for protocol in protocols for path in protocol.health}
        _declare_keys(document, open_paths(settings, health), optional=not access.needs_key)
    return document


def _declare_keys(document: dict[str, Any], open_paths: frozenset[str], *, optional: bool) -> None:
    """Add the two headers that an API key can be sent in; GET requests of the open paths need none."""
    document["components"]["securitySchemes"] = {
        "Bearer": {"type": "http", "scheme": "bearer"},
        "X-API-Key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [*([{}] if optional else []), {"Bearer": []}, {"X-API-Key": []}]
    for path in open_paths:
        if (operation := document["paths"].get(path, {}).get("get")) is not None:
            operation["security"] = []


def _describe(endpoint: Endpoint, protocol: RestProtocol) -> dict[str, Any]:
    """Return the operation of an endpoint."""
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": _content(endpoint.response_model)}}
    for refusal in _REFUSALS:
        responses.setdefault(str(protocol.status(refusal).value), _error(refusal, protocol))
    content = _content(endpoint.request_model)
    content["application/json"]["example"] = endpoint.example
    if endpoint.takes_text:
        content["text/plain"] = {"schema": {"type": "string"}}
    name = endpoint.respond.__name__
    return {
        "summary": endpoint.summary,
        "description": getdoc(endpoint.respond),
        "tags": protocol.tags,
        "operationId": re.sub(r"\W", "_", f"{name}{endpoint.path}_post"),  # as FastAPI does
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("model", "version")
            if f"{{{name}}}" in endpoint.path
        ],
        "requestBody": {"required": True, "content": content},
        "responses": responses,
    }


def _error(error: type[RequestError], protocol: RestProtocol) -> dict[str, Any]:
    return {"description": error.__doc__, "content": _content(protocol.error_model)}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _SCHEMAS + model.__name__}}}
