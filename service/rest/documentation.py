"""The page at `/docs`: every route and every schema of the OpenAPI document, for people.

Plain HTML that runs no script and asks no other host for anything, so it is there without a network as well. No address
begins at the root, so that it works behind a path, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response

from service.rest.endpoint import SCHEMAS

PATH = "/docs"

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_Document = dict[str, Any]

router = APIRouter(tags=["operations"])


@router.api_route(PATH, methods=["GET", "HEAD"], include_in_schema=False)
@router.get(
    PATH, summary="Every route, for people", response_class=Response, responses={200: {"content": {"text/html": {}}}}
)
async def documentation(request: Request) -> Response:
    """The OpenAPI document as a page."""
    headers = {"content-security-policy": _POLICY}
    return Response(_page(request.app), headers=headers, media_type="text/html")


@cache
def _page(application: FastAPI) -> str:
    """The page of an application, whose routes stay what they are."""
    return "".join(_lines(application.openapi()))


def _lines(document: _Document) -> Iterator[str]:
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="icon" href="page/icon.svg"><link rel="stylesheet" href="page/style.css">'
    yield '<link rel="stylesheet" href="page/reference.css"></head><body><main>'
    yield f"<h1>{title}</h1><p class='lead'>{escape(document['info']['description'])}</p>"
    yield "<p>Every route and every schema, as in <a href='openapi.json'>openapi.json</a>.</p>"
    operations: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operations.setdefault(operation["tags"][0], []).extend(_operation(path, method, operation))
    for tag, lines in operations.items():
        yield f"<section><h2>{escape(tag)}</h2>"
        yield from lines
        yield "</section>"
    yield "<section><h2>Schemas</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)
    yield "</section></main></body></html>"


def _operation(path: str, method: str, operation: _Document) -> Iterator[str]:
    yield f"<details><summary><code><b>{method.upper()}</b> {escape(path)}</code>"
    yield f"{escape(operation['summary'])}</summary><p>{escape(operation.get('description', ''))}</p>"
    for parameter in operation.get("parameters", ()):
        yield f"<p><code>{escape(parameter['name'])}</code> in the {parameter['in']}: {_type(parameter['schema'])}</p>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Takes {_content(media_type, content)}</p>"
        if "example" in content:
            example = orjson.dumps(content["example"], option=orjson.OPT_INDENT_2).decode()
            yield f"<pre tabindex='0'>{escape(example)}</pre>"  # where it is too wide, keys must reach it too
    yield "<table><tbody>"
    for status, response in operation["responses"].items():
        contents = " or ".join(_content(*each) for each in response.get("content", {}).items())
        yield f"<tr><th>{status}</th><td>{escape(response['description'])}</td><td>{contents}</td></tr>"
    yield "</tbody></table></details>"


def _content(media_type: str, content: _Document) -> str:
    schema = content.get("schema")
    return f"<code>{escape(media_type)}</code>" + (f": {_type(schema)}" if schema else "")


def _schema(name: str, schema: _Document) -> Iterator[str]:
    yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
    if "properties" not in schema:
        yield f"<p>{_type(schema)}</p>"
        return
    required = schema.get("required", ())
    yield "<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead><tbody>"
    for field, each in schema["properties"].items():
        needed = "" if field in required else " <i>may be left out</i>"
        meaning = escape(each.get("description", ""))
        yield f"<tr><th><code>{escape(field)}</code></th><td>{_type(each)}{needed}</td><td>{meaning}</td></tr>"
    yield "</tbody></table>"


def _type(schema: _Document) -> str:
    """A schema in a few words, with a link where it has a name."""
    match schema:
        case {"$ref": str(reference)}:
            name = escape(reference.removeprefix(SCHEMAS))
            return f'<a href="#{name}">{name}</a>'
        case {"anyOf": list(kinds)} | {"oneOf": list(kinds)} | {"allOf": list(kinds)}:
            return " or ".join(map(_type, kinds))
        case {"const": value}:
            return f"<code>{escape(orjson.dumps(value).decode())}</code>"
        case {"enum": list(values)}:
            return " or ".join(f"<code>{escape(orjson.dumps(value).decode())}</code>" for value in values)
        case {"type": "array", "prefixItems": list(kinds)}:
            return f"array of {', '.join(map(_type, kinds))}"
        case {"type": "array", "items": dict(items)}:
            return f"array of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": str(kind)}:
            return escape(kind)
    return "anything"
