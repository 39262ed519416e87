"""The page at `/` and the API reference at `/docs`: serves the files of `service/page` and of Swagger UI unchanged.

Swagger UI comes from fastapi-offline, because FastAPI's own page loads it from another host. The pages have a
Content-Security-Policy that allows them to load only these files and to call only this service.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.staticfiles import StaticFiles

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.rest.protocol import RestProtocol

Route = TypeVar("Route", bound=Callable[..., Any])

FOLDER = Path(__file__).parent.parent / "page"

mimetypes.add_type("text/javascript", ".js")  # the system's type can differ

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

#: Headers of every file. Browsers cache a file but revalidate it each time, so an update is visible at once.
_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}

#: The style sheet of Swagger UI contains icons as data URLs.
_REFERENCE_POLICY = _POLICY.replace("img-src 'self'", "img-src 'self' data:")

_FILES = StaticFiles(directory=FOLDER)
_SWAGGER_UI = StaticFiles(packages=[("fastapi_offline", "static")])

#: All paths of the page and of the API reference.
PATHS = (
    *("/", "/docs", "/openapi.json", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"),
    *(f"/page/{path.name}" for path in sorted(FOLDER.iterdir()) if path.suffix != ".html"),
)

PROTOCOL, REFERENCE = RestProtocol("page"), RestProtocol("operations")


def _serves(protocol: RestProtocol, path: str, summary: str, *media_types: str) -> Callable[[Route], Route]:
    """Declare the route of a file, or of several if the path has a parameter, for GET and HEAD."""

    def declare(route: Route) -> Route:
        responses: dict[int | str, dict[str, Any]] = {200: {"content": {media_type: {} for media_type in media_types}}}
        protocol.add_api_route(path, route, methods=["GET", "HEAD"], include_in_schema=False)
        protocol.add_api_route(path, route, summary=summary, response_class=Response, responses=responses)
        return route

    return declare


@_serves(PROTOCOL, "/", "The page", "text/html")
async def page(request: Request) -> Response:
    """Return the page, which classifies a text and shows how the convolution reads it."""
    return await _send(request, _FILES, "index.html")


@_serves(PROTOCOL, "/page/{name}", "A file of the page", "text/css", "text/javascript", "image/svg+xml")
async def file(request: Request, name: str) -> Response:
    """Return a style sheet, script or icon of the page."""
    if name.endswith(".html"):
        raise NotFound(f"the page has no file {name!r}")
    return await _send(request, _FILES, name)


@_serves(REFERENCE, "/docs", "Every route, for people", "text/html")
async def documentation(request: Request) -> Response:
    """Return the API reference."""
    response = await _send(request, _FILES, "reference.html")
    response.headers["content-security-policy"] = _REFERENCE_POLICY
    return response


@_serves(REFERENCE, "/docs/{name}", "A file of that page", "text/css", "text/javascript")
async def documentation_file(request: Request, name: str) -> Response:
    """Return the script or the style sheet of Swagger UI."""
    return await _send(request, _SWAGGER_UI, name)


async def _send(request: Request, files: StaticFiles, name: str) -> Response:
    response = await files.get_response(name, request.scope)
    response.headers.update(_HEADERS)
    return response
