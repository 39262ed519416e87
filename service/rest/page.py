"""The page at `/` and the API reference at `/docs`: serves the files of `service/page` and of Swagger UI unchanged.

Swagger UI comes from fastapi-offline, because FastAPI's own page loads it from another host. The pages have a
Content-Security-Policy that allows them to load only these files and to call only this service.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.rest.protocol import RestProtocol
from sentiment_conv1d.service.rest.server.asgi import send_body

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


class _Files(StaticFiles):
    """Files in memory. An answer that nobody reads keeps neither an open file nor a copy."""

    def get(self, name: str, scope: Scope) -> Response:
        """Return the response to a request for a file. Raises `NotFound`.

        This is `get_response` without a thread for each request, which would take longer than the look-up.
        """
        try:
            path, status = self.lookup_path(name)
        except (OSError, ValueError):  # not the name of a file
            status = None
        if status is None or not stat.S_ISREG(status.st_mode):
            raise NotFound(f"there is no file {name!r}")
        return self.file_response(path, status, scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        if not isinstance(response, FileResponse):  # the browser has the file
            return response
        del response.headers["accept-ranges"]
        return _File(_read(Path(full_path), stat_result.st_mtime_ns), status_code, response.headers)


class _File(Response):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send_body(send, bytes(self.body))


@lru_cache(maxsize=64)
def _read(path: Path, modified: int) -> bytes:
    """Return the content of a file that was modified at this time."""
    return path.read_bytes()


_FILES = _Files(directory=FOLDER)
_SWAGGER_UI = _Files(packages=[("fastapi_offline", "static")])

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
    return _send(request, _FILES, "index.html")


@_serves(PROTOCOL, "/page/{name}", "A file of the page", "text/css", "text/javascript", "image/svg+xml")
async def file(request: Request, name: str) -> Response:
    """Return a style sheet, script or icon of the page."""
    if name.endswith(".html"):
        raise NotFound(f"the page has no file {name!r}")
    return _send(request, _FILES, name)


@_serves(REFERENCE, "/docs", "Every route, for people", "text/html")
async def documentation(request: Request) -> Response:
    """Return the API reference."""
    response = _send(request, _FILES, "reference.html")
    response.headers["content-security-policy"] = _REFERENCE_POLICY
    return response


@_serves(REFERENCE, "/docs/{name}", "A file of that page", "text/css", "text/javascript")
async def documentation_file(request: Request, name: str) -> Response:
    """Return the script or the style sheet of Swagger UI."""
    return _send(request, _SWAGGER_UI, name)


def _send(request: Request, files: _Files, name: str) -> Response:
    response = files.get(name, request.scope)
    response.headers.update(_HEADERS)
    return response
