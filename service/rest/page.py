"""The page at `/` and the API reference at `/docs`: serves the files of `service/page` and of Swagger UI from memory.

The page says what this service logs of the texts. All other files are served unchanged.

Swagger UI comes from fastapi-offline, because FastAPI's own page loads it from another host. The pages have a
Content-Security-Policy that allows them to load only these files and to call only this service.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.responses import FileResponse
from starlette.routing import compile_path
from starlette.staticfiles import StaticFiles

from sentiment_conv1d.server.http.request import Answer
from sentiment_conv1d.service.errors import NotFound
from sentiment_conv1d.service.models.state import ServiceState
from sentiment_conv1d.service.rest.protocol import Document, RestProtocol, revalidated, state_of, to_response
from sentiment_conv1d.service.settings import Settings

Route = TypeVar("Route", bound=Callable[..., Any])

OPENAPI = "/openapi.json"

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


def _read(files: StaticFiles, name: str, **headers: str) -> Answer:
    """Read a file. Its type, its tag and the time of its last change are those that Starlette serves."""
    path, status = files.lookup_path(name)
    response = FileResponse(path, stat_result=status, headers=_HEADERS | headers)
    content_type = response.headers["content-type"].encode()
    left_out = (b"content-type", b"content-length", b"accept-ranges")
    fields = tuple(field for field in response.raw_headers if field[0] not in left_out)
    return Answer(Path(path).read_bytes(), content_type, fields)


#: The files by path. Workers share their memory.
_ANSWERS = {
    "/": _read(_FILES, "index.html"),
    **{
        f"/page/{name}": _read(_FILES, name)
        for name in sorted(path.name for path in FOLDER.glob("*.*"))
        if not name.endswith(".html")
    },
    "/docs": _read(_FILES, "reference.html", **{"content-security-policy": _REFERENCE_POLICY}),
    **{f"/docs/{name}": _read(_SWAGGER_UI, name) for name in ("swagger-ui.css", "swagger-ui-bundle.js")},
}

#: All paths of the page and of the API reference.
PATHS = (*_ANSWERS, OPENAPI)

#: What the page keeps itself.
_KEPT = "Your browser keeps your last ten texts until you close this tab, or choose \u201cForget\u201d."

ROUTES, REFERENCE = RestProtocol("page"), RestProtocol("operations")


@lru_cache(maxsize=1)
def _index(sentence: str) -> Answer:
    """Return the page with this sentence about privacy."""
    file = _ANSWERS["/"]
    body = file.body.replace(b"{{ privacy }}", escape(sentence).encode())
    fields = tuple(field for field in file.headers if field[0] not in (b"etag", b"last-modified"))
    return Answer(body, file.content_type, (*fields, (b"etag", f'"{sha256(body).hexdigest()}"'.encode())))


def _answer(path: str, state: ServiceState) -> Answer:
    """Return a file. Raises `NotFound`."""
    if path == "/":
        return _index(privacy(state.settings))
    if (answer := _ANSWERS.get(path)) is None:
        raise NotFound(f"there is no file {path}")
    return answer


def _serves(protocol: RestProtocol, path: str, summary: str, *media_types: str) -> Callable[[Route], Route]:
    """Declare the route of files, of one or of several if the path has a parameter."""

    def declare(route: Route) -> Route:
        responses: dict[int | str, dict[str, Any]] = {200: {"content": {media_type: {} for media_type in media_types}}}
        protocol.add_api_route(path, route, summary=summary, response_class=Response, responses=responses)
        for each in filter(compile_path(path)[0].fullmatch, _ANSWERS):
            protocol.documents[each] = Document(path, partial(_answer, each))
        return route

    return declare


@_serves(ROUTES, "/", "The page", "text/html")
async def page(request: Request) -> Response:
    """Return the page, which classifies a text and shows how the convolution reads it."""
    return _send(request)


@_serves(ROUTES, "/page/{name}", "A file of the page", "text/css", "text/javascript", "image/svg+xml")
async def file(request: Request, name: str) -> Response:
    """Return a style sheet, script or icon of the page."""
    return _send(request)


@_serves(REFERENCE, "/docs", "Every route, for people", "text/html")
async def documentation(request: Request) -> Response:
    """Return the API reference."""
    return _send(request)


@_serves(REFERENCE, "/docs/{name}", "A file of that page", "text/css", "text/javascript")
async def documentation_file(request: Request, name: str) -> Response:
    """Return the script or the style sheet of Swagger UI."""
    return _send(request)


def privacy(settings: Settings) -> str:
    """Return what happens to the texts of people, in sentences for them."""
    return f"The page sends what you type only to this service, which {_logging(settings)} {_KEPT}"


def _logging(settings: Settings) -> str:
    if settings.request_log is None:
        return "does not log it."
    percent = f"{100 * settings.request_log_sample:g}"
    requests = "all requests" if percent == "100" else f"{percent} % of the requests, which it chooses at random"
    contents = "what you type" if settings.request_log_texts else "the predictions, but not what you type"
    return f"logs {requests}. Its log contains {contents}."


def _send(request: Request) -> Response:
    """Return a file, or that it has not changed since the client received it. Raises `NotFound`."""
    return revalidated(request, to_response(_answer(request.scope["path"], state_of(request))))
